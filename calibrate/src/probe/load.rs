//! The loads: a burst that keeps the server full, which gives its capacity, and below it two open-loop runs: a rehearsal for the
//! fit, since steps last longer while requests come and go, and one that is held out of every fit.

use std::time::Duration;

use super::design::Bounds;
use super::options::ProbeOptions;
use super::pace::Pace;
use super::point::{Plan, Shape};
use super::prompts::{Lengths, arrivals};
use crate::observation::{PointKind, RequestRecord};

/// Spread of lengths: the standard deviation of their logarithms.
const INPUT_SIGMA: f64 = 0.7;
const OUTPUT_SIGMA: f64 = 0.6;
/// Requests of the open-loop run, at least, where time allows.
pub const LEAST_REQUESTS: f64 = 60.0;
/// Means are not made shorter than this [tokens].
const LEAST_INPUT: f64 = 32.0;
const LEAST_OUTPUT: f64 = 12.0;
/// Of the burst, what is left out while the server fills.
const FILLING: f64 = 0.3;
/// Indices of the streams of lengths.
const OF_BURST: u64 = 0;
const OF_OPEN: u64 = 2;
const OF_REHEARSAL: u64 = 4;

/// Mean lengths of the loads [tokens].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// Prompts.
    pub input: f64,
    /// Answers.
    pub output: f64,
}

/// Those asked for, or in proportion shorter where the server is so slow that `seconds` would not hold enough requests.
pub fn means(options: &ProbeOptions, bounds: &Bounds, pace: &Pace, seconds: f64) -> Means {
    let room = f64::from(bounds.model_len);
    let mut means = Means { input: options.input_mean.min(room / 6.0), output: options.output_mean.min(room / 8.0) };
    for _ in 0..8 {
        let (input, output) = (means.input.round() as u32, means.output.round() as u32);
        let capacity = f64::from(bounds.batch) / pace.residence(bounds.batch, input, output);
        let enough = capacity * options.load * seconds >= LEAST_REQUESTS;
        if enough || means.input <= LEAST_INPUT || means.output <= LEAST_OUTPUT {
            break;
        }
        means = Means { input: means.input * 0.75, output: means.output * 0.75 };
    }
    means
}

fn lengths(means: &Means, bounds: &Bounds, seed: u64, stream: u64, count: usize) -> Vec<(u32, u32)> {
    let (input_most, output_most) = (bounds.prompt.min(bounds.model_len / 2).max(1), (bounds.model_len / 3).max(1));
    let of = |mean, sigma, most: u32, least: u32| Lengths { mean, sigma, range: (least.min(most), most) };
    let inputs = of(means.input, INPUT_SIGMA, input_most, 8).draw(seed, stream, count);
    let outputs = of(means.output, OUTPUT_SIGMA, output_most, 2).draw(seed, stream + 1, count);
    inputs.into_iter().zip(outputs).collect()
}

/// So many clients that the server is full and some wait, for `seconds`.
pub fn burst(means: &Means, bounds: &Bounds, seed: u64, seconds: f64) -> Plan {
    let cache = bounds.kv_tokens.map_or(u32::MAX, |kv| (f64::from(kv) / (means.input + means.output)) as u32);
    let full = bounds.batch.min(cache).max(1);
    let batch = full + (full / 4).max(2);
    let count = batch as usize * 40;
    let shape = Shape::Closed { lengths: lengths(means, bounds, seed, OF_BURST, count), time: Duration::from_secs_f64(seconds) };
    Plan { name: "burst".into(), kind: PointKind::Burst, batch, context: means.input.round() as u32, rate: None, shape }
}

