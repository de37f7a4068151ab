//! Which attention the layers of a `config.json` have.

use serde_json::Value;

use super::keys::wrong_type;
use super::{Attention, ConfigError, Keys};

/// Names of layers that attend to a window, in `layer_types`.
const LOCAL: [&str; 3] = ["sliding_attention", "chunked_attention", "local_attention"];

/// Latent, local or full attention, for a model of `layers` layers and `max_context` tokens.
pub(super) fn read(keys: &Keys, layers: u32, max_context: u32) -> Result<Attention, ConfigError> {
    if let Some(kv_rank) = keys.optional("kv_lora_rank", &[])? {
        return Ok(Attention::Latent {
            kv_rank,
            rope_dim: keys.positive("qk_rope_head_dim", &[])?,
            q_rank: keys.count("q_lora_rank", &[])?.unwrap_or(0),
            nope_dim: keys.positive("qk_nope_head_dim", &[])?,
            v_dim: keys.positive("v_head_dim", &[])?,
        });
    }
    let local_layers = local_layers(keys, layers)?;
    match window(keys)? {
        // A window that no context fills changes nothing.
        Some(window) if local_layers > 0 && window < max_context => Ok(Attention::Sliding { window, local_layers }),
        _ => Ok(Attention::Full),
    }
}

/// The window of local layers [tokens].
fn window(keys: &Keys) -> Result<Option<u32>, ConfigError> {
    let model_type = keys.model_type();
    let used = keys.flag("use_sliding_window")?.unwrap_or(!model_type.starts_with("qwen"));
    if !used && keys.value("layer_types").is_none() {
        return Ok(None);
    }
    let default = match model_type {
        "gemma2" | "gemma3" | "gemma3_text" | "cohere2" => Some(4096),
        "gpt_oss" => Some(128),
        _ => None,
    };
    Ok(keys.optional("sliding_window", &["attention_chunk_size"])?.or(default))
}

/// How many layers are local: from `layer_types` where it is given, else by the rule of the model's class.
fn local_layers(keys: &Keys, layers: u32) -> Result<u32, ConfigError> {
    if let Some(types) = layer_types(keys, layers)? {
        return Ok(types.iter().filter(|kind| LOCAL.contains(kind)).count() as u32);
    }
    let every = |default| keys.optional("sliding_window_pattern", &["_sliding_window_pattern"]).map(|n| n.unwrap_or(default));
    Ok(match keys.model_type() {
        "gemma2" | "gpt_oss" => layers.div_ceil(2),
        "gemma3" | "gemma3_text" => layers - layers / every(6)?,
        "cohere2" => layers - layers / every(4)?,
        "llama4" | "llama4_text" => layers - layers / 4,
        model_type if model_type.starts_with("qwen") => layers.saturating_sub(keys.count("max_window_layers", &[])?.unwrap_or(28)),
        _ => layers,
    })
}

/// The kinds of the layers, one each; `None` where the file has no such list.
fn layer_types<'a>(keys: &Keys<'a>, layers: u32) -> Result<Option<Vec<&'a str>>, ConfigError> {
    let Some((key, list)) = keys.list("layer_types")? else { return Ok(None) };
    if list.len() != layers as usize {
        let reason = format!("must have one entry for each of the {layers} layers");
        return Err(ConfigError::Range { key, value: format!("{} entries", list.len()), reason });
    }
    let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong_type(key.clone(), "a list of texts", value));
    list.iter().map(text).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Layers that keep no KV cache, or one of another form, and are counted as attention all the same.
pub(super) fn reasons(keys: &Keys) -> Result<Vec<String>, ConfigError> {
    let Some((_, list)) = keys.list("layer_types")? else { return Ok(Vec::new()) };
    let known = |kind: &str| kind == "full_attention" || LOCAL.contains(&kind);
    let others: Vec<&str> = list.iter().filter_map(Value::as_str).filter(|kind| !known(kind)).collect();
    Ok(match others.first() {
        Some(kind) => vec![format!("{} layers of kind {kind} are counted as full attention", others.len())],
        None => Vec::new(),
    })
}
