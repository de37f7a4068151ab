//! Where the tables of a combination lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokentide_models::architecture::Architecture;
use tokentide_models::deployment::Deployment;
use tokentide_models::gpu::Gpu;

use super::LayerSelection;
use crate::CalibrateError;
use crate::frame::Frame;

/// The tables of one GPU, model, number format and tensor-parallel size.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Version of vLLM.
    pub version: String,
    /// Kernels that run once a step.
    pub once: Vec<String>,
    /// Kernels of every layer, in order.
    pub each: Vec<String>,
    /// Alpha where its own table of alphas has none.
    pub alpha_default: Option<f64>,
    /// What was measured with what, for the profile.
    pub source: String,
    /// The line that the licence asks for.
    pub attribution: String,
    /// `layer`, `tokens`, `time_us`.
    pub dense: Frame,
    /// `layer`, `sequences`, `time_us`.
    pub per_sequence: Frame,
    /// `prefill_chunk`, `kv_prefill`, `n_decode`, `kv_decode`, `time_us`.
    pub attention: Frame,
    /// `tokens`, `activated_experts`, `time_us`.
    pub moe: Option<Frame>,
    /// Batches of unequal contexts; none where the bundle says not to use them.
    pub skew: Option<Frame>,
    /// Its own alphas by bucket.
    pub skew_fit: Option<Frame>,
}

/// What `bundles.json` says of a bundle, as far as it is used.
#[derive(Deserialize)]
struct Described {
    vllm_version: String,
    cuda_version: String,
    gpu: String,
    hardware: String,
    profiled_at: String,
    model: String,
    variant: String,
    skew_fit: SkewFit,
    layer_sequence: Sequence,
}

#[derive(Deserialize)]
struct SkewFit {
    /// Whether its makers correct for unequal contexts with these samples; where they do not, nor do we.
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    per_tp: BTreeMap<String, Alpha>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Alpha {
    alpha_default: f64,
}

#[derive(Clone, Deserialize)]
struct Sequence {
    prologue: Vec<String>,
    pre_attn: Vec<String>,
    post_attn: Vec<String>,
    mlp_dense: Vec<String>,
    head: Vec<String>,
}

/// The kernels of llama-like models, for folders that do not name them: once a step, of every layer, of the dense feed-forward
/// block.
const ONCE: [&str; 2] = ["embedding", "final_layernorm"];
const EACH: [&str; 6] = ["layernorm", "qkv_proj", QK_NORM, "rotary_emb", "o_proj", "layernorm"];
const FEED_FORWARD: [&str; 3] = ["gate_up_proj", "act_fn", "down_proj"];
/// Some of these models normalise queries and keys.
const QK_NORM: &str = "qk_norm";

impl Bundle {
    /// The bundle of a selection in a folder.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if there is none, with those that there are, or if a file cannot be read.
    pub fn find(folder: &Path, selection: &LayerSelection<'_>, deployment: &Deployment) -> Result<Bundle, CalibrateError> {
        let index = folder.join("bundles.json");
        if index.is_file() { described(folder, &index, selection, deployment) } else { bare(folder, selection) }
    }

