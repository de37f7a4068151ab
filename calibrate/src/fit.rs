//! A calibrated profile from composed iteration times.
//!
//! The form is one pass: `nonattention(T) + prefill attention + fixed(n) + slope(n) * C`. The steps of the fit:
//!
//! 1. Decode times of each batch size are fitted by a line in context, in relative least squares.
//! 2. Non-attention times: from the mixed table where there is one, and from prompts less their attention. Elsewhere the line's
//!    intercept less the measured constant of the attention kernel, up to the largest batch; beyond it, prefill times less the part
//!    that grows with the square of the prompt.
//! 3. Slopes and intercepts again, given these. All three are made monotone by isotonic regression: a kernel switch that makes 64
//!    sequences cheaper than 48 is noise to who asks whether a larger batch pays.
//! 4. Prefill attention: non-negative least squares, relative, on (1, tokens, pairs, history).
//!
//! The tables' mixed steps are modelled, and lack what their prompts have: some 13 us per layer and step (40 with normalised
//! queries and keys), and a chunk's own kernel, since a chunk is priced as its share of a whole prompt. A profile has both, so of
//! short mixed steps on many ranks it differs from the tables by a fifth and more; a measured one would decide.
//!
//! Stated errors are of points held out: the fit is made on alternate grid points, compared with the others, then made again
//! on all.

use std::collections::BTreeSet;
use std::path::Path;

use tokentide_models::cost::{
    BatchShape, Calibrated, Efficiency, Errors, PROFILE_SCHEMA, Profile, ProfileKind, Ranges, WHOLE_EXPERTS, profile_name,
};
use tokentide_models::deployment::Deployment;

use crate::CalibrateError;
use crate::between::Between;
use crate::coefficients::{Known, fit_coefficients};
use crate::op_tables::{ComposedTables, DecodePoint, MixedPoint, OpTables, PrefillPoint, Selection, Structure};
use crate::perf_tables::PerfSelection;
use crate::predict::{Coefficients, stated_error};

/// Steps of more tokens than this are left out of the stated error: engines cut prompts into chunks.
const STATED_TOKENS_MAX: u32 = 8192;
/// Constant of a decode attention kernel on a GPU of which none was measured [us].
const LAUNCH_US: f64 = 12.0;

/// What a profile is to say of itself, and what is known of its attention.
#[derive(Clone, Debug)]
pub struct Target {
    /// GPU, model, formats and ranks, with limits that let every point run.
    pub deployment: Deployment,
    /// Where the times come from.
    pub source: String,
    /// Licence of that source.
    pub licence: String,
    /// The line that the licence asks for.
    pub attribution: String,
    /// For messages.
    pub described: String,
    /// What is known of attention beside the points.
    pub known: Known,
}

impl Target {
    /// For a deployment in the words of the catalogue, from AIConfigurator's composed tables.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Catalogue`] for an unknown GPU or model.
    pub fn of(selection: &PerfSelection<'_>) -> Result<Target, CalibrateError> {
        let deployment = selection.deployment()?;
        let (gpu, model) = (&deployment.gpu, &deployment.model);
        let ranks = selection.tensor_parallel.max(1);
        let heads = f64::from((model.kv_heads / ranks).max(1));
        let bytes = f64::from(model.full_layers()) * 2.0 * heads * f64::from(model.head_dim) * selection.kv.bytes() as f64;
        let attention = Efficiency::named(&gpu.name).map(|e| e.attention);
        let launch_us = attention.map_or(LAUNCH_US, |a| a.decode_launch_us);
        let width = f64::from(model.heads) / f64::from(ranks) * f64::from(model.head_dim);
        let reached = gpu.bf16_flops * attention.map_or(1.0, |a| a.prefill_peak_fraction);
        Ok(Target {
            known: Known {
                launch_ms: f64::from(model.layers) * launch_us * 1e-3,
                kv_token_ms: bytes / gpu.memory_bandwidth * 1e3,
                pair_ms: f64::from(model.full_layers()) * 4.0 * width / reached * 1e3,
            },
            deployment,
            source:
                "kernel times composed by AIConfigurator 0.12.0, between its points as its raw tables run (mixtures: as a roofline \
                     does), LM head and element-wise operators modelled, no host time; errors are of held-out composed points"
                    .into(),
            licence: "Apache-2.0".into(),
            attribution: "Data derived from NVIDIA AIConfigurator 0.12.0 (Apache-2.0)".into(),
            described: selection.describe(),
        })
    }

