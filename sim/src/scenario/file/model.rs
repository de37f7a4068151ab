//! `[model]`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// The model: from the catalogue by `name`, or from a Hugging Face `config.json` by `config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Catalogue name, such as "llama-3.1-8b"; with `config`, the name to print.
    pub name: Option<At<String>>,
    /// Path of a Hugging Face `config.json`, relative to the scenario.
    pub config: Option<At<PathBuf>>,
    /// Version or revision, such as "2025-07": a label of the request records, with no effect on the simulation.
    pub version: Option<String>,
    /// Number format of the weights; by default that of `config`, or the one that the model is published in, "bf16" for most.
    pub weights: Option<At<WeightsName>>,
}

/// Number format of the weights: "bf16" (2 bytes), "fp8", "int8" (1 byte), "int4" (4 bits and scales, weights only),
/// "mxfp4" (4.25 bits on the routed experts) or "nvfp4" (4.5 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightsName {
    /// 2 bytes.
    #[serde(alias = "bfloat16", alias = "fp16", alias = "float16")]
    Bf16,
    /// 1 byte, fp8 arithmetic where the GPU has it.
    Fp8,
    /// 1 byte, int8 arithmetic.
    Int8,
    /// 4 bits and block scales, weights only.
    Int4,
    /// 4.25 bits on the routed experts, bf16 elsewhere.
    Mxfp4,
    /// 4 bits and block scales, fp4 arithmetic where the GPU has it.
    Nvfp4,
}
