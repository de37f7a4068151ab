//! `[tokenizer]`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// How the tokens of prompt files are counted, by exactly one of `file`, `encoding` and `chars_per_token`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerFile {
    /// Path of a Hugging Face `tokenizer.json`, relative to the scenario.
    pub file: Option<At<PathBuf>>,
    /// An encoding of tiktoken: "o200k_base", "o200k_harmony", "cl100k_base", "p50k_base", "r50k_base" or "gpt2".
    pub encoding: Option<At<String>>,
    /// Characters per token, such as 4.0: an approximation, and marked as one.
    pub chars_per_token: Option<At<f64>>,
}