/// Requests per second while the server was full: output tokens of that time over the answers' mean length. `start` is the point's
/// begin [ns], and clients sent for `seconds`.
pub fn capacity(requests: &[RequestRecord], start: u64, seconds: f64) -> Option<f64> {
    let (begin, end) = (start + (FILLING * seconds * 1e9) as u64, start + (seconds * 1e9) as u64);
    let good: Vec<&RequestRecord> = requests.iter().filter(|r| r.error.is_none()).collect();
    // All lengths used up before the time was over: it was full until the first client had no more to send.
    let end = end.min(good.iter().map(|r| r.sent_ns).max()?);
    let by = |r: &RequestRecord, at: u64| r.chunks.iter().take_while(|c| c.0 <= at).last().map_or(0, |c| c.1);
    let tokens: f64 = good.iter().map(|r| f64::from(by(r, end) - by(r, begin))).sum();
    let mean = good.iter().map(|r| f64::from(r.output)).sum::<f64>() / good.len() as f64;
    let rate = tokens / mean / (end.checked_sub(begin)? as f64 / 1e9);
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// Poisson arrivals at a share of the capacity for about `seconds`; longer, up to half as much again, for enough requests.
pub fn open(options: &ProbeOptions, means: &Means, bounds: &Bounds, capacity: f64, seconds: f64) -> Plan {
    let rate = capacity * options.load;
    let count = (rate * seconds).max(LEAST_REQUESTS.min(rate * seconds * 1.5));
    arriving((PointKind::Open, "open", OF_OPEN), options, means, bounds, rate, count)
}

/// Other arrivals and lengths of the same kind, for `seconds`.
pub fn rehearsal(options: &ProbeOptions, means: &Means, bounds: &Bounds, capacity: f64, seconds: f64) -> Plan {
    let rate = capacity * options.load;
    arriving((PointKind::Rehearsal, "rehearsal", OF_REHEARSAL), options, means, bounds, rate, rate * seconds)
}

/// About so many Poisson arrivals at `rate`, from random streams of their own.
fn arriving(
    (kind, name, stream): (PointKind, &str, u64),
    options: &ProbeOptions,
    means: &Means,
    bounds: &Bounds,
    rate: f64,
    count: f64,
) -> Plan {
    let count = count.max(2.0).round() as usize;
    let lengths = lengths(means, bounds, options.seed, stream, count);
    let arrivals = arrivals(options.seed, stream, rate, count);
    let requests = arrivals.into_iter().zip(lengths).map(|(at, (input, output))| (at, input, output)).collect();
    let (name, context) = (format!("{name}/{:.2}", options.load), means.input.round() as u32);
    Plan { name, kind, batch: 0, context, rate: Some(rate), shape: Shape::Open { requests } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_told_by_tokens_while_full() {
        let request = |index: u32| RequestRecord {
            point: "burst".into(),
            rep: 0,
            index,
            planned_ns: None,
            sent_ns: u64::from(index) * 100_000_000,
            input: 8,
            output: 10,
            cached: None,
            chunks: (1..=10).map(|i| (u64::from(index) * 100_000_000 + u64::from(i) * 10_000_000, i)).collect(),
            counted: true,
            error: None,
        };
        let requests: Vec<RequestRecord> = (0..100).map(request).collect();
        let rate = capacity(&requests, 0, 5.0).expect("it was full");
        assert!((rate - 10.0).abs() < 0.1, "{rate}");
    }

    #[test]
    fn a_slow_server_gets_shorter_requests() {
        let options = ProbeOptions::new("http://h", "p.jsonl");
        let bounds = Bounds { model_len: 4096, prompt: 4095, budget: 512, budget_known: true, batch: 8, kv_tokens: None };
        let mut pace = Pace::default();
        [(16, 0.02), (1024, 0.8)].into_iter().for_each(|(n, t)| pace.learn_ttft(n, t));
        pace.learn_step(8, 128, 0.05);
        let slow = means(&options, &bounds, &pace, 60.0);
        assert!(slow.input < 400.0 && (slow.input / slow.output - 4.0).abs() < 0.01, "{slow:?}");
        assert_eq!(means(&options, &bounds, &pace, 1e4).input, 512.0);
        let plan = open(&options, &slow, &bounds, 3.0, 60.0);
        let Shape::Open { requests } = plan.shape else { panic!("it is open") };
        assert!((plan.rate, requests.len()) == (Some(1.5), 90) && requests.iter().all(|r| r.1 + r.2 <= 4096));
    }
}
