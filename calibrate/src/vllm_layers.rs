//! Kernel times of single decoder layers, measured by vLLM's layer-wise profiler as LLMServingSim 2 drives it, as a cost profile.
//!
//! [`bundle`] finds and reads the files, [`points`] checks each row, [`blocks`] lays attention out in grids, [`skew`] fits what
//! unequal contexts cost, [`held_out`] states the errors.
//!
//! What is changed on the way: times are rounded to four digits; attention of decodes alone is made non-decreasing in the context
//! by isotonic regression, since a simulation runs many such steps in one go. Everything else stays as measured. Rows that fall by
//! more than [`FALL`] below a smaller size are told ([`LayerImport::flags`]).

pub mod blocks;
pub mod bundle;
pub mod held_out;
pub mod points;
pub mod skew;

use std::path::{Path, PathBuf};

use tokentide_models::cost::{
    AllReduceTable, Errors, Gating, LayerTables, Link, PROFILE_SCHEMA, Profile, ProfileKind, Ranges, StatedError, profile_name,
};
use tokentide_models::deployment::Deployment;

use crate::CalibrateError;
use crate::error::of_catalogue;
use crate::frame::Frame;
use crate::solve::significant;
use bundle::Bundle;
use points::Limits;

/// Share by which a time may fall below that of a smaller size before it is told.
pub const FALL: f64 = 0.02;

/// Digits that times are rounded to.
const DIGITS: usize = 4;

/// The ring that LLMServingSim 2 prices all-reduces with on its PCIe hosts, set by hand: 20 us, 16 GiB/s, 1,597 GB/s.
pub const LLMSERVINGSIM_LINK: Link = Link { latency_us: 20.0, gib_per_s: 16.0, memory_gb_per_s: 1597.0 };

/// Which measurements, in the words of the program.
#[derive(Clone, Debug)]
pub struct LayerSelection<'a> {
    /// GPU, by its name in the catalogue.
    pub gpu: &'a str,
    /// Model, by its name in the catalogue.
    pub model: &'a str,
    /// Number format of weights and KV cache: `bf16`.
    pub dtype: &'a str,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// A table of collectives as AIConfigurator has it, for the all-reduces between tensor-parallel ranks.
    pub collectives: Option<PathBuf>,
    /// As LLMServingSim 2 itself uses the tables: all-reduces by [`LLMSERVINGSIM_LINK`], balanced gating, its own alphas.
    pub as_llmservingsim: bool,
}

/// A profile, and what was odd in the measurements that it was made of.
#[derive(Clone, Debug)]
pub struct LayerImport {
    /// The profile.
    pub profile: Profile,
    /// Rows whose time falls below that of a smaller size, and what was done about it.
    pub flags: Vec<String>,
}

/// Reads the tables in a folder and makes a profile of one combination. `date` (`YYYY-MM-DD`) is written into it.
///
/// The folder holds `bundles.json` with `<hardware>__<model>__<dtype>__tp<N>__<op>.parquet`, or, of a single combination, `dense`,
/// `per_sequence`, `attention` and, as far as there are, `moe`, `skew` and `skew_fit` (`.parquet`, `.csv` or `.csv.gz`) in itself
/// or in `tp<N>`.
///
/// # Errors
///
/// [`CalibrateError`] if the combination is unknown or not there, if a file cannot be read or lacks a column, if a row's time is
/// not a positive number, faster than the GPU can be or 1,000 times slower (another unit), or if the result is no valid profile.
pub fn import_vllm_layers(folder: &Path, selection: &LayerSelection<'_>, date: &str) -> Result<LayerImport, CalibrateError> {
    let deployment = deployment(selection)?;
    let bundle = Bundle::find(folder, selection, &deployment)?;
    let limits = Limits::of(&deployment);
    let mut flags = Vec::new();
    let tables = LayerTables {
        count: deployment.model.layers,
        once: bundle.once.clone(),
        each: bundle.each.clone(),
        tokens: points::token_table(&bundle.dense, &bundle.kernels(), &limits, &mut flags)?,
        sequences: points::sequence_table(&bundle.per_sequence, &limits, &mut flags)?,
        all_reduce: all_reduce(selection, &deployment, &bundle)?,
        link: (selection.as_llmservingsim && selection.tensor_parallel > 1).then_some(LLMSERVINGSIM_LINK),
        experts: match (&bundle.moe, &deployment.model.moe) {
            (Some(frame), Some(_)) => Some(points::expert_table(frame, gating(selection), &limits)?),
            _ => None,
        },
        skew: skew::table(&bundle, selection.as_llmservingsim)?,
        attention: blocks::blocks(&points::attention(&bundle.attention, &limits)?, &mut flags),
    };
    let profile = profile(selection, &bundle, tables, date);
    profile.to_toml()?;
    let errors = held_out::errors(&profile, &deployment)?;
    Ok(LayerImport { profile: Profile { errors, ..profile }, flags })
}

fn gating(selection: &LayerSelection<'_>) -> Gating {
    if selection.as_llmservingsim { Gating::Balanced } else { Gating::Uniform }
}

