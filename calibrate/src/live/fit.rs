//! From what a probe saw to a profile.

use std::collections::BTreeMap;

use tokentide_models::cost::{
    BatchShape, Calibrated, DecodeAttention, Errors, Floor, HostOverrides, Knots, PROFILE_SCHEMA, PrefillAttention, Profile,
    ProfileKind, Ranges, StatedError, profile_name,
};
use tokentide_models::deployment::Deployment;

use super::basis::{Basis, Term};
use super::host::{HostShare, split};
use super::points::{Point, median, points};
use super::regress::{Regression, held_out_error, regress};
use super::sample::{Sample, SampleKind, Samples};
use crate::CalibrateError;
use crate::kernels::StepKernels;
use crate::predict::stated_error;
use crate::solve::{NORMAL_95, significant, usual};

/// One coefficient of a fit.
#[derive(Clone, Debug)]
pub struct Coefficient {
    /// What it is of.
    pub term: Term,
    /// Its value, in addition to the floor's part [ms].
    pub ms: f64,
    /// Half its 95 % interval [ms].
    pub half_width: f64,
    /// Why the data do not say it, if they don't.
    pub unidentified: Option<String>,
}

/// A fitted profile and what it is worth.
#[derive(Clone, Debug)]
pub struct LiveFit {
    /// The profile.
    pub profile: Profile,
    /// Its coefficients.
    pub coefficients: Vec<Coefficient>,
    /// What was fitted, with the time that a fit without the point predicts [ms].
    pub points: Vec<(Point, f64)>,
    /// Samples that stood out of their points, and are not in them.
    pub left_out: usize,
    /// The host's part of a step, if the server's kernels were looked at.
    pub host: Option<HostShare>,
}

/// What the profile is to say of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Serving engine.
    pub engine: String,
    /// Its version.
    pub engine_version: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// What was measured.
    pub source: String,
}

/// Least points of a fit.
const POINTS_MIN: usize = 8;
/// Least prompts among steady decodes that tell what a request takes from the steps around.
const ARRIVALS_MIN: usize = 8;
/// Knots of the linear layers' time at most.
const KNOTS_MAX: usize = 5;
/// A knot must lower the error at points left out by this part.
const KNOT_GAIN: f64 = 0.03;
/// And by this much in any case.
const KNOT_GAIN_LEAST: f64 = 0.0005;
/// Significant digits of what is written.
const DIGITS: usize = 6;
/// A term whose variance is blown up by more than this cannot be told from the others.
const INFLATION_MAX: f64 = 1e4;
/// Up to so many times the largest step an extrapolated profile must not be below the floor.
const FAR: u32 = 64;
/// An extrapolated time is above the floor by this part.
const FLOOR_MARGIN: f64 = 0.01;
/// A measured time may be below the floor by clock noise.
const FLOOR_TOLERANCE: f64 = 0.03;
/// Part of the points that may be below it by mistake.
const BELOW_FLOOR_MAX: f64 = 0.1;

/// Fits a profile of `deployment` to samples; with `kernels` of the same server, host and GPU time apart.
///
/// # Errors
///
/// [`CalibrateError::TooFew`] if there are too few points, [`CalibrateError::Refused`] if steps were faster than the deployment's
/// GPU can be, [`CalibrateError::Profile`] if the fit is.
pub fn fit_live(
    samples: &Samples,
    kernels: Option<&StepKernels>,
    deployment: &Deployment,
    about: &About,
) -> Result<LiveFit, CalibrateError> {
    let (samples, arrival) = (&samples.steps[..], arrival(&samples.arrivals_ms));
    let described = format!("{} on {}", deployment.model.name, deployment.gpu.name);
    let bare = Basis::new(deployment)?;
    above_floor(samples, &points(samples, &bare, None), deployment, &described)?;
    let first = points(samples, &bare, None);
    let steps = first.iter().filter(|p| p.kind != SampleKind::Prefill).count();
    if first.len() < POINTS_MIN || steps == 0 {
        let (what, found, least) = if steps == 0 { ("steps with decodes", 0, 1) } else { ("steps", first.len(), POINTS_MIN) };
        return Err(CalibrateError::TooFew { what, found, least, selection: described });
    }
    let basis = choose_knots(samples, bare);
    let (points, fit) = twice(samples, &basis);
    let mut coefficients = coefficients(&basis, &points, &fit);
    let mut profile = profile(samples, arrival.ms, deployment, about, &basis, &fit, errors(&points, &fit))?;
    coefficients.push(arrival);
    let host = kernels.map(|kernels| split(&mut profile, kernels)).transpose()?;
    profile.to_toml()?;
    Calibrated::new(&profile, deployment)?;
    let left_out = points.iter().map(|p| p.left_out).sum();
    Ok(LiveFit { profile, coefficients, points: points.into_iter().zip(fit.held_out).collect(), left_out, host })
}

