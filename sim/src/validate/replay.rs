//! What the benchmark did, done to a simulated server.

use std::sync::Arc;

use rand::RngExt;
use tokentide_models::units::Time;

use super::measured::{Pacing, Run};
use super::points::{Benchmark, Point};
use crate::cluster::Ingress;
use crate::engine::Outcome;
use crate::metrics::Collector;
use crate::report::Summary;
use crate::scenario::{Arrivals, Class, Distribution, Horizon, Output, Scenario, Slo};
use crate::stream::{Purpose, Stream};
use crate::workload::labels::NO_LABEL;
use crate::workload::sessions::private_identity;
use crate::workload::{Prefix, Request, RequestSource};

/// One simulated request, latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Arrival to first token.
    pub ttft_ms: f64,
    /// (last - first token) / (output - 1); `None` for one token.
    pub tpot_ms: Option<f64>,
    /// Arrival to last token.
    pub e2e_ms: f64,
    /// Arrival to first scheduling.
    pub queue_ms: f64,
    /// Arrival [s].
    pub arrival_s: f64,
}

/// What came of a replay.
pub struct Replayed {
    /// By the request's place in the list; `None` for one that was not served whole.
    pub requests: Vec<Option<Predicted>>,
    /// Figures of the run, ramp included.
    pub summary: Summary,
    /// What left the cost profile's measured ranges.
    pub out_of_range: Vec<String>,
}

/// Requests in the order in which they are sent.
struct Replay {
    requests: std::iter::Peekable<std::vec::IntoIter<Request>>,
    /// When clients of a closed loop are free again, earliest first; unused with recorded arrivals.
    free: std::collections::BinaryHeap<std::cmp::Reverse<Time>>,
    closed: bool,
}

impl RequestSource for Replay {
    fn peek(&mut self) -> Option<Time> {
        let next = self.requests.peek()?;
        if self.closed { self.free.peek().map(|free| free.0) } else { Some(next.arrival) }
    }

    fn next(&mut self) -> Option<Request> {
        let time = self.peek()?;
        self.free.pop();
        self.requests.next().map(|request| Request { arrival: time, ..request })
    }

    fn feedback(&self) -> bool {
        self.closed
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        self.free.push(std::cmp::Reverse(outcome.ended.max(known)));
    }
}

/// A request of the replay. It asks for exactly the answer that it got, as benchmarks do (`ignore_eos`), or, of real traffic, as if
/// its end were known.
fn request(id: u64, arrival: Time, input_tokens: u32, output_tokens: u32, prefix: Prefix) -> Request {
    Request {
        id,
        arrival,
        class: 0,
        tenant: NO_LABEL,
        route: NO_LABEL,
        priority: 0,
        input_tokens,
        output_tokens,
        max_tokens: output_tokens,
        deadline: Time::NEVER,
        session: None,
        prefix,
        private: private_identity(u16::MAX, id, 0),
        private_reused: false,
        sources: [0; 8],
    }
}

/// The requests of a measured run, re-based to its first arrival.
pub fn requests_of_run(run: &Run) -> Vec<Request> {
    let first = run.requests.iter().filter_map(|r| r.arrival_s).fold(f64::INFINITY, f64::min);
    let of = |(id, measured): (u64, &super::measured::MeasuredRequest)| {
        let arrival = measured.arrival_s.map_or(Time::ZERO, |s| Time::from_secs_f64(s - first));
        let prefix = match measured.blocks.is_empty() {
            true => Prefix::None,
            false => Prefix::Hashes { ids: Arc::from(measured.blocks.as_slice()), block_tokens: run.block_tokens },
        };
        request(id, arrival, measured.input_tokens, measured.output_tokens, prefix)
    };
    (0..).zip(&run.requests).map(of).collect()
}

/// The requests of a point: lengths uniform between shares of the nominal ones, both ends included, prompt and answer independent.
pub fn requests_of_point(point: &Point, benchmark: &Benchmark, seed: u64) -> Vec<Request> {
    let count = u64::from(point.concurrency) * u64::from(benchmark.requests_per_client);
    let bounds = |nominal: u32| {
        let least = (f64::from(nominal) * benchmark.lengths.0).floor().max(1.0) as u32;
        least..=((f64::from(nominal) * benchmark.lengths.1).floor() as u32).max(least)
    };
    let of = |id: u64| {
        let mut rng = Stream::new(seed, Purpose::Lengths, 0, id);
        let (input, output) = (rng.random_range(bounds(point.isl)), rng.random_range(bounds(point.osl)));
        request(id, Time::ZERO, input, output, Prefix::None)
    };
    (0..count).map(of).collect()
}

/// Sends `requests` to the deployment of `scenario` (whose workload is not used).
pub fn replay(scenario: &Scenario, requests: Vec<Request>, pacing: Pacing) -> Replayed {
    let scenario = Scenario { classes: vec![class(pacing)], trace: None, horizon: Horizon::default(), ..scenario.clone() };
    let (mut predicted, ingress) = (vec![None; requests.len()], scenario.ingress());
    let mut collector = Collector::new(&scenario, |outcome: &Outcome| {
        predicted[outcome.request.id as usize] = Predicted::of(outcome, ingress);
    });
    let (closed, clients) = match pacing {
        Pacing::Recorded => (false, 0),
        Pacing::Closed(clients) => (true, clients as usize),
    };
    let free = std::iter::repeat_n(std::cmp::Reverse(Time::ZERO), clients).collect();
    let mut source = Replay { requests: requests.into_iter().peekable(), free, closed };
    let (totals, history) = scenario.cluster(scenario.seed).run(&mut source, &mut collector);
    let figures = collector.finish(&totals, history.as_ref());
    Replayed { requests: predicted, summary: figures.summary, out_of_range: figures.out_of_range }
}

impl Predicted {
    /// Of an outcome; `None` unless it got its whole answer.
    /// The front end's part of its way, `ingress`, is no waiting.
    fn of(outcome: &Outcome, ingress: Ingress) -> Option<Predicted> {
        let (Some(first), Some(scheduled)) = (outcome.first_token, outcome.scheduled) else { return None };
        if !outcome.finish.completed() || outcome.output_tokens < outcome.request.output_tokens {
            return None;
        }
        let arrival = outcome.request.arrival;
        let seen = arrival + ingress.alone(outcome.request.input_tokens);
        let gaps = f64::from(outcome.output_tokens.saturating_sub(1));
        Some(Predicted {
            ttft_ms: (first - arrival).as_millis_f64(),
            tpot_ms: (gaps > 0.0).then(|| (outcome.ended - first).as_millis_f64() / gaps),
            e2e_ms: (outcome.ended - arrival).as_millis_f64(),
            queue_ms: scheduled.since(seen).as_millis_f64(),
            arrival_s: arrival.as_secs_f64(),
        })
    }
}

/// The one class of a replay: it only tells the metrics whether clients wait for their answers.
fn class(pacing: Pacing) -> Class {
    let arrivals = match pacing {
        Pacing::Recorded => None,
        Pacing::Closed(concurrency) => Some(Arrivals::Closed { concurrency, think: Distribution::Fixed(0.0) }),
    };
    Class {
        name: "measured".to_owned(),
        tenant: None,
        route: None,
        priority: 0,
        arrivals,
        prompt: Vec::new(),
        output: Output { max_tokens: None, tokens: Distribution::Fixed(1.0) },
        correlation: 0.0,
        session: None,
        timeout: None,
        slo: Slo::default(),
    }
}
