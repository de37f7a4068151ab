//! Results of `vllm bench serve --save-detailed` and of SGLang's `bench_serving --output-details`: parallel arrays, in seconds.

use super::run::{MeasuredRequest, Pacing, Run};
use super::{by_arrival, tpot_ms};
use crate::document::Node;
use crate::error::FaultKind;
use crate::error::TraceError;

/// Reads one result.
///
/// # Errors
/// If it has no requests, or an array does not fit the others.
pub fn read(root: &Node<'_>) -> Result<Run, TraceError> {
    if root.get("ttfts").is_none() {
        let why = "this result has aggregates only: run the benchmark with --save-detailed (SGLang: --output-details)";
        return Err(root.error(FaultKind::Unsupported, why));
    }
    let inputs: Vec<Node<'_>> = root.need("input_lens")?.items().collect();
    let n = inputs.len();
    let outputs = root.parallel("output_lens", n)?;
    let ttfts = root.parallel("ttfts", n)?;
    let optional = |key: &str| root.get(key).map(|_| root.parallel(key, n)).transpose();
    let (gaps, ends, starts, errors) = (optional("itls")?, optional("latencies")?, optional("start_times")?, optional("errors")?);
    let mut run = Run::new("vllm bench serve", pacing(root, starts.is_some())?);
    for i in 0..n {
        let failed = errors.as_ref().and_then(|e| e[i].text()).is_some_and(|error| !error.is_empty());
        if failed || outputs[i].number()? == 0.0 {
            run.leave_out_failed(starts.as_ref().map(|starts| starts[i].clone()), 1.0, Some(inputs[i].clone()));
            continue;
        }
        let itl_ms: Vec<f64> = match &gaps {
            Some(gaps) => gaps[i].items().map(|gap| Ok(gap.number()? * 1e3)).collect::<Result<_, TraceError>>()?,
            None => Vec::new(),
        };
        let ttft = ttfts[i].number()? * 1e3;
        let output_tokens = outputs[i].count(1)?;
        let e2e = match (&ends, &gaps) {
            (Some(ends), _) => Some(ends[i].number()? * 1e3),
            (None, Some(_)) => Some(ttft + itl_ms.iter().sum::<f64>()),
            (None, None) => None,
        };
        run.requests.push(MeasuredRequest {
            id: i.to_string(),
            arrival_s: starts.as_ref().map(|starts| starts[i].number()).transpose()?,
            input_tokens: inputs[i].count(1)?,
            output_tokens,
            ttft_ms: Some(ttft),
            tpot_ms: e2e.and_then(|e2e| tpot_ms(ttft, e2e, output_tokens)),
            e2e_ms: e2e,
            itl_ms,
            ..MeasuredRequest::default()
        });
    }
    by_arrival(&mut run.requests);
    Ok(run)
}

/// A closed loop where clients were limited and else sent at once; else the recorded times.
fn pacing(root: &Node<'_>, timed: bool) -> Result<Pacing, TraceError> {
    let at_once = root.get("request_rate").is_none_or(|rate| rate.text() == Some("inf"));
    if let Some(clients) = root.get("max_concurrency").filter(|_| at_once) {
        return Ok(Pacing::Closed(clients.count(1)?));
    }
    if timed || at_once {
        return Ok(Pacing::Recorded);
    }
    let why = "requests were sent at a rate, but the result has no start_times to replay: --concurrency N replays a closed loop";
    Err(root.need("request_rate")?.error(FaultKind::Unsupported, why))
}
