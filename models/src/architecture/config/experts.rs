//! The feed-forward blocks of a `config.json`: dense, or a mixture of experts.

use serde_json::Value;

use super::keys::wrong_type;
use super::{ConfigError, Keys, Moe};

/// The mixture of experts of a model of `layers` layers; `None` for a dense model.
pub(super) fn read(keys: &Keys, layers: u32) -> Result<Option<Moe>, ConfigError> {
    let names = ["num_experts", "n_routed_experts", "moe_num_experts"];
    let experts = keys.count("num_local_experts", &names)?.unwrap_or(0);
    // Families with dense and sparse members write 0 or 1 experts for the dense ones.
    if experts <= 1 {
        return Ok(None);
    }
    let top_k = keys.positive("num_experts_per_tok", &["num_experts_per_token", "top_k_experts", "moe_topk", "moe_k"])?;
    if top_k > experts {
        let reason = format!("a token cannot use more than all {experts} experts");
        return Err(ConfigError::Range { key: "num_experts_per_tok".into(), value: top_k.to_string(), reason });
    }
    let intermediate = keys.positive("moe_intermediate_size", &["expert_intermediate_size", "intermediate_size"])?;
    let dense_layers = dense_layers(keys, layers)?;
    let shared_intermediate = shared_width(keys, intermediate)?;
    Ok((dense_layers < layers).then_some(Moe { experts, top_k, intermediate, shared_intermediate, dense_layers }))
}

/// Width of the dense feed-forward block. A model whose layers all have experts need not have one.
pub(super) fn dense_width(keys: &Keys, moe: Option<&Moe>) -> Result<u32, ConfigError> {
    let others = ["ffn_hidden_size", "ffn_dim", "n_inner"];
    match moe {
        // Llama 4 calls the dense width `intermediate_size_mlp` and the experts' `intermediate_size`.
        Some(moe) => match keys.optional("intermediate_size_mlp", &["intermediate_size", others[0], others[1]])? {
            Some(width) => Ok(width),
            None if moe.dense_layers == 0 => Ok(moe.intermediate),
            None => keys.positive("intermediate_size", &others),
        },
        None => keys.positive("intermediate_size", &others),
    }
}

/// Summed width of the experts that every token uses.
fn shared_width(keys: &Keys, intermediate: u32) -> Result<u32, ConfigError> {
    if let Some(width) = keys.count("shared_expert_intermediate_size", &["shared_intermediate_size"])? {
        return Ok(width);
    }
    let default = u32::from(keys.model_type().starts_with("llama4"));
    let shared = keys.count("n_shared_experts", &["num_shared_experts", "num_shared_expert"])?.unwrap_or(default);
    shared.checked_mul(intermediate).ok_or_else(|| ConfigError::Range {
        key: "n_shared_experts".into(),
        value: shared.to_string(),
        reason: format!("too many of width {intermediate}"),
    })
}

/// How many layers have a dense block: the leading ones (DeepSeek), or those left out of a pattern (Qwen, Llama 4).
///
/// The shape places them first; where they are spread, only the split over pipeline stages differs.
fn dense_layers(keys: &Keys, layers: u32) -> Result<u32, ConfigError> {
    let sparse = |is_sparse: &dyn Fn(u32) -> bool| (0..layers).filter(|layer| is_sparse(*layer)).count() as u32;
    if let Some((key, Value::Array(pattern))) = keys.value("moe_layer_freq") {
        let flag = |value: &Value| value.as_u64().ok_or_else(|| wrong_type(key.clone(), "a list of 0 and 1", value));
        let flags = pattern.iter().map(flag).collect::<Result<Vec<_>, _>>()?;
        return Ok(flags.iter().take(layers as usize).filter(|flag| **flag == 0).count() as u32);
    }
    let first = keys.count("first_k_dense_replace", &[])?.unwrap_or(0);
    let freq = keys.optional("moe_layer_freq", &[])?.unwrap_or(1);
    // Qwen and Llama 4 count from the end of each period, DeepSeek from its start.
    let step = keys.optional("decoder_sparse_step", &["interleave_moe_layer_step"])?.unwrap_or(1);
    let dense_by_name = listed_dense(keys)?;
    let is_sparse = |layer: u32| {
        layer >= first
            && layer.is_multiple_of(freq)
            && (layer + 1).is_multiple_of(step)
            && !dense_by_name.contains(&u64::from(layer))
    };
    Ok(layers - sparse(&is_sparse))
}

/// The layers of `mlp_only_layers`.
fn listed_dense(keys: &Keys) -> Result<Vec<u64>, ConfigError> {
    let Some((key, list)) = keys.list("mlp_only_layers")? else { return Ok(Vec::new()) };
    list.iter().map(|value| value.as_u64().ok_or_else(|| wrong_type(key.clone(), "a list of layer numbers", value))).collect()
}
