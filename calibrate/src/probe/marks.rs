//! What to beware of in a repeat: what the server did beside it, and what became of its requests.

use super::figure::{Figure, bunched_streams, steady};
use super::metrics::Growth;
use super::point::Plan;
use super::watch::Sample;
use crate::observation::{Mark, PointKind, RequestRecord};
use crate::solve::median;

/// Times as long as in the other repeats, at its fastest.
const SLOW: f64 = 1.15;
/// Share of chunks that may come together with others.
pub const BUNCHED: f64 = 0.25;
/// One reading can be of the moment between two requests: it takes more of them.
const LEAST_SAMPLES: usize = 2;

/// What is known of a repeat.
pub struct Seen<'a> {
    /// What was sent.
    pub plan: &'a Plan,
    /// What came of it.
    pub requests: &'a [RequestRecord],
    /// What the counters grew by.
    pub growth: &'a Growth,
    /// What `/metrics` told meanwhile.
    pub samples: &'a [Sample],
    /// Its figure.
    pub figure: Option<Figure>,
    /// Those of the other repeats.
    pub others: &'a [Figure],
}

/// All that is to be said of it.
pub fn marks(seen: &Seen<'_>) -> Vec<Mark> {
    let grown = |value: Option<f64>| value.is_some_and(|grown| grown > 0.0);
    let all = [
        (Mark::ForeignTraffic, foreign(seen)),
        (Mark::Preempted, grown(seen.growth.preemptions)),
        (Mark::PrefixHits, grown(seen.growth.hits) || seen.requests.iter().any(|r| r.cached.is_some_and(|n| n > 0))),
        (Mark::Queued, queued(seen)),
        (Mark::Failed, seen.requests.iter().any(|r| r.error.is_some())),
        (Mark::Throttled, throttled(seen)),
        (Mark::Bunched, bunched_streams(decodes(seen.plan), seen.requests) > BUNCHED),
    ];
    all.into_iter().filter(|(_, holds)| *holds).map(|(mark, _)| mark).collect()
}

/// Decodes whose chunks are looked at.
fn decodes(plan: &Plan) -> u32 {
    if matches!(plan.kind, PointKind::Decode | PointKind::Beat | PointKind::Mixed) { plan.batch } else { 0 }
}

/// Whether the server counted more tokens than ours, or had more requests.
fn foreign(seen: &Seen<'_>) -> bool {
    let sum = |of: fn(&RequestRecord) -> u32| seen.requests.iter().map(|r| f64::from(of(r))).sum::<f64>();
    let (input, output) = (sum(|r| r.input), sum(|r| r.output));
    // What was preempted may be counted twice.
    let exact = seen.growth.preemptions.is_none_or(|n| n == 0.0);
    let more = seen.growth.prompt.is_some_and(|n| n > input + 0.5) || seen.growth.generation.is_some_and(|n| n > output + 0.5);
    let others = seen.samples.iter().filter(|s| s.running + s.waiting > f64::from(s.ours) + 0.5).count();
    // Gauges lag behind by a step or more, at the seams between requests of a point that sends many.
    exact && more || others >= LEAST_SAMPLES && others * 2 > seen.samples.len()
}

/// Whether requests waited where none was to: while all decoded, or so that they never did.
fn queued(seen: &Seen<'_>) -> bool {
    let decodes: Vec<&RequestRecord> = seen.requests.iter().filter(|r| r.index < seen.plan.batch && r.error.is_none()).collect();
    let (begin, end) = match seen.plan.kind {
        kind if kind.is_load() || matches!(kind, PointKind::Warmup | PointKind::Prefill) => return false,
        _ if decodes.len() < seen.plan.batch as usize => return false,
        _ => match steady(&decodes) {
            Some(window) => window,
            // The tokens of one decode can come all at once, if the client or the server's front end could not keep up.
            None => return seen.plan.batch > 1,
        },
    };
    let within = |s: &&Sample| (begin..=end).contains(&s.at);
    // Prompts that are injected wait for a step, and no longer.
    let waiting = seen.samples.iter().filter(within).filter(|s| s.waiting > 0.0).count();
    waiting >= LEAST_SAMPLES && waiting * 2 > seen.samples.iter().filter(within).count()
}

