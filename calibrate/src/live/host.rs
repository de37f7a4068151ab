//! The host's part of a step: what the server's kernels do not account for.
//!
//! From outside a step is one time. A profiler's trace says how long the GPU was busy in steps of some composition; what a step of
//! that composition takes beyond, without the profiler, is the host's: launches that come late, scheduling that is not hidden. The
//! gaps of the trace itself are not taken, since the profiler slows the host down.

use std::collections::BTreeMap;

use tokentide_models::cost::{BatchShape, HostOverrides, Profile};

use super::points::median;
use crate::CalibrateError;
use crate::kernels::StepKernels;
use crate::predict::Coefficients;
use crate::solve::significant;

/// The host's part of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostShare {
    /// Median over the batch sizes [ms].
    pub step_ms: f64,
    /// From the least to the most over the batch sizes [ms].
    pub range_ms: (f64, f64),
    /// Batch sizes of decodes that were compared.
    pub batches: usize,
    /// Whether it was told from a GPU's kernels; else from operators on a CPU.
    pub on_gpu: bool,
}

/// Takes the host's part out of a fitted profile's steps and gives it as a term of its own: their sum stays as it was.
///
/// # Errors
///
/// [`CalibrateError::TooFew`] if no traced step of decodes alone says what it computed.
pub fn split(profile: &mut Profile, kernels: &StepKernels) -> Result<HostShare, CalibrateError> {
    let mut busy: BTreeMap<u32, Vec<(f64, u64)>> = BTreeMap::new();
    for row in &kernels.rows {
        let Some(step) = row.composition.filter(|c| c.prefill_requests == 0 && c.decodes > 0) else { continue };
        let context = row.contexts.map_or(0, |contexts| contexts.decode_context);
        busy.entry(step.decodes).or_default().push((row.busy_us / 1e3, context));
    }
    let Some(coefficients) = Coefficients::of(profile).filter(|_| !busy.is_empty()) else {
        let selection = "the traces, which say nothing of what their steps computed".to_owned();
        return Err(CalibrateError::TooFew { what: "steps of decodes alone", found: 0, least: 1, selection });
    };
    let beyond = |(&decodes, steps): (&u32, &Vec<(f64, u64)>)| {
        let rest = |&(busy_ms, context): &(f64, u64)| {
            let shape = BatchShape { decodes, decode_context: context, sampled: decodes, ..BatchShape::default() };
            coefficients.predict(&shape) - busy_ms
        };
        median(&steps.iter().map(rest).collect::<Vec<_>>())
    };
    let rest: Vec<f64> = busy.iter().map(beyond).collect();
    // What is left of the GPU's part must still read the weights; the profile's check against the floor sees to that.
    let step_ms = significant(median(&rest).max(0.0), 4);
    for ms in &mut profile.nonattention.ms {
        *ms = significant((*ms - step_ms).max(0.0), 6);
    }
    let host = profile.host.unwrap_or_default();
    profile.host = Some(HostOverrides { step_us: Some(significant(step_ms * 1e3, 4)), ..host });
    Ok(HostShare {
        step_ms,
        range_ms: rest.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &ms| (least.min(ms), most.max(ms))),
        batches: busy.len(),
        on_gpu: kernels.rows.iter().any(|row| row.on_gpu),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::annotation::{Composition, Contexts};
    use crate::kernels::table::StepRow;
    use tokentide_models::cost::shipped_text;

    fn row(decodes: u32, context: u64, prefill_requests: u32, busy_us: f64) -> StepRow {
        StepRow {
            rank: 0,
            step: 0,
            on_gpu: true,
            start_us: 0.0,
            composition: Some(Composition { decodes, prefill_requests, decode_tokens: decodes, prefill_tokens: 0 }),
            contexts: Some(Contexts { decode_context: context, ..Contexts::default() }),
            wall_us: None,
            busy_us,
            launch_gap_us: 0.0,
            gap_us: None,
            waiting_us: None,
            kernels: 1,
            classes_us: Default::default(),
        }
    }

    /// Kernels that are 0.4 ms short of each step leave 0.4 ms to the host, and the sum as it was.
    #[test]
    fn what_kernels_do_not_take_is_the_hosts() {
        let mut profile = Profile::parse("p", shipped_text("h100-sxm_llama-3.1-8b_bf16_tp1").unwrap()).unwrap();
        let before = Coefficients::of(&profile).unwrap();
        let shape =
            |decodes: u32, context: u64| BatchShape { decodes, decode_context: context, sampled: decodes, ..BatchShape::default() };
        let of = |decodes: u32, context: u64| row(decodes, context, 0, (before.predict(&shape(decodes, context)) - 0.4) * 1e3);
        let rows = vec![of(1, 100), of(8, 4000), of(64, 64_000), row(8, 0, 1, 1.0)];
        let share = split(&mut profile, &StepKernels { rows }).unwrap();
        assert!((share.step_ms - 0.4).abs() < 1e-3 && share.batches == 3 && share.range_ms.1 < 0.401, "{share:?}");
        let after = Coefficients::of(&profile).unwrap();
        let host = profile.host.unwrap().step_us.unwrap() / 1e3;
        for (decodes, context) in [(1, 100), (64, 64_000)] {
            let apart = before.predict(&shape(decodes, context)) - after.predict(&shape(decodes, context)) - host;
            assert!(apart.abs() < 1e-4, "{apart}");
        }
    }

    #[test]
    fn steps_of_unknown_composition_are_no_answer() {
        let mut profile = Profile::parse("p", shipped_text("h100-sxm_llama-3.1-8b_bf16_tp1").unwrap()).unwrap();
        let unknown = StepRow { composition: None, ..row(1, 1, 0, 1.0) };
        let error = split(&mut profile, &StepKernels { rows: vec![unknown] }).unwrap_err().to_string();
        assert!(error.contains("steps of decodes alone: 0 points of the traces"), "{error}");
    }
}