/// What the tables were measured as: eager, with the batches they cover.
fn deployment(selection: &LayerSelection<'_>) -> Result<Deployment, CalibrateError> {
    if selection.dtype != "bf16" {
        return Err(CalibrateError::unknown("number format", selection.dtype, ["bf16"]));
    }
    let (gpu, model) = of_catalogue(selection.gpu, selection.model)?;
    if !model.heads.is_multiple_of(selection.tensor_parallel) {
        let known = (1..=8).filter(|ranks| model.heads.is_multiple_of(*ranks)).map(|ranks| ranks.to_string());
        return Err(CalibrateError::unknown("tensor_parallel", &selection.tensor_parallel.to_string(), known));
    }
    Ok(Deployment {
        max_num_batched_tokens: 2048,
        max_num_seqs: 256,
        cuda_graphs: false,
        ..Deployment::plain(model, gpu, selection.tensor_parallel)
    })
}

/// All-reduces between two ranks or as many as the profile has, captured in a CUDA graph, of the engine's own version.
fn all_reduce(
    selection: &LayerSelection<'_>,
    deployment: &Deployment,
    bundle: &Bundle,
) -> Result<Vec<AllReduceTable>, CalibrateError> {
    let wanted = selection.tensor_parallel.max(2);
    if selection.as_llmservingsim {
        return Ok(Vec::new());
    }
    let Some(path) = &selection.collectives else {
        return match selection.tensor_parallel {
            1 => Ok(Vec::new()),
            ranks => Err(CalibrateError::TooFew {
                what: "all-reduce times (a table of collectives)",
                found: 0,
                least: 2,
                selection: format!("{ranks} ranks"),
            }),
        };
    };
    let frame = Frame::read(path)?;
    let [gpus, engines, versions, modes] = ["gpu", "backend", "backend_version", "mode"].map(|column| frame.texts(column));
    let (gpus, engines, versions, modes) = (gpus?, engines?, versions?, modes?);
    let [ranks, bytes, times] = ["num_gpus", "message_bytes", "latency_ms"].map(|column| frame.numbers(column));
    let (ranks, bytes, times) = (ranks?, bytes?, times?);
    let label = deployment.gpu.name.replace('-', "_");
    let mine = |i: usize| {
        let gpu = gpus[i].starts_with(&label) || gpus[i].replace("_sxm", "-sxm") == deployment.gpu.name;
        gpu && engines[i] == "vllm" && versions[i] == bundle.version && modes[i] == "graph" && ranks[i] == f64::from(wanted)
    };
    let mut points: Vec<(u32, f64)> = Vec::new();
    for i in (0..frame.len()).filter(|&i| mine(i)) {
        if !(times[i] > 0.0 && times[i] < 1e4 && (1.0..4e9).contains(&bytes[i])) {
            return Err(frame.bad_row(i, format!("{} bytes in {} ms", bytes[i], times[i])));
        }
        points.push((bytes[i] as u32, times[i] * 1e3));
    }
    points.sort_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    if points.len() < 2 && selection.tensor_parallel > 1 {
        let selection = format!("{} vllm {} graph, {wanted} ranks, in {}", deployment.gpu.name, bundle.version, frame.path());
        return Err(CalibrateError::TooFew { what: "all-reduce times", found: points.len(), least: 2, selection });
    }
    let source = format!("AIConfigurator 0.12.0 (Apache-2.0): {label}, vLLM {} custom all-reduce in a CUDA graph", bundle.version);
    let table = AllReduceTable {
        ranks: wanted,
        source,
        bytes: points.iter().map(|point| point.0).collect(),
        us: points.iter().map(|point| significant(point.1, DIGITS)).collect(),
    };
    Ok(if points.len() < 2 { Vec::new() } else { vec![table] })
}

fn profile(selection: &LayerSelection<'_>, bundle: &Bundle, tables: LayerTables, date: &str) -> Profile {
    let none = StatedError { points: 0, mean_percent: 0.0, p95_percent: 0.0, worst_percent: 0.0 };
    let largest = |f: &dyn Fn(&tokentide_models::cost::AttentionBlock) -> u32| tables.attention.iter().map(f).max().unwrap_or(0);
    let last = |values: &[u32]| values.last().copied().unwrap_or(0);
    let ranges = Ranges {
        decodes_max: largest(&|block| last(&block.decodes)),
        context_max: largest(&|block| last(&block.context)),
        prefill_tokens_max: largest(&|block| block.chunk),
    };
    Profile {
        schema: PROFILE_SCHEMA,
        name: profile_name(selection.gpu, selection.model, selection.dtype, "bf16", selection.tensor_parallel),
        kind: ProfileKind::Layers,
        gpu: selection.gpu.into(),
        model: selection.model.into(),
        weights: selection.dtype.into(),
        kv: "bf16".into(),
        tensor_parallel: selection.tensor_parallel,
        expert_parallel: false,
        engine: "vllm".into(),
        engine_version: bundle.version.clone(),
        date: date.into(),
        source: bundle.source.clone(),
        licence: "MIT".into(),
        attribution: bundle.attribution.clone(),
        ranges,
        errors: Errors { decode: none, prefill: none, mixed: Some(none) },
        nonattention: Default::default(),
        lm_head: None,
        decode_attention: None,
        prefill_attention: None,
        decode_grid: None,
        prefill_grid: None,
        host: None,
        layers: Some(tables),
    }
}
