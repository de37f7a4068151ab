//! Composed iteration times of NVIDIA AIConfigurator 0.12.0: one step's milliseconds by GPU, model, quantisation and TP size.
//!
//! The tables are sums of kernel times measured inside the named engine's container; element-wise kernels are modelled in them,
//! and no CPU time is contained. A mixed step is modelled: one pass of everything but attention, plus both attentions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokentide_models::deployment::{KvDtype, WeightDtype};

use crate::CalibrateError;
use crate::perf_tables::{ExpertsTable, PerfSelection, Routing};

/// Which combination to read, in the words of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Catalogue name of the GPU, such as `h100-sxm`.
    pub gpu: &'a str,
    /// Model label, such as `llama-3.1-8b`.
    pub model: &'a str,
    /// `bf16`, `fp8` (KV cache bf16) or `fp8_kvfp8`.
    pub quant: &'a str,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
}

/// Catalogue name and label in the tables.
pub(crate) const GPUS: [(&str, &str); 5] =
    [("a100-80gb", "a100_sxm"), ("b200", "b200_sxm"), ("h100-sxm", "h100_sxm"), ("h200-sxm", "h200_sxm"), ("l40s", "l40s")];
/// Quantisation, weights, KV cache.
pub(crate) const QUANTS: [(&str, WeightDtype, KvDtype); 4] = [
    ("bf16", WeightDtype::Bf16, KvDtype::Bf16),
    ("fp8", WeightDtype::Fp8, KvDtype::Bf16),
    ("fp8_kvfp8", WeightDtype::Fp8, KvDtype::Fp8),
    ("bf16_mxfp4moe", WeightDtype::Mxfp4, KvDtype::Bf16),
];
/// Models of the tables, by their names in the catalogue.
pub(crate) const MODELS: [&str; 7] =
    ["gpt-oss-120b", "llama-3.1-70b", "llama-3.1-8b", "mixtral-8x7b", "qwen3-30b-a3b", "qwen3-32b", "qwen3-8b"];

/// AIConfigurator's name of a GPU of the catalogue.
///
/// # Errors
///
/// [`CalibrateError::Unknown`] for a GPU the tables lack.
pub fn gpu_label(gpu: &str) -> Result<&'static str, CalibrateError> {
    let found = GPUS.iter().find(|(name, _)| gpu == *name);
    found.map(|row| row.1).ok_or_else(|| CalibrateError::unknown("gpu", gpu, GPUS.iter().map(|g| g.0)))
}

impl Selection<'_> {
    /// Number formats of weights and KV cache.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] for a quantisation the tables lack.
    pub fn formats(&self) -> Result<(WeightDtype, KvDtype), CalibrateError> {
        let found = QUANTS.iter().find(|q| q.0 == self.quant);
        found.map(|q| (q.1, q.2)).ok_or_else(|| CalibrateError::unknown("quant", self.quant, QUANTS.iter().map(|q| q.0)))
    }

    /// The same in the words of the catalogue.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] as [`Selection::formats`].
    pub fn perf(&self) -> Result<PerfSelection<'_>, CalibrateError> {
        let (weights, kv) = self.formats()?;
        Ok(PerfSelection {
            gpu: self.gpu,
            model: self.model,
            weights,
            kv,
            tensor_parallel: self.tensor_parallel,
            expert_parallel: false,
            routing: Routing::default(),
            engine_version: None,
            experts: ExpertsTable::default(),
        })
    }

    /// Whether the tables name the GPU, the model and the quantisation.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] for the first that they lack.
    pub fn check(&self) -> Result<(), CalibrateError> {
        gpu_label(self.gpu)?;
        self.formats()?;
        let known = MODELS.contains(&self.model);
        if known { Ok(()) } else { Err(CalibrateError::unknown("model", self.model, MODELS)) }
    }

    /// For messages.
    pub fn describe(&self) -> String {
        format!("{} {} {} tp {}", self.gpu, self.model, self.quant, self.tensor_parallel)
    }
}

/// A step of decodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodePoint {
    /// Sequences.
    pub batch: u32,
    /// Context of each [tokens].
    pub context: u32,
    /// Time [ms].
    pub ms: f64,
}

