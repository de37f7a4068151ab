//! GuideLLM's JSON report (0.6 to 0.8): several benchmarks, each with its requests.

use super::run::{LeftOut, MeasuredRequest, Pacing, Run};
use super::{by_arrival, tpot_ms};
use crate::document::Node;
use crate::error::FaultKind;
use crate::error::TraceError;

/// Reads every benchmark of a report.
///
/// # Errors
/// If a request lacks what it must have.
pub fn read(root: &Node<'_>) -> Result<Vec<Run>, TraceError> {
    root.need("benchmarks")?.items().map(|benchmark| self::benchmark(&benchmark)).collect()
}

fn benchmark(benchmark: &Node<'_>) -> Result<Run, TraceError> {
    let requests = benchmark.need("requests")?;
    let mut run = Run::new("GuideLLM", pacing(benchmark)?);
    let list = |key: &str| requests.get(key).into_iter().flat_map(|list| list.items().collect::<Vec<_>>());
    list("incomplete").for_each(|_| LeftOut::count(&mut run.left_out, "not completed within the benchmark"));
    list("errored").for_each(|node| run.leave_out_failed(start(&node), 1.0, node.get("prompt_tokens")));
    for node in list("successful") {
        match request(&node)? {
            Some(request) => run.requests.push(request),
            None => LeftOut::count(&mut run.left_out, "no answer of at least one token with a first-token time"),
        }
    }
    let total = benchmark.at(&["metrics", "request_totals", "successful"]).map(|n| n.count(0)).transpose()?;
    if let Some(missing) = total.and_then(|total| total.checked_sub(run.requests.len() as u32)).filter(|missing| *missing > 0) {
        let reason = "not in the report, which holds a sample: the replayed load is lower than the real one";
        (0..missing).for_each(|_| LeftOut::count(&mut run.left_out, reason));
    }
    by_arrival(&mut run.requests);
    Ok(run)
}

/// When it was sent.
fn start<'a>(node: &Node<'a>) -> Option<Node<'a>> {
    let timings = node.at(&["info", "timings"]);
    let start = ["targeted_start", "request_start"].iter().find_map(|key| timings.as_ref()?.get(key));
    start.or_else(|| node.get("request_start_time"))
}

/// One request. Its `time_per_output_token_ms` counts the first token, so TPOT is `inter_token_latency_ms` there.
fn request(node: &Node<'_>) -> Result<Option<MeasuredRequest>, TraceError> {
    let number = |key: &str| node.get(key).map(|value| value.number()).transpose();
    let (Some(output), Some(ttft)) = (node.get("output_tokens"), number("time_to_first_token_ms")?) else { return Ok(None) };
    if output.number()? == 0.0 {
        return Ok(None);
    }
    let arrival = start(node).map(|start| start.number()).transpose()?;
    let (e2e, output_tokens) = (number("request_latency")?.map(|s| s * 1e3), output.count(1)?);
    let stated = number("inter_token_latency_ms")?.filter(|_| output_tokens > 1);
    Ok(Some(MeasuredRequest {
        id: node.get("request_id").and_then(|id| id.text()).unwrap_or_default().to_owned(),
        arrival_s: arrival,
        input_tokens: node.need("prompt_tokens")?.count(1)?,
        output_tokens,
        ttft_ms: Some(ttft),
        tpot_ms: stated.or_else(|| tpot_ms(ttft, e2e?, output_tokens)),
        e2e_ms: e2e,
        ..MeasuredRequest::default()
    }))
}

fn pacing(benchmark: &Node<'_>) -> Result<Pacing, TraceError> {
    let Some(strategy) = benchmark.at(&["config", "strategy"]).or_else(|| benchmark.at(&["args", "strategy"])) else {
        return Ok(Pacing::Recorded);
    };
    match strategy.get("type_").and_then(|kind| kind.text()) {
        Some("synchronous") => Ok(Pacing::Closed(1)),
        Some("concurrent") => {
            let streams = strategy.get("streams").ok_or_else(|| strategy.error(FaultKind::MissingValue, "it has no `streams`"))?;
            Ok(Pacing::Closed(streams.count(1)?))
        }
        _ => Ok(Pacing::Recorded),
    }
}