/// Whether it was slower than the others, even at its fastest.
fn throttled(seen: &Seen<'_>) -> bool {
    let compared = seen.plan.kind != PointKind::Warmup && !seen.plan.kind.is_load();
    let others: Vec<f64> = seen.others.iter().map(|figure| figure.low).collect();
    let usual = median(&others).filter(|_| compared && others.len() >= 2);
    matches!((seen.figure, usual), (Some(figure), Some(usual)) if figure.low > SLOW * usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::point::Shape;

    #[test]
    fn bunches_are_marked() {
        let chunks = (1..=20).map(|i| (10_000_000 * (1 + u64::from(i) / 5), i)).collect::<Vec<_>>();
        let requests = [0, 1].map(|index| RequestRecord { output: 20, chunks: chunks.clone(), ..request(index, 0, 0) });
        assert_eq!(seen(&requests, &Growth::default(), &[], 1.0), [Mark::Bunched]);
    }

    fn request(index: u32, first: u64, last: u64) -> RequestRecord {
        RequestRecord {
            point: "decode/2x8".into(),
            rep: 0,
            index,
            planned_ns: None,
            sent_ns: 0,
            input: 8,
            output: 2,
            cached: None,
            chunks: vec![(first * 1_000_000, 1), (last * 1_000_000, 2)],
            counted: true,
            error: None,
        }
    }

    fn seen(requests: &[RequestRecord], growth: &Growth, samples: &[Sample], low: f64) -> Vec<Mark> {
        let shape = Shape::Together { output: 2 };
        let plan = Plan { name: "decode/2x8".into(), kind: PointKind::Decode, batch: 2, context: 8, rate: None, shape };
        let figure = |low| Figure { value: low, low, steps: 9, bunched: 0.0 };
        let others = [figure(1.0), figure(1.02)];
        marks(&Seen { plan: &plan, requests, growth, samples, figure: Some(figure(low)), others: &others })
    }

    fn growth(prompt: f64, generation: f64) -> Growth {
        Growth { prompt: Some(prompt), generation: Some(generation), ..Growth::default() }
    }

    #[test]
    fn a_good_repeat_has_none() {
        let requests = [request(0, 100, 900), request(1, 200, 1000)];
        let sample = Sample { at: 500_000_000, running: 2.0, waiting: 0.0, usage: 0.1, ours: 2 };
        assert_eq!(seen(&requests, &growth(16.0, 4.0), &[sample; 3], 1.1), []);
        assert_eq!(seen(&requests, &Growth::default(), &[], 1.1), []);
    }

    #[test]
    fn each_fault_has_its_mark() {
        let requests = [request(0, 100, 900), request(1, 200, 1000)];
        let sample = Sample { at: 500_000_000, running: 2.0, waiting: 0.0, usage: 0.1, ours: 2 };
        assert_eq!(seen(&requests, &growth(17.0, 4.0), &[], 1.0), [Mark::ForeignTraffic]);
        assert_eq!(seen(&requests, &growth(16.0, 4.0), &[Sample { running: 3.0, ..sample }; 2], 1.0), [Mark::ForeignTraffic]);
        let waiting = Sample { running: 1.0, waiting: 1.0, ..sample };
        assert_eq!(seen(&requests, &growth(16.0, 4.0), &[waiting; 2], 1.0), [Mark::Queued]);
        assert_eq!(seen(&[request(0, 100, 200), request(1, 300, 400)], &growth(16.0, 4.0), &[], 1.0), [Mark::Queued]);
        assert_eq!(seen(&requests, &growth(16.0, 4.0), &[], 1.2), [Mark::Throttled]);
        let counted = Growth { preemptions: Some(1.0), hits: Some(16.0), ..growth(24.0, 4.0) };
        assert_eq!(seen(&requests, &counted, &[], 1.0), [Mark::Preempted, Mark::PrefixHits]);
        let failed = RequestRecord { error: Some("429".into()), ..request(1, 200, 1000) };
        assert_eq!(seen(&[request(0, 100, 900), failed], &growth(8.0, 2.0), &[], 1.0), [Mark::Failed]);
    }
}
