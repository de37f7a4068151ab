//! What a real server said at `/metrics`, against the page of the replayed run: counts and sizes are the same numbers, sums of
//! times are near, as those of a replay are the recorded steps'.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use tokentide_sim::workload::Listed;
use tokentide_tests::shared::shared;
use tokentide_views::{DEFAULT_START_MS, Format, Meter, Sampling, write_metrics};

use crate::Recording;

/// Runs with pages before and after them.
const RUNS: usize = 19;
/// Numbers of each that are compared.
const SAMPLES: usize = 111;

/// Families whose samples must be the same number.
const COUNTS: [&str; 15] = [
    "num_requests_",
    "kv_cache_usage_perc",
    "prefix_cache_",
    "num_preemptions_total",
    "prompt_tokens_total",
    "prompt_tokens_by_source_total",
    "prompt_tokens_cached_total",
    "generation_tokens_total",
    "request_success_total",
    "request_prompt_tokens_",
    "request_generation_tokens_",
    "request_max_num_generation_tokens_",
    "request_params_max_tokens_",
    "request_prefill_kv_computed_tokens_",
    "iteration_tokens_total_",
];

/// Times of the engine core. (A replay has no front end, whose time is in those since the arrival.)
const TIMES: [&str; 6] = [
    "inter_token_latency",
    "request_time_per_output_token",
    "request_queue_time",
    "request_prefill_time",
    "request_decode_time",
    "request_inference_time",
];
/// How far the server's own clock of a request may be from that of its steps, beside 1 % [s].
const LATE_S: f64 = 1e-4;

/// Samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.strip_prefix("vllm:")?.split_once('{')?;
        let labels = labels.trim_end_matches('}').split("\",").filter(|l| !l.starts_with("model_name") && !l.starts_with("engine"));
        let labels = labels.map(|label| label.trim_end_matches('"')).collect::<Vec<_>>().join(",");
        Some((format!("{name} {labels}"), value.parse().ok()?))
    };
    text.lines().filter_map(sample).collect()
}

fn scraped(path: &Path) -> BTreeMap<String, f64> {
    let mut text = String::new();
    GzDecoder::new(File::open(path).expect("a page")).read_to_string(&mut text).expect("text");
    samples(&text)
}

/// Returns how many samples were compared.
fn compare(run: &Path) -> usize {
    let (before, after) = (scraped(&run.join("metrics_before.txt.gz")), scraped(&run.join("metrics_after.txt.gz")));
    let recording = Recording::read(run);
    let cluster = recording.cluster();
    let mut meter = Meter::of("tiny", &cluster, Sampling::End);
    cluster.run(&mut Listed::new(recording.requests.clone()), &mut meter);
    let mut page = Vec::new();
    write_metrics(meter, Format::Prometheus, DEFAULT_START_MS, run, &mut page).expect("a page");
    let (mut exact, mut times) = (0, 0);
    for (series, mine) in samples(std::str::from_utf8(&page).expect("text")) {
        let theirs = after.get(&series).map(|now| now - before.get(&series).copied().unwrap_or(0.0));
        if COUNTS.iter().any(|family| series.starts_with(family)) || series.contains("_seconds_count") {
            assert_eq!(Some(mine), theirs, "{}: {series}", run.display());
            exact += 1;
        } else if TIMES.iter().any(|family| series == format!("{family}_seconds_sum ")) {
            let theirs = theirs.expect("it is there");
            let near = 0.01 * theirs + LATE_S * recording.requests.len() as f64;
            assert!((mine - theirs).abs() < near, "{}: {series}: {mine}, {theirs}", run.display());
            times += 1;
        }
    }
    assert_eq!(times, TIMES.len(), "{}", run.display());
    exact
}

#[test]
fn a_page_is_what_the_server_said() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/vllm_cpu");
    let runs = std::fs::read_dir(&folder).expect("recorded runs").map(|entry| entry.expect("readable").path());
    let compared: Vec<usize> = runs.filter(|run| run.join("metrics_after.txt.gz").is_file()).map(|run| compare(&run)).collect();
    assert!(compared.len() >= RUNS && compared.iter().all(|&samples| samples == SAMPLES), "{compared:?}");
}