/// A fit, and once more without what stands out of it.
fn twice(samples: &[Sample], basis: &Basis) -> (Vec<Point>, Regression) {
    let fit = regress(&points(samples, basis, None));
    let of =
        |sample: &Sample| basis.known_ms(sample) + basis.row(sample).iter().zip(&fit.coefficients).map(|(a, x)| a * x).sum::<f64>();
    let again = points(samples, basis, Some(&of));
    // A first fit that is off everywhere says nothing of single samples.
    let points = if again.len() < POINTS_MIN { points(samples, basis, None) } else { again };
    let fit = regress(&points);
    (points, fit)
}

/// Adds knots one by one, each moved to where the error at points left out is least, while they lower that error.
fn choose_knots(samples: &[Sample], bare: Basis) -> Basis {
    let largest = samples.iter().flat_map(|s| &s.steps).map(|step| step.tokens()).max().unwrap_or(1);
    let candidates: Vec<u32> = (1..20).flat_map(|k| [1_u32 << k, 3 << (k - 1)]).filter(|&t| u64::from(t) < largest).collect();
    let error = |basis: &Basis| {
        let (points, fit) = twice(samples, basis);
        held_out_error(&points, &fit.held_out)
    };
    let (mut basis, mut least) = (bare.clone(), error(&bare));
    while basis.knots.len() < KNOTS_MAX {
        let free = candidates.iter().filter(|c| !basis.knots.contains(c));
        let tried = free.map(|&knot| basis.with(knot)).map(|basis| (error(&basis), basis));
        let Some(best) = tried.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        let (found, best) = moved(best, &error);
        if least - found < (least * KNOT_GAIN).max(KNOT_GAIN_LEAST) {
            break;
        }
        (basis, least) = (best, found);
    }
    basis
}

/// Moves knots, one at a time and by ever smaller parts, while that lowers the error.
fn moved((mut least, mut basis): (f64, Basis), error: &dyn Fn(&Basis) -> f64) -> (f64, Basis) {
    for part in [0.2, 0.1, 0.05, 0.02, 0.01, 0.005] {
        for (i, sign) in (0..basis.knots.len()).flat_map(|i| [(i, 1.0), (i, -1.0)]) {
            loop {
                let mut next = basis.clone();
                next.knots[i] = (f64::from(basis.knots[i]) * (1.0 + sign * part)).round().max(1.0) as u32;
                if next.knots == basis.knots || !next.knots.is_sorted_by(|a, b| a < b) {
                    break;
                }
                let found = error(&next);
                if found >= least {
                    break;
                }
                (basis, least) = (next, found);
            }
        }
    }
    (least, basis)
}

/// Refuses times that the deployment's GPU cannot reach: then it, or the model, is another one. Of a few points it is no proof,
/// since tokens that come in bunches look like steps that took no time.
fn above_floor(samples: &[Sample], points: &[Point], deployment: &Deployment, described: &str) -> Result<(), CalibrateError> {
    let floor = Floor::new(deployment)?;
    let mut times: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for sample in samples {
        let least = sample.steps.iter().map(|step| floor.of(step).as_millis_f64()).sum::<f64>();
        let (ratios, leasts) = times.entry(&sample.point).or_default();
        ratios.push(sample.ms / least.max(1e-9));
        leasts.push(least);
    }
    let ratio = |point: &Point| median(&times[point.name.as_str()].0);
    let below: Vec<&Point> = points.iter().filter(|point| ratio(point) < 1.0 - FLOOR_TOLERANCE).collect();
    let Some(point) = below.iter().max_by_key(|point| point.samples) else { return Ok(()) };
    if below.len() as f64 <= BELOW_FLOOR_MAX * points.len() as f64 {
        return Ok(());
    }
    let (ratio, least) = (ratio(point), median(&times[point.name.as_str()].1));
    let reason = format!(
        "{} took {:.3} ms, {:.0} % of what memory and arithmetic of this GPU need at the least ({least:.3} ms), and so did {} of \
         {} points: was another GPU, model, number format or layout measured?",
        point.name,
        ratio * least,
        ratio * 100.0,
        below.len(),
        points.len()
    );
    Err(CalibrateError::Refused { selection: described.to_owned(), reason })
}

