//! Readers of what benchmarks leave behind. A file is told by its content, never by its name.
//!
//! All tools' figures become those of [`super`]: seconds and nanoseconds become milliseconds; GuideLLM's TPOT, which counts the
//! first token, and inference-perf's rates, which may count chunks twice, are not used.

pub mod aiperf;
pub mod csv;
pub mod guidellm;
pub mod inference_perf;
pub mod probe;
mod run;
pub mod vllm;

use std::path::Path;

use serde_json::Value;

pub use self::run::{FailedRequest, LeftOut, MeasuredRequest, Pacing, Run};
use crate::document::{self, Node};
use crate::error::TraceError;
use crate::error::{Fault, FaultKind};

/// Reads the benchmarks of a file, mostly one. `blocks` is a file with the identities of each prompt's blocks, for a CSV.
///
/// # Errors
/// With file, line or place, value and reason.
pub fn read_runs(path: &Path, blocks: Option<&Path>) -> Result<Vec<Run>, TraceError> {
    let text = document::text(path)?;
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if !start.starts_with(['{', '[']) {
        return Ok(vec![csv::read(path, blocks)?]);
    }
    let runs = match serde_json::from_str::<Value>(start) {
        Ok(whole) => one(&Node::root(path, None, &whole))?,
        Err(error) => lines(path, start, &error)?,
    };
    if let Some(empty) = runs.iter().find(|run| run.requests.is_empty()) {
        let left_out: Vec<String> = empty.left_out.iter().map(|l| format!("{} {}", l.rows, l.reason)).collect();
        return Err(error(path, FaultKind::Empty, format!("no request is left to compare: {}", left_out.join("; "))));
    }
    Ok(runs)
}

/// One JSON document: by its keys.
fn one(root: &Node<'_>) -> Result<Vec<Run>, TraceError> {
    let known = "known are vllm bench serve and SGLang bench_serving (--save-detailed, --output-details), GuideLLM, AIPerf and \
                 inference-perf per request, and CSV (arrival_s, input_tokens, output_tokens, ttft_ms)";
    if root.at(&["metadata", "guidellm_version"]).is_some() || root.get("benchmarks").is_some() {
        return guidellm::read(root);
    }
    if root.get("itls").is_some() || root.get("mean_ttft_ms").is_some() {
        return Ok(vec![vllm::read(root)?]);
    }
    if root.items().next().is_some_and(|first| first.get("info").is_some()) {
        return Ok(vec![inference_perf::read(root)?]);
    }
    if root.get("metrics").is_some() && root.get("metadata").is_some() {
        return Ok(vec![aiperf::read(std::slice::from_ref(root))?]);
    }
    if root.get("load_summary").is_some() {
        let why = "this is a summary of inference-perf: per_request_lifecycle_metrics.json has the requests";
        return Err(root.error(FaultKind::Unsupported, why));
    }
    Err(root.error(FaultKind::UnknownFormat, known))
}

/// JSON lines: the requests of AIPerf, or several results of `vllm bench serve --append-result`.
fn lines(path: &Path, text: &str, whole: &serde_json::Error) -> Result<Vec<Run>, TraceError> {
    let mut values = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) => values.push((number, value)),
            // A document of many lines with an error has it at its own place.
            Err(_) if values.is_empty() => return Err(error(path, FaultKind::BadJson, whole.to_string())),
            Err(wrong) => {
                let fault = Fault::new(FaultKind::BadJson, wrong.to_string()).text(line);
                return Err(TraceError { file: path.to_owned(), line: Some(number), fault: Box::new(fault) });
            }
        }
    }
    let nodes: Vec<Node<'_>> = values.iter().map(|(number, value)| Node::root(path, Some(*number), value)).collect();
    if nodes[0].get("metrics").is_some() && nodes[0].get("metadata").is_some() {
        return Ok(vec![aiperf::read(&nodes)?]);
    }
    if nodes[0].get("record").is_some() {
        return probe::read(&nodes);
    }
    let each: Result<Vec<Vec<Run>>, TraceError> = nodes.iter().map(one).collect();
    Ok(each?.into_iter().flatten().collect())
}

fn error(path: &Path, kind: FaultKind, expected: impl Into<String>) -> TraceError {
    TraceError { file: path.to_owned(), line: None, fault: Box::new(Fault::new(kind, expected)) }
}

/// Orders requests by submission, those without a time in the order of the file.
fn by_arrival(requests: &mut [MeasuredRequest]) {
    requests.sort_by(|a, b| a.arrival_s.unwrap_or(0.0).total_cmp(&b.arrival_s.unwrap_or(0.0)));
}

/// (last - first token) / (output - 1) [ms].
fn tpot_ms(ttft_ms: f64, e2e_ms: f64, output_tokens: u32) -> Option<f64> {
    (output_tokens > 1 && e2e_ms >= ttft_ms).then(|| (e2e_ms - ttft_ms) / f64::from(output_tokens - 1))
}
