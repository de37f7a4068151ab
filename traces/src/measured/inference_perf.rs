//! inference-perf's `per_request_lifecycle_metrics.json`: an array of requests with the time of each token, monotonic seconds.

use super::run::{LeftOut, MeasuredRequest, Pacing, Run};
use super::{by_arrival, tpot_ms};
use crate::document::Node;
use crate::error::TraceError;

/// Reads the requests; they are replayed when they were sent. The tool's own per-token rates are not used: older releases count
/// chunks twice.
///
/// # Errors
/// If a request lacks what it must have.
pub fn read(root: &Node<'_>) -> Result<Run, TraceError> {
    let mut run = Run::new("inference-perf", Pacing::Recorded);
    for (index, node) in root.items().enumerate() {
        if node.get("error").is_some() {
            run.leave_out_failed(node.get("start_time"), 1.0, input(&node));
            continue;
        }
        match request(&node, index)? {
            Some(request) => run.requests.push(request),
            None => LeftOut::count(&mut run.left_out, "without token times (not streamed, or no answer)"),
        }
    }
    by_arrival(&mut run.requests);
    Ok(run)
}

/// Length of the prompt, by its newer name or by its older one.
fn input<'a>(node: &Node<'a>) -> Option<Node<'a>> {
    node.at(&["info", "request_metrics", "text", "input_tokens"]).or_else(|| node.at(&["info", "input_tokens"]))
}

fn request(node: &Node<'_>, index: usize) -> Result<Option<MeasuredRequest>, TraceError> {
    let start = node.need("start_time")?.number()?;
    let info = node.need("info")?;
    let Some(response) = info.get("response_metrics") else { return Ok(None) };
    let times = response.get("output_token_times").map(|list| list.items().map(|t| t.number()).collect::<Result<Vec<f64>, _>>());
    let times = times.transpose()?.unwrap_or_default();
    let ([first, .., last], Some(output)) = (times.as_slice(), response.get("output_tokens")) else { return Ok(None) };
    let output_tokens = output.count(1)?;
    let input = match input(node) {
        Some(input) => input,
        None => info.need("input_tokens")?,
    };
    let (ttft, e2e) = ((first - start) * 1e3, (last - start) * 1e3);
    Ok(Some(MeasuredRequest {
        id: index.to_string(),
        arrival_s: Some(start),
        input_tokens: input.count(1)?,
        output_tokens,
        ttft_ms: Some(ttft),
        tpot_ms: tpot_ms(ttft, e2e, output_tokens),
        e2e_ms: Some(e2e),
        itl_ms: times.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect(),
        ..MeasuredRequest::default()
    }))
}
