//! Published traces in full: every request accounted for, every token counted.

use std::path::PathBuf;
use std::time::Instant;

use tokentide_sim::report::Report;
use tokentide_tests::scenarios::{inline, report};
use tokentide_tests::shared::shared;

fn trace(name: &str) -> Option<PathBuf> {
    let path = shared()?.join("data/traces").join(name);
    if !path.is_file() {
        println!("skipped: there is no {name} among the recorded data");
        return None;
    }
    Some(path)
}

/// Replays a trace on Llama 3.1 8B; `more` is TOML besides the trace's path.
fn replay(path: &std::path::Path, gpu: &str, replicas: u32, engine: &str, more: &str) -> Report {
    let text = format!(
        "[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"{gpu}\"\n[engine]\n{engine}\n[cluster]\nreplicas = {replicas}\n\
         router = \"least-tokens\"\n[trace]\npath = '{}'\n{more}\n",
        path.display()
    );
    let scenario = inline(&text, &[]);
    let start = Instant::now();
    let report = report(&scenario);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let s = &report.summary;
    let hit = 100.0 * s.cached_tokens as f64 / s.input_tokens as f64;
    println!(
        "{name} on {replicas} {gpu}: {:.3} s; {} requests, load {:.2} ({}), ttft p95 {:.0} ms, {hit:.1} % cached",
        start.elapsed().as_secs_f64(),
        s.requests.total,
        s.capacity.load,
        s.capacity.state,
        s.ttft_ms.p95.unwrap_or(f64::NAN)
    );
    report.notes.iter().for_each(|note| println!("  {note}"));
    report
}

/// Rows, input and output tokens of the file; every row ends in exactly one way, and gets its whole answer.
fn all_served(report: &Report, rows: u64, input: u64, output: u64) {
    let s = &report.summary;
    assert_eq!((s.requests.total, s.input_tokens), (rows, input));
    assert_eq!(s.requests.by_finish.values().sum::<u64>(), rows);
    assert_eq!((s.requests.completed, s.output_tokens), (rows, output), "{:?}", s.requests.by_finish);
    assert_eq!(report.timeline.arrivals.iter().sum::<u64>(), rows);
    assert_eq!(report.timeline.input_tokens.iter().sum::<u64>(), input);
    assert_eq!(report.timeline.output_tokens.iter().sum::<u64>(), output);
    assert_eq!(report.replicas.iter().map(|r| r.requests).sum::<u64>(), rows);
}

#[test]
fn azure_conversations() {
    let Some(path) = trace("azure2023_conv.csv.gz") else { return };
    let report = replay(&path, "h100-sxm", 1, "max_model_len = 32768", "");
    all_served(&report, 19_366, 22_361_870, 4_088_665);
    assert_eq!(report.summary.cached_tokens, 0);
    assert!(report.notes.iter().any(|note| note.contains("no prefix hashes")));
    assert_eq!(report.summary.capacity.state, "stable");
}

#[test]
fn azure_code() {
    let Some(path) = trace("azure2023_code.csv.gz") else { return };
    let report = replay(&path, "h100-sxm", 1, "max_model_len = 32768", "");
    all_served(&report, 8_819, 18_059_974, 245_896);
    let summary = &report.summary;
    // On-off traffic: the mean rate is far below the knee, and bursts queue all the same.
    assert!(summary.capacity.load < 0.5, "{}", summary.capacity.load);
    assert!(summary.queue_ms.p95 > summary.queue_ms.p50.map(|p50| 10.0 * p50), "{:?}", summary.queue_ms);
}

/// One cache for all, that forgets nothing, finds what an unlimited one would: 37.4 % of all tokens, less the rests of blocks.
#[test]
fn mooncake_conversations_in_an_unlimited_cache() {
    let Some(path) = trace("mooncake_conversation.jsonl.gz") else { return };
    let engine = "max_model_len = 131072\nnum_gpu_blocks_override = 10000000";
    // Slow enough that earlier prompts are in the cache when later ones come.
    let report = replay(&path, "h200-sxm", 1, engine, "rate_scale = 0.02\njitter = \"3s\"");
    all_served(&report, 12_031, 144_793_823, 4_122_048);
    let hit = report.summary.cached_tokens as f64 / report.summary.input_tokens as f64;
    assert!(hit > 0.370 && hit < 0.3745, "{hit}");
}

/// The hit rate is bounded by that of an unlimited shared cache, 37.4 % of all tokens.
#[test]
fn mooncake_conversations() {
    let Some(path) = trace("mooncake_conversation.jsonl.gz") else { return };
    let hits = ["true", "false"].map(|caching| {
        let engine = format!("max_model_len = 131072\nenable_prefix_caching = {caching}");
        let report = replay(&path, "h200-sxm", 8, &engine, "jitter = \"3s\"");
        all_served(&report, 12_031, 144_793_823, 4_122_048);
        report.summary.cached_tokens as f64 / report.summary.input_tokens as f64
    });
    assert!(hits[0] > 0.0 && hits[0] < 0.374, "{hits:?}");
    assert_eq!(hits[1], 0.0);
}
