//! The scenario's engine as flags of `vllm serve`.

use tokentide_models::deployment::{KvDtype, WeightDtype};
use tokentide_sim::report::Report;
use tokentide_sim::scenario::{Policy, Scenario, Scheduler};

use super::{Job, head};
use crate::exit::Failure;
use crate::text::units::{digits, percent};

/// A flag, its value if it has one, and why it is there.
struct Flag {
    name: &'static str,
    value: String,
    why: String,
}

/// A command, the reasons above it.
///
/// # Errors
/// If the scenario's scheduler is not that of vLLM v1.
pub fn text(job: &Job, report: &Report) -> Result<String, Failure> {
    let scenario = &job.loaded.scenario;
    if scenario.engine.scheduler != Scheduler::Vllm {
        return Err(Failure::message("the scenario's scheduler is one of research: `vllm serve` has no flags for it"));
    }
    let mut lines = vec![head::fingerprint(scenario, &report.fingerprint), head::predicted(report), String::new()];
    let model = job.model_name.unwrap_or(&scenario.deployment.model.name);
    if job.model_name.is_none() {
        lines.push(format!("{model} is tokentide's name of the model: give your repository or path with --model-name."));
    }
    if scenario.deployment.weights != WeightDtype::Bf16 {
        lines.push(format!("Weights are simulated in {}: serve a checkpoint that has them so.", scenario.deployment.weights));
    }
    let mut flags = layout(scenario);
    flags.extend(memory(scenario, report));
    flags.extend(scheduling(scenario, report));
    let spoken = |flag: &Flag| format!("{}{}: {}", flag.name, spaced(&flag.value), flag.why);
    lines.extend(flags.iter().map(spoken));
    let command: String = flags.iter().map(|flag| format!(" \\\n  {}{}", flag.name, spaced(&flag.value))).collect();
    Ok(format!("{}vllm serve {}{command}\n", head::commented(&lines), quoted(model)))
}

fn spaced(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" {value}") }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if text.chars().all(plain) && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn flag(name: &'static str, value: impl ToString, why: impl Into<String>) -> Flag {
    Flag { name, value: value.to_string(), why: why.into() }
}

/// GPUs of a replica.
fn layout(scenario: &Scenario) -> Vec<Flag> {
    let deployment = &scenario.deployment;
    let mut flags = vec![flag("--tensor-parallel-size", deployment.tensor_parallel, "GPUs that share each layer")];
    if deployment.pipeline_parallel > 1 {
        flags.push(flag("--pipeline-parallel-size", deployment.pipeline_parallel, "stages of layers"));
    }
    if deployment.data_parallel > 1 {
        flags.push(flag("--data-parallel-size", deployment.data_parallel, "engine cores, each with a KV cache of its own"));
    }
    if deployment.expert_parallel {
        flags.push(flag("--enable-expert-parallel", "", "experts lie whole on the GPUs"));
    }
    flags
}

/// What decides how much KV memory there is.
fn memory(scenario: &Scenario, report: &Report) -> Vec<Flag> {
    let (deployment, summary) = (&scenario.deployment, &report.summary);
    let blocks =
        format!("{} KV blocks per replica, of which at most {} were in use", summary.kv_blocks, percent(summary.kv_use_peak));
    let mut flags = vec![flag("--gpu-memory-utilization", deployment.gpu_memory_utilization, blocks)];
    if let Some(blocks) = deployment.num_gpu_blocks {
        flags.push(flag("--num-gpu-blocks-override", blocks, "the scenario's, in place of what memory allows"));
    }
    if deployment.kv == KvDtype::Fp8 {
        flags.push(flag("--kv-cache-dtype", "fp8", "one byte per number in place of two"));
    }
    flags.push(flag("--block-size", deployment.block_size, "tokens per KV block; prefixes are shared in whole blocks"));
    let longest =
        report.summary.input_length.max.map_or(String::new(), |tokens| format!("; the longest prompt had {tokens:.0} tokens"));
    flags.push(flag("--max-model-len", scenario.engine.max_model_len, format!("prompt and output{longest}")));
    flags
}

/// What decides who runs.
fn scheduling(scenario: &Scenario, report: &Report) -> Vec<Flag> {
    let (engine, summary) = (&scenario.engine, &report.summary);
    let running = report.timeline.running.iter().copied().fold(0.0, f64::max) / f64::from(report.model.replicas.max(1));
    let mut flags = vec![
        flag("--max-num-seqs", engine.max_num_seqs, format!("at the busiest, {} ran on a replica", digits(running))),
        flag(
            "--max-num-batched-tokens",
            engine.max_num_batched_tokens,
            format!("most tokens of a step; at most {} waited to be prefilled", summary.waiting_tokens_peak),
        ),
    ];
    let on = |on, name, off, why: &str| flag(if on { name } else { off }, "", why.to_owned());
    let hits = summary.cached_tokens as f64 / summary.input_tokens.max(1) as f64;
    let caching = format!("{} of the prompt tokens were found in the cache", percent(hits));
    flags.push(on(engine.enable_prefix_caching, "--enable-prefix-caching", "--no-enable-prefix-caching", &caching));
    let chunked = "prompts are split over steps or not, which decides how long outputs wait for prompts";
    flags.push(on(engine.enable_chunked_prefill, "--enable-chunked-prefill", "--no-enable-chunked-prefill", chunked));
    let ahead = "whether a step is scheduled while the one before it runs";
    flags.push(on(engine.async_scheduling, "--async-scheduling", "--no-async-scheduling", ahead));
    if engine.policy == Policy::Priority {
        flags.push(flag("--scheduling-policy", "priority", "classes have priorities"));
    }
    if engine.long_prefill_token_threshold > 0 {
        flags.push(flag(
            "--long-prefill-token-threshold",
            engine.long_prefill_token_threshold,
            "most tokens of one prompt in a step",
        ));
    }
    if !scenario.deployment.cuda_graphs {
        flags.push(flag("--enforce-eager", "", "without CUDA graphs, as simulated"));
    } else if let Some(largest) = scenario.deployment.max_cudagraph_capture_size {
        flags.push(flag("--max-cudagraph-capture-size", largest, "larger steps wait for the launches of their kernels"));
    }
    flags
}
