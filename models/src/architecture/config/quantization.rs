//! The number format that a checkpoint's `quantization_config` names.

use serde_json::Value;

use super::keys::describe;
use super::{ConfigError, Keys, WeightDtype};

/// The format of the weights; `None` where the file names none.
pub(super) fn read(root: &Value) -> Result<Option<WeightDtype>, ConfigError> {
    let keys = Keys::new(root)?;
    let Some(config) = keys.object("quantization_config")? else { return Ok(None) };
    let method = config.text("quant_method", &["quant_library"])?.unwrap_or_default().to_ascii_lowercase();
    match method.as_str() {
        "fp8" | "fbgemm_fp8" => Ok(Some(WeightDtype::Fp8)),
        "mxfp4" => Ok(Some(WeightDtype::Mxfp4)),
        "awq" | "gptq" | "awq_marlin" | "gptq_marlin" | "auto-round" => by_bits(&config, "bits", "int"),
        "compressed-tensors" => compressed(&config),
        "modelopt" => match config.text("quant_algo", &[])?.unwrap_or_default() {
            "FP8" => Ok(Some(WeightDtype::Fp8)),
            "NVFP4" => Ok(Some(WeightDtype::Nvfp4)),
            other => Err(unsupported("quantization_config.quant_algo", other.to_owned())),
        },
        other => Err(unsupported("quantization_config.quant_method", other.to_owned())),
    }
}

/// Whether there is a scale for each block of the weights, not of a row or a matrix: DeepSeek's way to write fp8.
pub(super) fn in_blocks(root: &Value) -> Result<bool, ConfigError> {
    let config = Keys::new(root)?.object("quantization_config")?;
    Ok(config.is_some_and(|config| config.value("weight_block_size").is_some()))
}

/// llm-compressor's files: groups of layers, each with the format of its weights. The first group decides.
fn compressed(config: &Keys) -> Result<Option<WeightDtype>, ConfigError> {
    let Some(groups) = config.object("config_groups")? else { return Ok(None) };
    let Some((key, group)) = groups.values().next() else { return Ok(None) };
    let group = Keys::new(group).map_err(|_| unsupported(&key, describe(group)))?;
    let Some(weights) = group.object("weights")? else { return Ok(None) };
    let kind = weights.text("type", &[])?.unwrap_or("int");
    by_bits(&weights, "num_bits", kind)
}

/// The format of `kind` (`int` or `float`) with as many bits as `key` says.
fn by_bits(keys: &Keys, key: &str, kind: &str) -> Result<Option<WeightDtype>, ConfigError> {
    match (keys.positive(key, &[])?, kind) {
        (8, "float") => Ok(Some(WeightDtype::Fp8)),
        (8, "int") => Ok(Some(WeightDtype::Int8)),
        (4, "float") => Ok(Some(WeightDtype::Nvfp4)),
        (4, "int") => Ok(Some(WeightDtype::Int4)),
        (bits, kind) => Err(unsupported(&format!("quantization_config {key}"), format!("{kind} {bits}"))),
    }
}

fn unsupported(key: &str, value: String) -> ConfigError {
    let reason = "known are bf16, fp8, int8, int4, mxfp4 and nvfp4; choose the nearest by hand";
    ConfigError::Unsupported { key: key.to_owned(), value: format!("\"{value}\""), reason }
}