/// A step of prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefillPoint {
    /// Prompts.
    pub batch: u32,
    /// Tokens computed of each.
    pub tokens: u32,
    /// Tokens of each that were cached.
    pub history: u32,
    /// Time [ms].
    pub ms: f64,
}

/// A step of a prefill chunk and decodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixedPoint {
    /// Prefill tokens.
    pub chunk: u32,
    /// Sequences decoding.
    pub decodes: u32,
    /// Their context, and the length of the prompts that the chunk is cut from or made of [tokens].
    pub context: u32,
    /// Time of the step [ms].
    pub ms: f64,
    /// Of it, everything but attention, at `chunk + decodes` tokens [ms].
    pub nonattention_ms: f64,
    /// Of it, attention of the decodes [ms].
    pub decode_attention_ms: f64,
    /// A step of the decodes alone [ms].
    pub decode_only_ms: f64,
}

/// What is known of everything but attention and LM head between the points, by tokens [ms].
#[derive(Clone, Debug, Default)]
pub enum Structure {
    /// Nothing: it is linear.
    #[default]
    None,
    /// Its form: a line through the points is bent by it.
    Form(Vec<(u32, f64)>),
    /// The times themselves.
    Exact(Vec<(u32, f64)>),
}

/// All points of one combination.
#[derive(Clone, Debug, Default)]
pub struct OpTables {
    /// Version of vLLM that the kernels were measured in.
    pub engine_version: String,
    /// Decode steps.
    pub decode: Vec<DecodePoint>,
    /// Prefill steps.
    pub prefill: Vec<PrefillPoint>,
    /// Mixed steps: none for most GPUs.
    pub mixed: Vec<MixedPoint>,
    /// Mixed steps with the KV cache in another format: all but their attention holds here too.
    pub mixed_elsewhere: Vec<MixedPoint>,
    /// The LM head by sequences, which the times of all points contain [ms]; it is split off before the fit.
    pub head: Vec<(u32, f64)>,
    /// What is known between the points.
    pub structure: Structure,
}

#[derive(Deserialize)]
struct Labels {
    gpu: String,
    backend_version: String,
    model: String,
    quant: String,
    tp: u32,
}

/// A combination as the tables name it: GPU label, model, quantisation, ranks.
type Key = (String, String, String, u32);

impl Labels {
    fn key(&self) -> Key {
        (self.gpu.clone(), self.model.clone(), self.quant.clone(), self.tp)
    }
}

#[derive(Deserialize)]
struct DecodeRow {
    #[serde(flatten)]
    labels: Labels,
    batch: u32,
    context_tokens: u32,
    time_ms: f64,
}

#[derive(Deserialize)]
struct PrefillRow {
    #[serde(flatten)]
    labels: Labels,
    batch: u32,
    prompt_tokens: u32,
    prefix_tokens: u32,
    time_ms: f64,
}

#[derive(Deserialize)]
struct MixedRow {
    #[serde(flatten)]
    labels: Labels,
    prefill_tokens: u32,
    decode_seqs: u32,
    context_tokens: u32,
    time_ms: f64,
    shared_nonattn_ms: f64,
    decode_attn_ms: f64,
    decode_only_ms: f64,
}

/// All combinations of a folder.
#[derive(Clone, Debug, Default)]
pub struct ComposedTables {
    all: BTreeMap<Key, OpTables>,
}

