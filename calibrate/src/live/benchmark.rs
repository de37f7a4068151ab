//! A benchmark with the times of its tokens, as the log of a probe: engine steps show in the streams of both.

use crate::observation::{Observations, PointKind, PointRecord, RequestRecord, ServerRecord};

/// So many tokens of one request show a step's time.
const TOKENS_LEAST: usize = 3;

/// A request of a benchmark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BenchmarkRequest {
    /// When it was sent, from any origin [s].
    pub arrival_s: Option<f64>,
    /// Prompt [tokens].
    pub input: u32,
    /// Answer [tokens].
    pub output: u32,
    /// From sending to the first token [ms].
    pub ttft_ms: Option<f64>,
    /// Gaps between tokens [ms].
    pub itl_ms: Vec<f64>,
}

/// Benchmarks as a log; `None` if no request has the times of its tokens.
pub fn log_of(runs: &[Vec<BenchmarkRequest>]) -> Option<Observations> {
    let points: Vec<_> = runs.iter().enumerate().map(|(index, run)| point(index, run)).collect();
    let told = points.iter().flat_map(|(_, requests)| requests).any(|request| request.chunks.len() >= TOKENS_LEAST);
    told.then(|| Observations { server: ServerRecord::default(), points, incomplete: 0 })
}

/// A benchmark as a point: its requests with the times of their tokens.
fn point(index: usize, run: &[BenchmarkRequest]) -> (PointRecord, Vec<RequestRecord>) {
    let point = format!("benchmark/{index}");
    let ns = |ms: f64| (ms * 1e6).round().max(0.0) as u64;
    let first = run.iter().filter_map(|r| r.arrival_s).fold(f64::INFINITY, f64::min);
    let record = |(index, r): (usize, &BenchmarkRequest)| {
        let sent = (r.arrival_s? - first) * 1e3;
        let times = r.itl_ms.iter().scan(sent + r.ttft_ms?, |at, gap| {
            *at += gap;
            Some(*at)
        });
        let chunks = std::iter::once(sent + r.ttft_ms?).chain(times).map(ns).zip(1..).collect();
        Some(RequestRecord {
            point: point.clone(),
            rep: 0,
            index: index as u32,
            planned_ns: None,
            sent_ns: ns(sent),
            input: r.input,
            output: r.output,
            cached: None,
            chunks,
            counted: false,
            error: None,
        })
    };
    let requests: Vec<RequestRecord> = run.iter().enumerate().filter_map(record).collect();
    let record = PointRecord {
        point: point.clone(),
        rep: 0,
        kind: PointKind::Burst,
        batch: 0,
        context: 0,
        rate: None,
        start_ns: 0,
        end_ns: requests.iter().filter_map(|r| r.chunks.last()).map(|chunk| chunk.0).max().unwrap_or(0),
        counters: Default::default(),
        marks: Vec::new(),
    };
    (record, requests)
}
