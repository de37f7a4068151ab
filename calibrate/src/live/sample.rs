//! Samples: engine steps with the time that a client saw them take.

use tokentide_models::cost::{BatchShape, Profile};

use super::clock::{arrivals_ms, seen_steps};
use crate::observation::{Mark, Observations, PointKind, RequestRecord};
use crate::predict::Coefficients;

/// What a sample's steps do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleKind {
    /// Decodes only.
    Decode,
    /// One prompt alone, from sending it to its first token.
    Prefill,
    /// Decodes and a chunk of a prompt.
    Mixed,
}

/// Engine steps, and how long they took.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What its steps do.
    pub kind: SampleKind,
    /// Samples of one point differ by chance only (and a little in context).
    pub point: String,
    /// What each step computed.
    pub steps: Vec<BatchShape>,
    /// Whether the time holds a request's way to the engine and the token's way back.
    pub request: bool,
    /// [ms]
    pub ms: f64,
}

/// What is to be fitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Engine steps and prompts.
    pub steps: Vec<Sample>,
    /// Of prompts that were sent into steady decodes: what each took from the steps around its own [ms].
    pub arrivals_ms: Vec<f64>,
}

impl Samples {
    /// Takes those of another log as well.
    pub fn extend(&mut self, other: Samples) {
        self.steps.extend(other.steps);
        self.arrivals_ms.extend(other.arrivals_ms);
    }
}

/// All samples of a probe, but those of points that are held out or disturbed. `budget` is the most tokens of a step.
pub fn samples(observations: &Observations, budget: u32) -> Samples {
    let mut all = Samples::default();
    for (point, requests) in &observations.points {
        if point.marks.iter().any(|&mark| spoils(mark)) {
            continue;
        }
        match point.kind {
            PointKind::Warmup | PointKind::Open => {}
            PointKind::Prefill => all.steps.extend(requests.iter().filter_map(|request| solo(request, budget))),
            PointKind::Decode | PointKind::Mixed | PointKind::Burst | PointKind::Rehearsal | PointKind::Beat => {
                all.steps.extend(seen(requests, budget));
                if point.kind == PointKind::Mixed {
                    all.arrivals_ms.extend(arrivals_ms(requests, budget));
                }
            }
        }
    }
    all
}

/// Time of the steps that the open-loop runs of a log show, over that by a profile: how much slower the server was then than when
/// it was probed. None if they show no step.
pub fn slowness(observations: &Observations, profile: &Profile, budget: u32) -> Option<f64> {
    let coefficients = Coefficients::of(profile)?;
    let host_ms = profile.host.and_then(|host| host.step_us).unwrap_or(0.0) / 1e3;
    let open = observations.points.iter().filter(|(point, _)| point.kind == PointKind::Open);
    let (mut measured, mut predicted) = (0.0, 0.0);
    for sample in open.flat_map(|(_, requests)| seen(requests, budget)) {
        measured += sample.ms;
        predicted += sample.steps.iter().map(|step| coefficients.predict(step) + host_ms).sum::<f64>();
    }
    (predicted > 0.0).then(|| measured / predicted)
}

/// Whether a point so marked says nothing of the steps that it was meant to measure: they did other work as well, or were not seen
/// when they ended.
pub fn spoils(mark: Mark) -> bool {
    matches!(mark, Mark::ForeignTraffic | Mark::Preempted | Mark::PrefixHits | Mark::Bunched)
}

/// Steps that streams show, each a sample.
pub fn seen(requests: &[RequestRecord], budget: u32) -> impl Iterator<Item = Sample> {
    seen_steps(requests, budget).into_iter().map(|seen| {
        let first = seen.steps[0];
        let kind = if first.prefill_chunks > 0 { SampleKind::Mixed } else { SampleKind::Decode };
        Sample { kind, point: name(&first), steps: seen.steps, request: false, ms: seen.ms }
    })
}

/// A prompt alone: chunks of at most `budget` tokens, one after the other.
fn solo(request: &RequestRecord, budget: u32) -> Option<Sample> {
    let &(first, _) = request.chunks.first()?;
    if request.error.is_some() || request.cached.unwrap_or(0) > 0 || request.input == 0 {
        return None;
    }
    let ms = (first.checked_sub(request.sent_ns)?) as f64 / 1e6;
    Some(Sample {
        kind: SampleKind::Prefill,
        point: format!("prefill/{}", request.input),
        steps: chunks(request.input, budget),
        request: true,
        ms,
    })
}

/// The steps of a prompt of `input` tokens alone.
pub fn chunks(input: u32, budget: u32) -> Vec<BatchShape> {
    let step = |history: u32| {
        let mut shape = BatchShape::default();
        let tokens = (input - history).min(budget);
        shape.add_chunk(u64::from(history), u64::from(tokens), history + tokens == input);
        shape
    };
    (0..input).step_by(budget.max(1) as usize).map(step).collect()
}

/// Steps of one name cost alike: as many decodes (beyond 16 within a sixteenth), of like mean context and chunk (within a quarter).
fn name(shape: &BatchShape) -> String {
    let context = shape.decode_context.checked_div(u64::from(shape.decodes)).unwrap_or(0);
    let decodes = format!("{}x{}", rounded(u64::from(shape.decodes), 5), rounded(context, 3));
    match shape.prefill_chunks {
        0 => format!("decode/{decodes}"),
        _ => format!("mixed/{decodes}+{}@{}", rounded(shape.prefill_tokens, 3), rounded(shape.prefill_history, 3)),
    }
}

/// Down to some binary digits.
fn rounded(value: u64, digits: u32) -> u64 {
    let drop = (64 - value.leading_zeros()).saturating_sub(digits);
    (value >> drop) << drop
}