    /// The kernels by tokens that a step needs, without repetition.
    pub fn kernels(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.once.iter().chain(&self.each).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Of a folder of many, by its index.
fn described(
    folder: &Path,
    index: &Path,
    selection: &LayerSelection<'_>,
    deployment: &Deployment,
) -> Result<Bundle, CalibrateError> {
    let shown = index.display().to_string();
    let text = std::fs::read_to_string(index).map_err(|source| CalibrateError::Open { path: shown.clone(), source })?;
    let all: BTreeMap<String, Described> =
        serde_json::from_str(&text).map_err(|e| CalibrateError::Value { path: shown.clone(), message: e.to_string() })?;
    let fits = |described: &&(&String, &Described)| {
        let gpu = Gpu::find(&described.1.hardware).is_ok_and(|gpu| gpu.name == deployment.gpu.name);
        let model = Architecture::find(&described.1.model).is_ok_and(|model| model.same_shape(&deployment.model));
        gpu && model && described.1.variant == selection.dtype
    };
    let listed: Vec<(&String, &Described)> = all.iter().collect();
    let Some((name, described)) = listed.iter().find(fits) else {
        let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
        let asked = format!("{} {} {}", selection.gpu, selection.model, selection.dtype);
        return Err(CalibrateError::Unknown { what: "bundle of", asked, known });
    };
    let ranks = selection.tensor_parallel;
    let read = |ranks: u32, op: &str| Frame::read(&folder.join(format!("{name}__tp{ranks}__{op}.parquet")));
    let optional = |ranks: u32, op: &str| {
        let there = folder.join(format!("{name}__tp{ranks}__{op}.parquet")).is_file();
        there.then(|| read(ranks, op)).transpose()
    };
    let Described { layer_sequence: order, gpu, skew_fit: SkewFit { enabled, .. }, .. } = described;
    let (enabled, left_out) = if *enabled { (true, "") } else { (false, "; unequal contexts are left out, as the bundle says") };
    let each = order.pre_attn.iter().chain(&order.post_attn).chain(&order.mlp_dense).filter(|name| *name != "attention");
    let day = described.profiled_at.split('T').next().unwrap_or_default();
    Ok(Bundle {
        version: described.vllm_version.clone(),
        once: order.prologue.iter().chain(order.head.iter().filter(|name| *name == "final_layernorm")).cloned().collect(),
        each: each.cloned().collect(),
        alpha_default: described.skew_fit.per_tp.get(&ranks.to_string()).map(|alpha| alpha.alpha_default),
        source: format!(
            "kernel times of one layer, eager, by vLLM's layer-wise profiler on {gpu}, CUDA {}, {day} (LLMServingSim 2, commit \
             5daddb2); no host time{left_out}; errors are of every second grid point of an axis, left out",
            described.cuda_version
        ),
        attribution: "Data derived from LLMServingSim 2 (MIT), (c) 2024 CASYS Lab at KAIST".into(),
        dense: read(ranks, "dense")?,
        per_sequence: read(ranks, "per_sequence")?,
        attention: read(ranks, "attention")?,
        // Whole experts: measured once, without tensor parallelism.
        moe: optional(1, "moe")?,
        skew: if enabled { optional(ranks, "skew")? } else { None },
        skew_fit: optional(ranks, "skew_fit")?,
    })
}

/// Of a folder that holds the tables of one combination.
fn bare(folder: &Path, selection: &LayerSelection<'_>) -> Result<Bundle, CalibrateError> {
    let own = folder.join(format!("tp{}", selection.tensor_parallel));
    let tables = if own.is_dir() { own } else { folder.to_owned() };
    let path = |op: &str| -> Option<PathBuf> {
        ["parquet", "csv", "csv.gz"].iter().map(|ext| tables.join(format!("{op}.{ext}"))).find(|path| path.is_file())
    };
    let read = |op: &str| {
        let message = format!("holds neither bundles.json nor {op}.parquet, {op}.csv or {op}.csv.gz");
        Frame::read(&path(op).ok_or_else(|| CalibrateError::Value { path: tables.display().to_string(), message })?)
    };
    let optional = |op: &str| path(op).map(|path| Frame::read(&path)).transpose();
    let (dense, moe) = (read("dense")?, optional("moe")?);
    let normalises = dense.texts("layer")?.iter().any(|kernel| kernel == QK_NORM);
    let feed_forward = FEED_FORWARD.iter().filter(|_| moe.is_none());
    let each = EACH.iter().filter(|kernel| **kernel != QK_NORM || normalises).chain(feed_forward);
    let owned = |kernel: &&str| (*kernel).to_owned();
    Ok(Bundle {
        version: meta(folder, "vllm_version").unwrap_or_else(|| "unknown".into()),
        once: ONCE.iter().map(owned).collect(),
        each: each.map(owned).collect(),
        alpha_default: None,
        source: "kernel times of one layer, by vLLM's layer-wise profiler; no host time; errors are of every second grid point of \
                 an axis, left out"
            .into(),
        attribution: String::new(),
        dense,
        per_sequence: read("per_sequence")?,
        attention: read("attention")?,
        moe,
        skew: optional("skew")?,
        skew_fit: optional("skew_fit")?,
    })
}

/// A value of the profiler's `meta.yaml`, in the folder or above it.
fn meta(folder: &Path, key: &str) -> Option<String> {
    let text =
        [Some(folder), folder.parent()].into_iter().flatten().find_map(|at| std::fs::read_to_string(at.join("meta.yaml")).ok())?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}
