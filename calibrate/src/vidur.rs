//! Vidur's prediction tables: one `.csv.gz` per operator, in milliseconds per layer, as [`VidurProfile`]. Nothing is fitted.

use std::path::Path;

use tokentide_models::cost::{
    PROFILE_SCHEMA, VIDUR_CONTEXT_STEP, VIDUR_TOKEN_STEP, VidurDecode, VidurKind, VidurPrefill, VidurProfile, VidurRuns,
    VidurTables,
};
use tokentide_models::deployment::Deployment;

use crate::error::of_catalogue;
use crate::{CalibrateError, Frame};

/// What the tables are of: they do not say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VidurSelection<'a> {
    /// Catalogue name of the GPU, such as `a100-80gb`.
    pub gpu: &'a str,
    /// Catalogue name of the model, such as `llama-3.1-8b`.
    pub model: &'a str,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
}

/// Operators whose time depends on the batch's tokens, rounded up to 8. A layer has two residual additions; Vidur counts one.
const TOKEN_OPERATORS: [&str; 9] = [
    "attn_pre_proj",
    "attn_post_proj",
    "attn_rope",
    "input_layernorm",
    "mlp_up_proj",
    "mlp_down_proj",
    "mlp_act",
    "post_attention_layernorm",
    "add",
];
/// Launch of an all-reduce [ms]: Vidur's `nccl_cpu_launch_overhead_ms`.
const ALL_REDUCE_LAUNCH_MS: f64 = 0.02;
/// The column of times in every table [ms].
const MS: &str = "ms_per_layer";

/// Reads the tables in `folder`: the nine token operators, `attn_kv_cache_save`, `attn_decode` and `attn_prefill`, with several
/// tensor-parallel ranks `all_reduce`, and `send_recv` if it is there. `date` is `YYYY-MM-DD`.
///
/// # Errors
///
/// [`CalibrateError::Unknown`] for a GPU or model that the catalogue lacks, and errors with file, row, value and reason for a table
/// that is missing, lacks a column, has gaps in its axes, or a time that is negative or not a number.
pub fn import_vidur(folder: &Path, of: &VidurSelection<'_>, date: &str) -> Result<VidurProfile, CalibrateError> {
    // By their names in the catalogue, whatever alias was given.
    let (hardware, architecture) = of_catalogue(of.gpu, of.model)?;
    let (gpu, model) = (hardware.name.clone(), architecture.name.clone());
    let table = |operator: &str| folder.join(format!("{operator}.csv.gz"));
    let mut operators = by_tokens(&table(TOKEN_OPERATORS[0]), None)?;
    let tokens = operators.len();
    let mut add = |path: &Path, factor: f64, launch: f64| {
        let more = by_tokens(path, Some(tokens))?;
        operators.iter_mut().zip(&more).for_each(|(sum, ms)| *sum += factor * (ms + launch));
        Ok::<(), CalibrateError>(())
    };
    TOKEN_OPERATORS[1..].iter().try_for_each(|operator| add(&table(operator), 1.0, 0.0))?;
    if of.tensor_parallel > 1 {
        add(&table("all_reduce"), 2.0, ALL_REDUCE_LAUNCH_MS)?;
    }
    let send = table("send_recv");
    let send_recv = if send.exists() { Some(stepped(&by_tokens(&send, Some(tokens))?)) } else { None };
    let kv_cache_save = VidurRuns::of(&by_tokens(&table("attn_kv_cache_save"), Some(tokens))?);
    let decode =
        grid(&table("attn_decode"), Axes { rows: ("batch_size", 1, 1), columns: ("kv_cache_size", 0, VIDUR_CONTEXT_STEP) })?;
    let chunks = ("prefill_chunk_size_squared", 1, 1);
    let prefill = grid(&table("attn_prefill"), Axes { rows: ("kv_cache_size", 0, VIDUR_CONTEXT_STEP), columns: chunks })?;
    let profile = VidurProfile {
        schema: PROFILE_SCHEMA,
        name: format!("vidur_{gpu}_{model}_bf16_tp{}", of.tensor_parallel),
        kind: VidurKind::Vidur,
        gpu,
        model,
        weights: "bf16".into(),
        kv: "bf16".into(),
        tensor_parallel: of.tensor_parallel,
        date: date.into(),
        source: "prediction tables of Vidur (microsoft/vidur), looked up by its rules".into(),
        licence: "MIT".into(),
        attribution: "(c) Microsoft Corporation".into(),
        token_operators_ms: stepped(&operators),
        send_recv_ms: send_recv,
        kv_cache_save,
        decode: VidurDecode { ms: decode },
        prefill: VidurPrefill { rows: prefill.iter().map(|row| VidurRuns::of(row)).collect() },
        host: None,
    };
    // What the profile itself, or a simulation with it, would refuse is told now, not when it is used.
    profile.to_toml()?;
    VidurTables::new(&profile, &Deployment::plain(architecture, hardware, of.tensor_parallel))?;
    Ok(profile)
}