impl ComposedTables {
    /// Reads `decode_vllm`, `prefill_vllm`, `prefill_batched_vllm` and `mixed_step_vllm` (`.csv.gz`) of a folder.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if a file is absent or malformed, or has a time that is not positive.
    pub fn read(folder: &Path) -> Result<ComposedTables, CalibrateError> {
        let mut all: BTreeMap<Key, OpTables> = BTreeMap::new();
        rows(folder, "decode_vllm.csv.gz", |row: DecodeRow| {
            let tables = all.entry(row.labels.key()).or_default();
            tables.engine_version = row.labels.backend_version;
            tables.decode.push(DecodePoint { batch: row.batch, context: row.context_tokens, ms: row.time_ms });
            positive(&[row.time_ms])
        })?;
        for file in ["prefill_vllm.csv.gz", "prefill_batched_vllm.csv.gz"] {
            rows(folder, file, |row: PrefillRow| {
                let Some(tokens) = row.prompt_tokens.checked_sub(row.prefix_tokens).filter(|&tokens| tokens > 0) else {
                    return Err(format!("prefix_tokens {} of prompt_tokens {}", row.prefix_tokens, row.prompt_tokens));
                };
                let point = PrefillPoint { batch: row.batch, tokens, history: row.prefix_tokens, ms: row.time_ms };
                all.entry(row.labels.key()).or_default().prefill.push(point);
                positive(&[row.time_ms])
            })?;
        }
        rows(folder, "mixed_step_vllm.csv.gz", |row: MixedRow| {
            all.entry(row.labels.key()).or_default().mixed.push(MixedPoint {
                chunk: row.prefill_tokens,
                decodes: row.decode_seqs,
                context: row.context_tokens,
                ms: row.time_ms,
                nonattention_ms: row.shared_nonattn_ms,
                decode_attention_ms: row.decode_attn_ms,
                decode_only_ms: row.decode_only_ms,
            });
            positive(&[row.time_ms, row.shared_nonattn_ms, row.decode_only_ms])
        })?;
        all.values_mut().for_each(OpTables::sort);
        Ok(ComposedTables { all })
    }

    /// The points of one combination, sorted: none if the tables do not have it.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] if the tables lack the GPU, the model or the quantisation.
    pub fn of(&self, selection: &Selection<'_>) -> Result<OpTables, CalibrateError> {
        selection.check()?;
        let Selection { gpu, model, quant, tensor_parallel } = *selection;
        let label = gpu_label(gpu)?;
        let all = |quant: &str| {
            let key = (label.to_owned(), model.to_owned(), quant.to_owned(), tensor_parallel);
            self.all.get(&key).cloned().unwrap_or_default()
        };
        let mut tables = all(quant);
        if quant == "fp8_kvfp8" {
            tables.mixed_elsewhere = all("fp8").mixed;
        }
        Ok(tables)
    }
}

impl OpTables {
    /// Reads one combination: [`ComposedTables::read`], [`ComposedTables::of`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn read(folder: &Path, selection: &Selection<'_>) -> Result<OpTables, CalibrateError> {
        selection.check()?;
        ComposedTables::read(folder)?.of(selection)
    }

    fn sort(&mut self) {
        self.decode.sort_by_key(|p| (p.batch, p.context));
        self.prefill.sort_by_key(|p| (p.batch, p.tokens, p.history));
        // A single prompt is in both prefill files.
        self.prefill.dedup_by_key(|p| (p.batch, p.tokens, p.history));
        self.mixed.sort_by_key(|p| (p.chunk, p.decodes, p.context));
    }
}

fn positive(times: &[f64]) -> Result<(), String> {
    match times.iter().find(|&&ms| !(ms > 0.0 && ms.is_finite())) {
        Some(ms) => Err(format!("a time of {ms} ms")),
        None => Ok(()),
    }
}

/// Calls `each` with every row of a gzipped CSV file.
fn rows<T: DeserializeOwned>(
    folder: &Path,
    file: &str,
    mut each: impl FnMut(T) -> Result<(), String>,
) -> Result<(), CalibrateError> {
    let path = folder.join(file);
    let shown = path.display().to_string();
    let opened = File::open(&path).map_err(|source| CalibrateError::Open { path: shown.clone(), source })?;
    let mut reader = csv::Reader::from_reader(GzDecoder::new(BufReader::new(opened)));
    // An iterator over rows ends silently where the header cannot be read.
    let empty = reader.headers().map_err(|source| CalibrateError::Row { path: shown.clone(), source })?.is_empty();
    if empty {
        return Err(CalibrateError::Value { path: shown, message: "no header".into() });
    }
    for (number, row) in reader.deserialize().enumerate() {
        let row = row.map_err(|source| CalibrateError::Row { path: shown.clone(), source })?;
        each(row)
            .map_err(|message| CalibrateError::Value { path: shown.clone(), message: format!("row {}: {message}", number + 1) })?;
    }
    Ok(())
}