    /// The profile's name.
    pub fn name(&self) -> String {
        let d = &self.deployment;
        let name = profile_name(&d.gpu.name, &d.model.name, d.weights.name(), d.kv.name(), d.tensor_parallel);
        if d.expert_parallel { name + WHOLE_EXPERTS } else { name }
    }
}

/// Makes a profile of one combination of the composed tables. `date` (`YYYY-MM-DD`) is written into it.
///
/// # Errors
///
/// [`CalibrateError`] if the combination is unknown or has too few points, or if the result is no valid profile, or
/// faster than the GPU can be.
pub fn fit_profile(tables: &OpTables, selection: &Selection<'_>, date: &str) -> Result<Profile, CalibrateError> {
    let target = Target { described: selection.describe(), ..Target::of(&selection.perf()?)? };
    fit_target(tables, &target, date)
}

/// Makes a profile of points.
///
/// # Errors
///
/// [`CalibrateError`] if there are too few points, or if the result is no valid profile, or faster than the GPU
/// can be.
pub fn fit_target(tables: &OpTables, target: &Target, date: &str) -> Result<Profile, CalibrateError> {
    for (what, found, least) in [("decode", tables.decode.len(), 16), ("prefill", tables.prefill.len(), 6)] {
        if found < least {
            return Err(CalibrateError::TooFew { what, found, least, selection: target.described.clone() });
        }
    }
    let deployment = &target.deployment;
    let (train, test) = tables.split();
    let held_out = errors(&fit_coefficients(&train, target.known), &test);
    plausible(&held_out, target)?;
    let fit = fit_coefficients(tables, target.known);
    let largest = |f: fn(&DecodePoint) -> u32| tables.decode.iter().map(f).max().unwrap_or(0);
    let profile = Profile {
        schema: PROFILE_SCHEMA,
        name: target.name(),
        kind: ProfileKind::Calibrated,
        gpu: deployment.gpu.name.clone(),
        model: deployment.model.name.clone(),
        weights: deployment.weights.name().into(),
        kv: deployment.kv.name().into(),
        tensor_parallel: deployment.tensor_parallel,
        expert_parallel: deployment.whole_experts(),
        engine: "vllm".into(),
        engine_version: tables.engine_version.clone(),
        date: date.into(),
        source: target.source.clone(),
        licence: target.licence.clone(),
        attribution: target.attribution.clone(),
        ranges: Ranges {
            decodes_max: largest(|p| p.batch),
            context_max: largest(|p| p.context),
            prefill_tokens_max: STATED_TOKENS_MAX,
        },
        errors: held_out,
        nonattention: fit.nonattention,
        lm_head: (!fit.head.sequences.is_empty()).then_some(fit.head),
        decode_attention: Some(fit.decode),
        prefill_attention: Some(fit.prefill),
        decode_grid: None,
        prefill_grid: None,
        host: None,
        layers: None,
    };
    profile.to_toml()?;
    Calibrated::new(&profile, deployment)?;
    Ok(profile)
}

/// Largest mean error of a fit that still is one [%]; those of sound tables stay below 15.
const ERROR_MAX_PERCENT: f64 = 50.0;

/// Refuses tables that no curve fits.
fn plausible(errors: &Errors, target: &Target) -> Result<(), CalibrateError> {
    let mixed = errors.mixed.map(|error| ("mixed", error));
    let kinds = [("decode", errors.decode), ("prefill", errors.prefill)].into_iter().chain(mixed);
    match kinds.into_iter().find(|(_, error)| error.mean_percent > ERROR_MAX_PERCENT) {
        None => Ok(()),
        Some((kind, error)) => Err(CalibrateError::Refused {
            selection: target.described.clone(),
            reason: format!(
                "the tables contradict each other: at points left out, {kind} times are off by {:.0} % on average; is one \
                 of them in another unit than ms?",
                error.mean_percent
            ),
        }),
    }
}

/// Reads the composed tables in a folder and makes a profile of one combination: `tokentide calibrate import op-tables`. Where the
/// folder has the raw tables too, they say how times run between the composed points.
///
/// # Errors
///
/// As [`OpTables::read`] and [`fit_profile`].
pub fn import_op_tables(folder: &Path, selection: &Selection<'_>, date: &str) -> Result<Profile, CalibrateError> {
    selection.check()?;
    let points = ComposedTables::read(folder)?.of(selection)?;
    fit_profile(&Between::open(folder).complete(points, selection)?, selection, date)
}