/// What a request's coming and going take from steps that are not its own; nothing where that is no more than chance.
fn arrival(taken_ms: &[f64]) -> Coefficient {
    let term = Term::Arrival;
    let unknown = || Some(format!("too few prompts came into steady decodes; what would tell it: {}", term.advice()));
    match usual(taken_ms).filter(|_| taken_ms.len() >= ARRIVALS_MIN) {
        None => Coefficient { term, ms: 0.0, half_width: 0.0, unidentified: unknown() },
        Some((ms, error)) => {
            let half_width = NORMAL_95 * error;
            Coefficient { term, ms: if ms > half_width { ms } else { 0.0 }, half_width, unidentified: None }
        }
    }
}

fn coefficients(basis: &Basis, points: &[Point], fit: &Regression) -> Vec<Coefficient> {
    let typical = median(&points.iter().map(|p| p.ms).collect::<Vec<_>>());
    let one = |(j, term): (usize, Term)| {
        let (ms, half_width) = (fit.coefficients[j], fit.half_widths[j]);
        let share = points.iter().map(|p| p.row[j] * ms / p.ms).fold(0.0, f64::max);
        let unidentified = match () {
            () if points.iter().all(|p| p.row[j] == 0.0) => Some("nothing was measured that has it".to_owned()),
            () if fit.inflation[j] > INFLATION_MAX => Some("it goes with other terms in all that was measured".to_owned()),
            () if ms > 0.0 && half_width >= ms && share * typical > 0.01 * typical => Some("its interval contains 0".to_owned()),
            () => None,
        };
        let unidentified = unidentified.map(|why| format!("{why}; what would tell it: {}", term.advice()));
        Coefficient { term, ms, half_width, unidentified }
    };
    basis.terms().into_iter().enumerate().map(one).collect()
}

fn errors(points: &[Point], fit: &Regression) -> Errors {
    let of = |kind: SampleKind| -> Option<StatedError> {
        let pairs: Vec<(f64, f64)> =
            points.iter().zip(&fit.held_out).filter(|(p, _)| p.kind == kind).map(|(p, &ms)| (ms, p.ms)).collect();
        (!pairs.is_empty()).then(|| stated_error(pairs.into_iter()))
    };
    let none = StatedError { points: 0, mean_percent: 0.0, p95_percent: 0.0, worst_percent: 0.0 };
    Errors {
        decode: of(SampleKind::Decode).unwrap_or(none),
        prefill: of(SampleKind::Prefill).unwrap_or(none),
        mixed: of(SampleKind::Mixed),
    }
}

