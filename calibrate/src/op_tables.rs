//! Composed iteration times of NVIDIA AIConfigurator 0.12.0: one step's milliseconds by GPU, model, quantisation and TP size.
//!
//! The tables are sums of kernel times measured inside the named engine's container; element-wise kernels are modelled in them, and no
//! CPU time is contained. A mixed step is modelled: one pass of everything but attention, plus both attentions.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::CalibrateError;

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

/// Catalogue name, label in the tables, memory bandwidth of the tables' system files [bytes/s].
const GPUS: [(&str, &str, f64); 5] = [
    ("a100-80gb", "a100_sxm", 2.039e12),
    ("b200", "b200_sxm", 7.7e12),
    ("h100-sxm", "h100_sxm", 3.35e12),
    ("h200-sxm", "h200_sxm", 4.8e12),
    ("l40s", "l40s", 0.864e12),
];
/// Quantisation, weights, KV cache.
const QUANTS: [(&str, &str, &str); 4] =
    [("bf16", "bf16", "bf16"), ("fp8", "fp8", "bf16"), ("fp8_kvfp8", "fp8", "fp8"), ("bf16_mxfp4moe", "mxfp4", "bf16")];
/// A model of the tables.
struct Model {
    label: &'static str,
    /// Decoder layers, and those of them that attend to the whole context.
    layers: u32,
    global_layers: u32,
    kv_heads: u32,
    head_dim: u32,
}

const fn model(label: &'static str, layers: u32, global_layers: u32, kv_heads: u32, head_dim: u32) -> Model {
    Model { label, layers, global_layers, kv_heads, head_dim }
}

const MODELS: [Model; 7] = [
    model("gpt-oss-120b", 36, 18, 8, 64),
    model("llama-3.1-70b", 80, 80, 8, 128),
    model("llama-3.1-8b", 32, 32, 8, 128),
    model("mixtral-8x7b", 32, 32, 8, 128),
    model("qwen3-30b-a3b", 48, 48, 4, 128),
    model("qwen3-32b", 64, 64, 8, 128),
    model("qwen3-8b", 36, 36, 8, 128),
];

fn unknown(what: &'static str, asked: &str, known: impl Iterator<Item = &'static str>) -> CalibrateError {
    CalibrateError::Unknown { what, asked: asked.into(), known: known.collect::<Vec<_>>().join(", ") }
}

impl Selection<'_> {
    /// Label of the GPU in the tables.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] for a GPU the tables lack.
    pub fn gpu_label(&self) -> Result<&'static str, CalibrateError> {
        self.gpu_row().map(|row| row.1)
    }

    fn gpu_row(&self) -> Result<&'static (&'static str, &'static str, f64), CalibrateError> {
        let found = GPUS.iter().find(|(name, ..)| self.gpu == *name);
        found.ok_or_else(|| unknown("gpu", self.gpu, GPUS.iter().map(|g| g.0)))
    }

    /// Number formats of weights and KV cache.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] for a quantisation the tables lack.
    pub fn formats(&self) -> Result<(&'static str, &'static str), CalibrateError> {
        let found = QUANTS.iter().find(|q| q.0 == self.quant);
        found.map(|q| (q.1, q.2)).ok_or_else(|| unknown("quant", self.quant, QUANTS.iter().map(|q| q.0)))
    }

    /// Decoder layers of the model.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] for a model the tables lack.
    pub fn layers(&self) -> Result<u32, CalibrateError> {
        Ok(self.model_row()?.layers)
    }

    fn model_row(&self) -> Result<&'static Model, CalibrateError> {
        let found = MODELS.iter().find(|m| m.label == self.model);
        found.ok_or_else(|| unknown("model", self.model, MODELS.iter().map(|m| m.label)))
    }

    /// Least time that reading one token of KV cache can take on a rank, at the whole memory bandwidth [ms].
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Unknown`] as above.
    pub fn kv_token_ms(&self) -> Result<f64, CalibrateError> {
        let (model, (.., bandwidth)) = (self.model_row()?, self.gpu_row()?);
        let bytes = if self.formats()?.1 == "fp8" { 1.0 } else { 2.0 };
        let heads = (f64::from(model.kv_heads) / f64::from(self.tensor_parallel.max(1))).max(1.0);
        Ok(f64::from(model.global_layers) * 2.0 * heads * f64::from(model.head_dim) * bytes / bandwidth * 1e3)
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
}

#[derive(Deserialize)]
struct Labels {
    gpu: String,
    backend_version: String,
    model: String,
    quant: String,
    tp: u32,
}

impl Labels {
    fn are(&self, selection: &Selection<'_>, gpu: &str) -> bool {
        self.gpu == gpu && self.model == selection.model && self.quant == selection.quant && self.tp == selection.tensor_parallel
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

impl OpTables {
    /// Reads `decode_vllm`, `prefill_vllm`, `prefill_batched_vllm` and `mixed_step_vllm` (`.csv.gz`) of a folder. Points are sorted.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if a file is absent or malformed, has a time that is not positive, or if the combination is unknown.
    pub fn read(folder: &Path, selection: &Selection<'_>) -> Result<OpTables, CalibrateError> {
        let gpu = selection.gpu_label()?;
        let mut tables = OpTables::default();
        rows(folder, "decode_vllm.csv.gz", |row: DecodeRow| {
            if row.labels.are(selection, gpu) {
                tables.engine_version = row.labels.backend_version;
                tables.decode.push(DecodePoint { batch: row.batch, context: row.context_tokens, ms: row.time_ms });
            }
            positive(&[row.time_ms])
        })?;
        for file in ["prefill_vllm.csv.gz", "prefill_batched_vllm.csv.gz"] {
            rows(folder, file, |row: PrefillRow| {
                let Some(tokens) = row.prompt_tokens.checked_sub(row.prefix_tokens).filter(|&tokens| tokens > 0) else {
                    return Err(format!("prefix_tokens {} of prompt_tokens {}", row.prefix_tokens, row.prompt_tokens));
                };
                if row.labels.are(selection, gpu) {
                    let point = PrefillPoint { batch: row.batch, tokens, history: row.prefix_tokens, ms: row.time_ms };
                    tables.prefill.push(point);
                }
                positive(&[row.time_ms])
            })?;
        }
        rows(folder, "mixed_step_vllm.csv.gz", |row: MixedRow| {
            if row.labels.are(selection, gpu) {
                tables.mixed.push(MixedPoint {
                    chunk: row.prefill_tokens,
                    decodes: row.decode_seqs,
                    context: row.context_tokens,
                    ms: row.time_ms,
                    nonattention_ms: row.shared_nonattn_ms,
                    decode_attention_ms: row.decode_attn_ms,
                    decode_only_ms: row.decode_only_ms,
                });
            }
            positive(&[row.time_ms, row.shared_nonattn_ms, row.decode_only_ms])
        })?;
        tables.sort();
        Ok(tables)
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