impl OpTables {
    /// Alternate grid points, for fitting, and the others. Of decodes both axes alternate: a point is fitted on if its batch and
    /// its context are.
    fn split(&self) -> (OpTables, OpTables) {
        fn even<T>(points: &[T], axis: impl Fn(&T) -> u32) -> BTreeSet<u32> {
            let values: BTreeSet<u32> = points.iter().map(axis).collect();
            values.into_iter().step_by(2).collect()
        }
        let (batches, contexts) = (even(&self.decode, |p| p.batch), even(&self.decode, |p| p.context));
        let (tokens, chunks) = (even(&self.prefill, |p| p.tokens), even(&self.mixed, |p| p.chunk));
        let chunks: BTreeSet<u32> = chunks.into_iter().chain(even(&self.mixed_elsewhere, |p| p.chunk)).collect();
        let version = &self.engine_version;
        let part = |keep: bool| OpTables {
            engine_version: version.clone(),
            decode: filter(&self.decode, |p| (batches.contains(&p.batch) && contexts.contains(&p.context)) == keep),
            prefill: filter(&self.prefill, |p| tokens.contains(&p.tokens) == keep),
            mixed: filter(&self.mixed, |p| (chunks.contains(&p.chunk) && batches.contains(&p.decodes)) == keep),
            mixed_elsewhere: filter(&self.mixed_elsewhere, |p| (chunks.contains(&p.chunk) && batches.contains(&p.decodes)) == keep),
            head: self.head.clone(),
            structure: match &self.structure {
                // Times known are points like the others; a form is no time of any of them.
                Structure::Exact(times) => Structure::Exact(times.iter().copied().step_by(if keep { 2 } else { 1 }).collect()),
                form => form.clone(),
            },
        };
        (part(true), part(false))
    }
}

fn filter<T: Copy>(points: &[T], keep: impl Fn(&T) -> bool) -> Vec<T> {
    points.iter().copied().filter(keep).collect()
}

impl DecodePoint {
    /// The batch of the step.
    pub fn shape(&self) -> BatchShape {
        BatchShape {
            decodes: self.batch,
            decode_context: u64::from(self.batch) * u64::from(self.context),
            sampled: self.batch,
            ..BatchShape::default()
        }
    }
}

impl PrefillPoint {
    /// The batch of the step.
    pub fn shape(&self) -> BatchShape {
        let mut shape = BatchShape::default();
        (0..self.batch).for_each(|_| shape.add_chunk(u64::from(self.history), u64::from(self.tokens), true));
        shape
    }

    /// Tokens of the step.
    pub fn step_tokens(&self) -> u32 {
        self.batch.saturating_mul(self.tokens)
    }
}

impl MixedPoint {
    /// The tables price a chunk as its share of whole prompts as long as the decodes' context: several of them, or, of one, the
    /// mean over the places the chunk may have in it.
    pub fn shape(&self) -> BatchShape {
        let (chunk, prompt) = (u64::from(self.chunk), u64::from(self.context));
        let decodes = DecodePoint { batch: self.decodes, context: self.context, ms: self.ms }.shape();
        BatchShape {
            prefill_chunks: (chunk / prompt).max(1) as u32,
            prefill_tokens: chunk,
            prefill_history: prompt.saturating_sub(chunk) / 2,
            prefill_pairs: chunk * (prompt + 1) / 2,
            prefill_squares: chunk * chunk.min(prompt),
            prefill_history_64: (prompt.saturating_sub(chunk) / 2).next_multiple_of(64),
            sampled: self.decodes + 1,
            ..decodes
        }
    }
}

/// Errors of coefficients against points.
pub fn errors(fit: &Coefficients, test: &OpTables) -> Errors {
    let of = |shape: BatchShape, ms: f64| (fit.predict(&shape), ms);
    let prefill = test.prefill.iter().filter(|p| p.step_tokens() <= STATED_TOKENS_MAX);
    let mixed = (!test.mixed.is_empty()).then(|| stated_error(test.mixed.iter().map(|p| of(p.shape(), p.ms))));
    Errors {
        decode: stated_error(test.decode.iter().map(|p| of(p.shape(), p.ms))),
        prefill: stated_error(prefill.map(|p| of(p.shape(), p.ms))),
        mixed,
    }
}
