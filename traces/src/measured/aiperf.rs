//! AIPerf's `profile_export.jsonl`: one record per request, every figure with its unit.

use super::run::{LeftOut, MeasuredRequest, Pacing, Run};
use super::{by_arrival, tpot_ms};
use crate::document::Node;
use crate::error::FaultKind;
use crate::error::TraceError;

/// Reads the records. The file does not say whether clients waited for their answers, so they are replayed when they were sent.
///
/// # Errors
/// If a record lacks what it must have, or has an unknown unit.
pub fn read(records: &[Node<'_>]) -> Result<Run, TraceError> {
    let mut run = Run::new("AIPerf", Pacing::Recorded);
    for record in records {
        let metadata = record.need("metadata")?;
        let phase = metadata.get("benchmark_phase").and_then(|phase| phase.text());
        match (record.get("error"), phase) {
            (Some(_), _) => {
                let length = ["error_isl", "input_sequence_length"].iter().find_map(|key| record.at(&["metrics", key, "value"]));
                run.leave_out_failed(metadata.get("credit_issued_ns"), 1e9, length);
            }
            (None, Some("warmup")) => LeftOut::count(&mut run.left_out, "warm-up of the benchmark"),
            (None, _) => run.requests.push(request(record, &metadata)?),
        }
    }
    by_arrival(&mut run.requests);
    Ok(run)
}

fn request(record: &Node<'_>, metadata: &Node<'_>) -> Result<MeasuredRequest, TraceError> {
    let metrics = record.need("metrics")?;
    let millis =
        |key: &str| metrics.get(key).map(|metric| metric.need("value")?.number().and_then(|v| to_millis(&metric, v))).transpose();
    let tokens = |key: &str| metrics.need(key)?.need("value")?.count(1);
    let output_tokens = tokens("output_sequence_length")?;
    let (ttft, e2e) = (millis("time_to_first_token")?, millis("request_latency")?);
    let gaps = match metrics.get("inter_chunk_latency") {
        Some(metric) => metric.need("value")?.items().map(|gap| to_millis(&metric, gap.number()?)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let id = metadata.get("x_request_id").and_then(|id| id.text());
    Ok(MeasuredRequest {
        id: id.unwrap_or_default().to_owned(),
        arrival_s: Some(metadata.need("credit_issued_ns")?.number()? / 1e9),
        input_tokens: tokens("input_sequence_length")?,
        output_tokens,
        ttft_ms: ttft,
        tpot_ms: ttft.zip(e2e).and_then(|(ttft, e2e)| tpot_ms(ttft, e2e, output_tokens)),
        e2e_ms: e2e,
        itl_ms: gaps,
        ..MeasuredRequest::default()
    })
}

/// `value` in the unit of `metric`, in milliseconds.
fn to_millis(metric: &Node<'_>, value: f64) -> Result<f64, TraceError> {
    let unit = metric.need("unit")?;
    match unit.text() {
        Some("ns") => Ok(value / 1e6),
        Some("us") => Ok(value / 1e3),
        Some("ms") => Ok(value),
        Some("s" | "sec") => Ok(value * 1e3),
        _ => Err(unit.error(FaultKind::AmbiguousUnit, "expected ns, us, ms or sec")),
    }
}
