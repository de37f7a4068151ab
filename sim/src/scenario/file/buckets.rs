//! `[buckets]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// Token buckets of the report, by their upper bounds, ascending; a last bucket without bound is added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketsFile {
    /// Bounds of the input-token buckets [tokens]; [512, 2048, 8192, 32768] by default.
    pub input: Option<At<Vec<u32>>>,
    /// Bounds of the output-token buckets [tokens]; [64, 256, 1024, 4096] by default.
    pub output: Option<At<Vec<u32>>>,
}