/// The coefficients as a profile: time of a step is all GPU time, since from outside the host's part cannot be told.
fn profile(
    samples: &[Sample],
    arrival_ms: f64,
    deployment: &Deployment,
    about: &About,
    basis: &Basis,
    fit: &Regression,
    errors: Errors,
) -> Result<Profile, CalibrateError> {
    let terms = basis.terms();
    let of = |wanted: Term| terms.iter().position(|&t| t == wanted).map_or(0.0, |j| fit.coefficients[j]);
    let ranges = ranges(samples);
    let floor = basis.floor();
    // Rounded up, or a coefficient that is the floor's would come out below it.
    let above = |ms: f64| significant(ms * (1.0 + 1e-5), DIGITS);
    let sequences: Vec<u32> = if ranges.decodes_max > 1 { vec![1, ranges.decodes_max] } else { vec![1] };
    let slope = |n: u32| above(floor.context_token_ms + of(Term::Context) + of(Term::MeanContext) / f64::from(n));
    // A prompt alone comes and goes as well, before and after its steps.
    let request_ms = (of(Term::Request) - arrival_ms).max(0.0);
    let request = samples.iter().any(|s| s.request).then(|| significant(request_ms * 1e3, DIGITS));
    let d = deployment;
    Ok(Profile {
        schema: PROFILE_SCHEMA,
        name: profile_name(&d.gpu.name, &d.model.name, d.weights.name(), d.kv.name(), d.tensor_parallel),
        kind: ProfileKind::Calibrated,
        gpu: d.gpu.name.clone(),
        model: d.model.name.clone(),
        weights: d.weights.name().into(),
        kv: d.kv.name().into(),
        tensor_parallel: d.tensor_parallel,
        expert_parallel: d.whole_experts(),
        engine: about.engine.clone(),
        engine_version: about.engine_version.clone(),
        date: about.date.clone(),
        source: about.source.clone(),
        licence: "own measurement".into(),
        attribution: String::new(),
        ranges,
        errors,
        nonattention: nonattention(basis, fit, ranges, deployment)?,
        lm_head: None,
        decode_attention: Some(DecodeAttention {
            fixed_ms: sequences.iter().map(|&n| significant(of(Term::Decode) * f64::from(n), DIGITS)).collect(),
            ms_per_context_token: sequences.iter().map(|&n| slope(n)).collect(),
            sequences,
        }),
        prefill_attention: Some(PrefillAttention {
            ms_per_step: significant(of(Term::Chunk), DIGITS),
            ms_per_token: 0.0,
            ms_per_pair: above(floor.pair_ms + of(Term::Pair)),
            ms_per_history_token: above(floor.history_token_ms),
        }),
        decode_grid: None,
        prefill_grid: None,
        host: Some(HostOverrides {
            step_us: Some(0.0),
            // Launches are in the steps that were measured.
            layer_us: Some(0.0),
            schedule_us: Some(0.0),
            schedule_sequence_us: Some(0.0),
            request_us: request,
            arrival_us: Some(significant(arrival_ms * 1e3, DIGITS)),
            // The probe sends token ids: nothing is tokenised.
            prompt_token_us: Some(0.0),
            token_us: Some(0.0),
            sync_us: None,
        }),
        layers: None,
    })
}

/// A step's base and its tokens. Beyond what was measured the last slope goes on, unless that soon would be faster than arithmetic:
/// of small batches alone, whose time is that of reading the weights, it is flat.
fn nonattention(basis: &Basis, fit: &Regression, ranges: Ranges, deployment: &Deployment) -> Result<Knots, CalibrateError> {
    let terms = basis.terms();
    let at = |t: u32| -> f64 {
        let of = |(term, ms): (&Term, &f64)| match *term {
            Term::Base => *ms,
            Term::Tokens { from, to } => f64::from(t.min(to.unwrap_or(u32::MAX)).saturating_sub(from)) * ms,
            _ => 0.0,
        };
        terms.iter().zip(&fit.coefficients).map(of).sum()
    };
    let largest = ranges.prefill_tokens_max.max(ranges.decodes_max).max(2);
    let inside = basis.knots.iter().copied().filter(|&k| k > 1 && k < largest);
    let mut tokens: Vec<u32> = std::iter::once(1).chain(inside).chain([largest]).collect();
    let mut ms: Vec<f64> = tokens.iter().map(|&t| at(t)).collect();
    let far = FAR * deployment.max_num_batched_tokens.max(largest);
    let step = BatchShape { prefill_tokens: u64::from(far), prefill_chunks: 1, sampled: 1, ..BatchShape::default() };
    let least = Floor::new(deployment)?.of(&step).as_millis_f64();
    if at(far) < least {
        tokens.push(far);
        ms.push(least * (1.0 + FLOOR_MARGIN));
    }
    Ok(Knots { ms: ms.into_iter().map(|ms| significant(ms, DIGITS)).collect(), tokens })
}

/// What was measured.
fn ranges(samples: &[Sample]) -> Ranges {
    let steps = || samples.iter().flat_map(|s| &s.steps);
    let largest = |f: &dyn Fn(&BatchShape) -> u64| u32::try_from(steps().map(f).max().unwrap_or(0)).unwrap_or(u32::MAX);
    Ranges {
        decodes_max: largest(&|s| u64::from(s.decodes)),
        context_max: largest(&|s| s.decode_context.checked_div(u64::from(s.decodes)).unwrap_or(0)),
        prefill_tokens_max: largest(&|s| s.tokens()),
    }
}