/// Every eighth value: those that are looked up.
fn stepped(values: &[f64]) -> Vec<f64> {
    let step = VIDUR_TOKEN_STEP as usize;
    values.iter().skip(step - 1).step_by(step).copied().collect()
}

/// A table over 1, 2, 3, ... tokens; as many as `expected`, a multiple of 8.
fn by_tokens(path: &Path, expected: Option<usize>) -> Result<Vec<f64>, CalibrateError> {
    let frame = Frame::read(path)?;
    let (tokens, times) = (frame.numbers("num_tokens")?, times(&frame)?);
    if let Some(row) = (0..frame.len()).find(|&row| tokens[row] != (row + 1) as f64) {
        return Err(frame.bad_row(row, format!("num_tokens is {}, expected {}: 1, 2, 3, ... without a gap", tokens[row], row + 1)));
    }
    let multiple = !frame.is_empty() && (frame.len() as u64).is_multiple_of(VIDUR_TOKEN_STEP);
    match expected {
        Some(expected) if expected != frame.len() => {
            Err(frame.bad_row(frame.len(), format!("the table ends here, {} has {expected} rows", TOKEN_OPERATORS[0])))
        }
        None if !multiple => {
            Err(frame.bad_row(frame.len(), format!("the table ends here, not at a multiple of {VIDUR_TOKEN_STEP}")))
        }
        _ => Ok(times),
    }
}

/// The axes of a table of two: column name, first value, step. Chunk lengths are given squared.
struct Axes {
    rows: (&'static str, u64, u64),
    columns: (&'static str, u64, u64),
}

/// A full grid in order of rows, then columns.
fn grid(path: &Path, axes: Axes) -> Result<Vec<Vec<f64>>, CalibrateError> {
    let frame = Frame::read(path)?;
    let (rows, columns, times) = (frame.numbers(axes.rows.0)?, frame.numbers(axes.columns.0)?, times(&frame)?);
    let width = rows.iter().take_while(|&&row| row == rows[0]).count();
    if width == 0 || !frame.len().is_multiple_of(width) {
        return Err(frame.bad_row(frame.len(), format!("{} rows are no full grid of {width} columns", frame.len())));
    }
    let squared = axes.columns.0.ends_with("_squared");
    let place = |(_, first, step): (&str, u64, u64), i: usize| first + step * i as u64;
    for row in 0..frame.len() {
        let column = place(axes.columns, row % width);
        let expected = (place(axes.rows, row / width), if squared { column * column } else { column });
        if (rows[row], columns[row]) != (expected.0 as f64, expected.1 as f64) {
            let (a, b) = (axes.rows.0, axes.columns.0);
            let found = format!("({a}, {b}) is ({}, {})", rows[row], columns[row]);
            return Err(frame.bad_row(row, format!("{found}, expected {expected:?}: a grid without a gap")));
        }
    }
    Ok(times.chunks(width).map(<[f64]>::to_vec).collect())
}

/// The times, none of them negative or not a number.
fn times(frame: &Frame) -> Result<Vec<f64>, CalibrateError> {
    let times = frame.numbers(MS)?;
    match times.iter().position(|ms| !(0.0..=1e9).contains(ms)) {
        Some(row) => Err(frame.bad_row(row, format!("{MS} is {}, expected milliseconds of 0 or more", times[row]))),
        None => Ok(times.to_vec()),
    }
}

#[cfg(test)]
mod tests;
