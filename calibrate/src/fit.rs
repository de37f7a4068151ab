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
//! Stated errors are of points held out: the fit is made on alternate grid points, compared with the others, then made again
//! on all.

use std::collections::BTreeSet;
use std::path::Path;

use tokentide_models::cost::{BatchShape, Efficiency, Errors, PROFILE_SCHEMA, Profile, ProfileKind, Ranges, profile_name};

use crate::CalibrateError;
use crate::coefficients::{Known, fit_coefficients};
use crate::op_tables::{DecodePoint, MixedPoint, OpTables, PrefillPoint, Selection};
use crate::predict::{Coefficients, stated_error};

/// Steps of more tokens than this are left out of the stated error: engines cut prompts into chunks.
const STATED_TOKENS_MAX: u32 = 8192;

/// Makes a profile of one combination. `date` (`YYYY-MM-DD`) is written into it.
///
/// # Errors
///
/// [`CalibrateError`] if the combination is unknown or has too few points, or if the result is no valid profile.
pub fn fit_profile(tables: &OpTables, selection: &Selection<'_>, date: &str) -> Result<Profile, CalibrateError> {
    check(tables, selection)?;
    let known = Known { launch_ms: attention_launch_ms(selection)?, kv_token_ms: selection.kv_token_ms()? };
    let (train, test) = tables.split();
    let held_out = errors(&fit_coefficients(&train, known), &test);
    let fit = fit_coefficients(tables, known);
    let (weights, kv) = selection.formats()?;
    let largest = |f: fn(&DecodePoint) -> u32| tables.decode.iter().map(f).max().unwrap_or(0);
    let profile = Profile {
        schema: PROFILE_SCHEMA,
        name: profile_name(selection.gpu, selection.model, weights, kv, selection.tensor_parallel),
        kind: ProfileKind::Calibrated,
        gpu: selection.gpu.into(),
        model: selection.model.into(),
        weights: weights.into(),
        kv: kv.into(),
        tensor_parallel: selection.tensor_parallel,
        engine: "vllm".into(),
        engine_version: tables.engine_version.clone(),
        date: date.into(),
        source: "kernel times composed by AIConfigurator 0.12.0, no host time; errors are of held-out points of the same tables"
            .into(),
        licence: "Apache-2.0".into(),
        attribution: "Data derived from NVIDIA AIConfigurator 0.12.0 (Apache-2.0)".into(),
        ranges: Ranges {
            decodes_max: largest(|p| p.batch),
            context_max: largest(|p| p.context),
            prefill_tokens_max: STATED_TOKENS_MAX,
        },
        errors: held_out,
        nonattention: fit.nonattention,
        decode_attention: Some(fit.decode),
        prefill_attention: Some(fit.prefill),
        decode_grid: None,
        prefill_grid: None,
        host: None,
        layers: None,
    };
    profile.to_toml()?;
    Ok(profile)
}

/// Reads the composed tables in a folder and makes a profile of one combination: `tokentide calibrate import op-tables`.
///
/// # Errors
///
/// As [`OpTables::read`] and [`fit_profile`].
pub fn import_op_tables(folder: &Path, selection: &Selection<'_>, date: &str) -> Result<Profile, CalibrateError> {
    fit_profile(&OpTables::read(folder, selection)?, selection, date)
}

fn check(tables: &OpTables, selection: &Selection<'_>) -> Result<(), CalibrateError> {
    for (what, found, least) in [("decode", tables.decode.len(), 16), ("prefill", tables.prefill.len(), 6)] {
        if found < least {
            return Err(CalibrateError::TooFew { what, found, least, selection: selection.describe() });
        }
    }
    Ok(())
}

/// Constant of the decode attention kernels of all layers, as measured on the GPU.
fn attention_launch_ms(selection: &Selection<'_>) -> Result<f64, CalibrateError> {
    let per_layer = Efficiency::named(selection.gpu).map_or(12.0, |e| e.attention.decode_launch_us);
    Ok(f64::from(selection.layers()?) * per_layer * 1e-3)
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
        let version = &self.engine_version;
        let part = |keep: bool| OpTables {
            engine_version: version.clone(),
            decode: filter(&self.decode, |p| (batches.contains(&p.batch) && contexts.contains(&p.context)) == keep),
            prefill: filter(&self.prefill, |p| tokens.contains(&p.tokens) == keep),
            mixed: filter(&self.mixed, |p| (chunks.contains(&p.chunk) && batches.contains(&p.decodes)) == keep),
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
