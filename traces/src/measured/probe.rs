//! The open-loop runs in the log of `tokentide calibrate probe`: the part that no fit has seen.

use super::run::{MeasuredRequest, Pacing, Run};
use super::{by_arrival, tpot_ms};
use crate::document::Node;
use crate::error::FaultKind;
use crate::error::TraceError;

/// Reads the open-loop points, each a run. Requests are sent when they were.
///
/// # Errors
/// If a record lacks what it must have, or if there is no such point.
pub fn read(records: &[Node<'_>]) -> Result<Vec<Run>, TraceError> {
    let of_kind = |record: &&Node<'_>, kind: &str| record.get("record").and_then(|r| r.text()) == Some(kind);
    let is_open = |point: &&Node<'_>| point.get("kind").and_then(|kind| kind.text()) == Some("open");
    let mut runs = Vec::new();
    for point in records.iter().filter(|r| of_kind(r, "point")).filter(is_open) {
        let mut run = Run::new("tokentide probe", Pacing::Recorded);
        let (name, rep) = (point.need("point")?.text(), point.need("rep")?.count(0)?);
        for request in records.iter().filter(|r| of_kind(r, "request")) {
            if request.need("point")?.text() != name || request.need("rep")?.count(0)? != rep {
                continue;
            }
            match request.get("error") {
                Some(_) => run.leave_out_failed(request.get("sent_ns"), 1e9, request.get("input")),
                None => run.requests.push(measured(request)?),
            }
        }
        by_arrival(&mut run.requests);
        runs.push(run);
    }
    match runs.is_empty() {
        true => Err(records[0].error(FaultKind::Empty, "this log has no open-loop run, which is what is compared")),
        false => Ok(runs),
    }
}

fn measured(request: &Node<'_>) -> Result<MeasuredRequest, TraceError> {
    let sent = request.need("sent_ns")?.number()?;
    let output_tokens = request.need("output")?.count(1)?;
    let mut chunks = Vec::new();
    for chunk in request.need("chunks")?.items() {
        let pair: Vec<Node<'_>> = chunk.items().collect();
        let [at, tokens] = &pair[..] else { return Err(chunk.error(FaultKind::NotANumber, "expected a time and a count")) };
        chunks.push(((at.number()? - sent) / 1e6, tokens.count(1)?));
    }
    let (Some(&(ttft, _)), Some(&(e2e, _))) = (chunks.first(), chunks.last()) else {
        return Err(request.error(FaultKind::Empty, "an answer has at least one chunk"));
    };
    let alone = |pair: &[(f64, u32)]| pair[1].1 == pair[0].1 + 1;
    Ok(MeasuredRequest {
        id: request.need("index")?.count(0)?.to_string(),
        arrival_s: Some(sent / 1e9),
        input_tokens: request.need("input")?.count(1)?,
        output_tokens,
        ttft_ms: Some(ttft),
        tpot_ms: tpot_ms(ttft, e2e, output_tokens),
        e2e_ms: Some(e2e),
        itl_ms: if chunks.windows(2).all(alone) {
            chunks.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
        } else {
            Vec::new()
        },
        ..MeasuredRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn log() -> Vec<Value> {
        let request = |point: &str, index: u32, error: Option<&str>| {
            let mut value = json!({
                "record": "request", "point": point, "rep": 0, "index": index, "sent_ns": 1_000_000_000_u64 + u64::from(index),
                "input": 100, "output": 3, "counted": true,
                "chunks": [[1_020_000_000_u64, 1], [1_030_000_000_u64, 2], [1_045_000_000_u64, 3]],
            });
            if let Some(error) = error {
                value["error"] = json!(error);
            }
            value
        };
        let point = |point: &str, kind: &str| json!({ "record": "point", "point": point, "rep": 0, "kind": kind });
        vec![
            json!({ "record": "server", "schema": 1 }),
            request("decode/1x100", 0, None),
            point("decode/1x100", "decode"),
            request("open/0", 1, Some("500")),
            request("open/0", 0, None),
            point("open/0", "open"),
            request("open/1", 0, None),
        ]
    }

    fn runs(log: &[Value]) -> Result<Vec<Run>, TraceError> {
        let nodes: Vec<Node<'_>> = (1..).zip(log).map(|(line, value)| Node::root(Path::new("log"), Some(line), value)).collect();
        read(&nodes)
    }

    #[test]
    fn only_open_points_that_ended_are_read() {
        let runs = runs(&log()).unwrap();
        assert_eq!((runs.len(), runs[0].requests.len(), runs[0].left_out[0].rows), (1, 1, 1));
        let r = &runs[0].requests[0];
        assert_eq!((r.ttft_ms, r.e2e_ms, r.tpot_ms, &r.itl_ms[..]), (Some(20.0), Some(45.0), Some(12.5), &[10.0, 15.0][..]));
        assert!(super::tests::runs(&log()[..3]).unwrap_err().to_string().contains("no open-loop run"));
    }

    /// Gaps between chunks of several tokens are no gaps between tokens.
    #[test]
    fn gaps_are_of_single_tokens() {
        let mut log = log();
        log[4]["chunks"] = json!([[1_020_000_000_u64, 1], [1_045_000_000_u64, 3]]);
        let r = &runs(&log).unwrap()[0].requests[0];
        assert_eq!((r.tpot_ms, r.itl_ms.len()), (Some(12.5), 0));
    }
}
