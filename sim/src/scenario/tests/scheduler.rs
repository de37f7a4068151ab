//! The schedulers beside vLLM v1's: their defaults, and what they refuse.

use super::*;
use crate::scenario::{Batchwise, Scheduler};

fn engine(keys: &str) -> String {
    with_section(&format!("engine = {{ {keys} }}"))
}

#[test]
fn defaults_go_by_scheduler() {
    let chosen = |keys: &str| right(&engine(keys)).engine;
    let vllm = chosen("");
    assert_eq!(vllm, chosen("scheduler = \"vllm\""));
    assert_eq!((vllm.scheduler, vllm.watermark, vllm.enable_prefix_caching), (Scheduler::Vllm, 0.0, true));
    let sarathi = chosen("scheduler = \"sarathi\"");
    assert_eq!(sarathi.scheduler, Scheduler::Batchwise(Batchwise::Sarathi));
    assert_eq!((sarathi.max_num_batched_tokens, sarathi.max_num_seqs, sarathi.watermark), (512, 128, 0.01));
    assert!(sarathi.enable_chunked_prefill && !sarathi.enable_prefix_caching && !sarathi.async_scheduling);
    // Prompts are never cut, so a batch holds the longest.
    let old = chosen("scheduler = \"vllm-2023\"");
    assert_eq!((old.max_num_batched_tokens, old.enable_chunked_prefill), (131_072, false));
    let short = chosen("scheduler = \"vllm-2023\", max_model_len = 2048");
    assert_eq!((short.max_num_batched_tokens, short.max_num_seqs, short.watermark), (4096, 128, 0.01));
    let typed = chosen("scheduler = \"sarathi\", max_num_batched_tokens = 256, max_num_seqs = 64, watermark = 0.05");
    assert_eq!((typed.max_num_batched_tokens, typed.max_num_seqs, typed.watermark), (256, 64, 0.05));
}

#[test]
fn pipeline_stages_are_the_schedulers() {
    let text = engine("scheduler = \"sarathi\"").replace("\"h100-sxm\" }", "\"h100-sxm\", pipeline_parallel = 2 }");
    let scenario = right(&text);
    assert_eq!(scenario.engine.scheduler, Scheduler::Batchwise(Batchwise::Sarathi));
    assert_eq!(scenario.cluster(0).layout.stages, 2);
    assert!(scenario.notes.iter().any(|note| note.contains("\"sarathi\" has no prefix cache")), "{:?}", scenario.notes);
}

#[test]
fn what_a_scheduler_does_not_have_is_refused() {
    for (keys, offending, message) in [
        ("scheduler = \"sarathi\", version = \"0.24\"", "\"0.24\"", "\"sarathi\" is no release of vLLM v1"),
        ("scheduler = \"sarathi\", enable_prefix_caching = true", "true", "\"sarathi\" has no prefix cache"),
        ("scheduler = \"sarathi\", enable_chunked_prefill = false", "false", "\"sarathi\" always cuts prompts into chunks"),
        ("scheduler = \"vllm-2023\", enable_chunked_prefill = true", "true", "\"vllm-2023\" never cuts prompts"),
        ("scheduler = \"vllm-2023\", scheduling_policy = \"priority\"", "\"priority\"", "\"vllm-2023\" knows no priorities"),
        ("scheduler = \"vllm-2023\", async_scheduling = true", "true", "does not schedule ahead"),
        ("scheduler = \"sarathi\", long_prefill_token_threshold = 8", "8", "does not cap the chunks of one request"),
        ("scheduler = \"sarathi\", scheduler_reserve_full_isl = false", "false", "always reserves the blocks"),
        ("scheduler = \"orca\"", "\"orca\"", "sarathi"),
    ] {
        let errors = wrong(&engine(keys));
        assert_eq!((errors.len(), errors[0].offending()), (1, offending), "{errors:?}");
        assert!(errors[0].message.contains(message), "{}", errors[0].message);
    }
    let errors = wrong(&with_class("timeout = \"5s\"").replace("[[class]]", "engine = { scheduler = \"sarathi\" }\n[[class]]"));
    assert_eq!((errors.len(), errors[0].offending()), (1, "\"5s\""), "{errors:?}");
    // What says the same as the scheduler does is no error.
    right(&engine(
        "scheduler = \"sarathi\", enable_prefix_caching = false, async_scheduling = false, enable_chunked_prefill = true",
    ));
}
