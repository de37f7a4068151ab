//! Reading a shape from a Hugging Face `config.json`.
//!
//! Each publisher writes the keys of its model class and leaves out the ones that equal the class's defaults, so those defaults are
//! needed here too. A key that is there but makes no sense is an error, never a default.

use serde_json::Value;
use thiserror::Error;

use super::{Architecture, Attention, Moe, approximate};
use crate::deployment::WeightDtype;

mod attention;
mod experts;
mod keys;
mod quantization;

use keys::Keys;

/// Why a `config.json` gives no shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON, but no object.
    #[error("a config.json must be an object, not {0}")]
    NotObject(&'static str),
    /// A key that decides the shape is missing.
    #[error("`{key}` is missing{}", other_names(.also))]
    Missing {
        /// Its usual name.
        key: String,
        /// Names that would do as well.
        also: Vec<String>,
    },
    /// A key holds something of another type.
    #[error("`{key}` must be {expected}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// The type wanted.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A key holds a number that makes no sense, by itself or beside another key.
    #[error("`{key}` = {value}: {reason}")]
    Range {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that this program has no formula for.
    #[error("`{key}` = {value} is not supported: {reason}")]
    Unsupported {
        /// The key that tells it.
        key: String,
        /// Its value.
        value: String,
        /// What would be needed.
        reason: &'static str,
    },
}

fn other_names(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!(" (also read: {})", quoted.join(", "))
}

/// More parameters than this is a broken file, and its byte counts could overflow: 100 times the largest models.
const MAX_PARAMETERS: u64 = 100_000_000_000_000;

/// More layers than this is a broken file.
const MAX_LAYERS: u32 = 10_000;

/// Model classes whose feed-forward block has two matrices, not three.
const TWO_MATRICES: [&str; 6] = ["phi", "starcoder2", "gpt_neox", "nemotron", "persimmon", "gpt_bigcode"];

/// What Hugging Face's class of a model takes where a key is left out.
struct ClassDefaults {
    heads: Option<u32>,
    kv_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab: Option<u32>,
    max_context: Option<u32>,
    tied: bool,
}

impl ClassDefaults {
    /// Source: transformers 4.5x, `configuration_*.py` of each class.
    fn of(model_type: &str) -> ClassDefaults {
        let none = ClassDefaults { heads: None, kv_heads: None, head_dim: None, vocab: None, max_context: None, tied: false };
        match model_type {
            "gemma" | "gemma2" => {
                ClassDefaults { head_dim: Some(256), vocab: Some(256_000), max_context: Some(8192), tied: true, ..none }
            }
            "gemma3" | "gemma3_text" => ClassDefaults {
                heads: Some(8),
                kv_heads: Some(4),
                head_dim: Some(256),
                vocab: Some(262_208),
                max_context: Some(131_072),
                tied: true,
            },
            "cohere" | "cohere2" => ClassDefaults { tied: true, ..none },
            "qwen3" => ClassDefaults { head_dim: Some(128), ..none },
            "gpt_oss" => ClassDefaults { head_dim: Some(64), ..none },
            _ => none,
        }
    }
}

impl Architecture {
    /// Reads the shape of a decoder-only model from the text of its `config.json`; `name` becomes the shape's name.
    ///
    /// Known model classes: llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gpt_oss, deepseek_v2, deepseek_v3, gemma, gemma2,
    /// gemma3, llama4, cohere; any other is read by the generic keys. Multimodal files are read at their `text_config`. What the
    /// shape cannot express is said in [`Architecture::approximate`].
    ///
    /// # Errors
    /// The first [`ConfigError`]: a key that is missing, of a wrong type, out of range, or at odds with another.
    pub fn from_config_json(text: &str, name: &str) -> Result<Architecture, ConfigError> {
        let root = parse(text)?;
        let keys = Keys::new(&root)?;
        if keys.flag("is_encoder_decoder")?.unwrap_or(false) {
            let reason = "only decoder-only models are simulated";
            return Err(ConfigError::Unsupported { key: "is_encoder_decoder".into(), value: "true".into(), reason });
        }
        let defaults = ClassDefaults::of(keys.model_type());
        let layers = layers(&keys)?;
        let hidden = keys.positive("hidden_size", &["n_embd", "d_model"])?;
        let heads = keys.positive_or("num_attention_heads", &["n_head", "n_heads"], defaults.heads)?;
        let max_context = max_context(&keys, &defaults)?;
        let attention = attention::read(&keys, layers, max_context)?;
        let head_dim = head_dim(&keys, &attention, hidden, heads, &defaults)?;
        let kv_heads = kv_heads(&keys, heads, &defaults)?;
        let moe = experts::read(&keys, layers)?;
        let architecture = Architecture {
            name: name.to_owned(),
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            intermediate: experts::dense_width(&keys, moe.as_ref())?,
            vocab: keys.positive_or("vocab_size", &["padded_vocab_size"], defaults.vocab)?,
            tied_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(defaults.tied),
            fp8_blocks: quantization::in_blocks(&root)?,
            norm_across_ranks: keys.text("qk_norm_type", &[])? == Some("per_layer"),
            moe,
            max_context,
            approximate: approximate(&attention, reasons(&keys)?),
            attention,
        };
        check_size(&architecture)?;
        Ok(architecture)
    }
}

/// The number format of a checkpoint's weights, as its `quantization_config` says; `None` where the file says nothing.
///
/// # Errors
/// A [`ConfigError`] for text that is no JSON object, and for a format that [`WeightDtype`] cannot express.
pub fn weight_dtype(text: &str) -> Result<Option<WeightDtype>, ConfigError> {
    quantization::read(&parse(text)?)
}

fn parse(text: &str) -> Result<Value, ConfigError> {
    // Editors on Windows put a byte-order mark in front.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| ConfigError::Json(error.to_string()))
}

/// Decoder layers. What walks them layer by layer relies on there not being millions.
fn layers(keys: &Keys) -> Result<u32, ConfigError> {
    match keys.positive("num_hidden_layers", &["n_layer", "n_layers", "num_layers"])? {
        layers if layers <= MAX_LAYERS => Ok(layers),
        layers => {
            let reason = format!("no model has that many (at most {MAX_LAYERS} are read)");
            Err(ConfigError::Range { key: "num_hidden_layers".into(), value: layers.to_string(), reason })
        }
    }
}

/// Longest context [tokens]: positions, times the factor of a scaling that the positions do not already contain, as vLLM derives
/// `max_model_len` (`_get_and_verify_max_len`).
fn max_context(keys: &Keys, defaults: &ClassDefaults) -> Result<u32, ConfigError> {
    let names = ["max_sequence_length", "max_seq_len", "seq_length", "n_positions", "model_max_length"];
    let positions = keys.positive_or("max_position_embeddings", &names, defaults.max_context)?;
    // transformers 5 renamed the key.
    let Some(scaling) = keys.object("rope_scaling")?.or(keys.object("rope_parameters")?) else { return Ok(positions) };
    let kind = scaling.text("rope_type", &["type"])?.unwrap_or_default();
    let base = match kind {
        "yarn" => scaling.optional("original_max_position_embeddings", &[])?,
        "linear" | "dynamic" if !keys.model_type().starts_with("gemma3") => Some(positions),
        _ => None,
    };
    let (Some(base), Some(factor)) = (base, scaling.number("factor")?) else { return Ok(positions) };
    if !(factor >= 1.0 && factor.is_finite()) {
        let reason = "a context cannot be stretched by less than 1".to_owned();
        return Err(ConfigError::Range { key: "rope_scaling.factor".into(), value: factor.to_string(), reason });
    }
    Ok(((f64::from(base) * factor).min(f64::from(keys::MAX_VALUE)) as u32).max(positions))
}

/// Width of a head: the explicit key, else the class's default, else `hidden / heads`. Latent attention has its own keys.
fn head_dim(keys: &Keys, attention: &Attention, hidden: u32, heads: u32, defaults: &ClassDefaults) -> Result<u32, ConfigError> {
    if let Attention::Latent { nope_dim, rope_dim, .. } = attention {
        return Ok(nope_dim.saturating_add(*rope_dim));
    }
    if let Some(head_dim) = keys.optional("head_dim", &["kv_channels", "attention_head_dim"])?.or(defaults.head_dim) {
        return Ok(head_dim);
    }
    if !hidden.is_multiple_of(heads) {
        let reason = format!("does not divide `hidden_size` = {hidden}, and there is no `head_dim`");
        return Err(ConfigError::Range { key: "num_attention_heads".into(), value: heads.to_string(), reason });
    }
    Ok(hidden / heads)
}

/// Key-value heads: the key, or one under multi-query attention, or as many as query heads.
fn kv_heads(keys: &Keys, heads: u32, defaults: &ClassDefaults) -> Result<u32, ConfigError> {
    let names = ["num_kv_heads", "n_head_kv", "multi_query_group_num", "n_kv_heads"];
    let kv_heads = match keys.optional("num_key_value_heads", &names)?.or(defaults.kv_heads) {
        Some(kv_heads) => kv_heads,
        None if keys.flag("multi_query")?.unwrap_or(false) => 1,
        None => heads,
    };
    if !heads.is_multiple_of(kv_heads) {
        let reason = format!("does not divide `num_attention_heads` = {heads}");
        return Err(ConfigError::Range { key: "num_key_value_heads".into(), value: kv_heads.to_string(), reason });
    }
    Ok(kv_heads)
}

/// What the file has and the shape cannot express, besides windows.
fn reasons(keys: &Keys) -> Result<Vec<String>, ConfigError> {
    let mut reasons = attention::reasons(keys)?;
    if keys.is_multimodal() {
        reasons.push("only the language model is counted, no vision or audio tower".to_owned());
    }
    if TWO_MATRICES.contains(&keys.model_type()) {
        reasons.push("the feed-forward block is counted with three matrices, this model has two".to_owned());
    }
    Ok(reasons)
}

/// Refuses shapes whose sizes no arithmetic would survive.
fn check_size(architecture: &Architecture) -> Result<(), ConfigError> {
    match architecture.parameters().total() {
        total if total <= MAX_PARAMETERS => Ok(()),
        total => {
            let reason = format!("with its other sizes the model would have {:.0e} parameters", total as f64);
            Err(ConfigError::Range { key: "hidden_size".into(), value: architecture.hidden.to_string(), reason })
        }
    }
}

#[cfg(test)]
mod tests;
