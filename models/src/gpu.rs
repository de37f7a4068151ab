//! GPUs: peak arithmetic, memory, links, power and price, each with its source.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One GPU as a serving engine sees it. Rates are dense (no sparsity) peaks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Catalogue name, such as `h100-sxm`.
    pub name: String,
    /// The vendor's name.
    pub title: String,
    /// Memory the driver gives to a process [bytes].
    pub memory_bytes: u64,
    /// Memory bandwidth [bytes/s].
    pub memory_bandwidth: f64,
    /// bf16/fp16 tensor peak [FLOP/s].
    pub bf16_flops: f64,
    /// fp8 tensor peak [FLOP/s]; absent where the hardware has none.
    pub fp8_flops: Option<f64>,
    /// int8 tensor peak [op/s].
    pub int8_ops: Option<f64>,
    /// fp4 tensor peak [FLOP/s].
    pub fp4_flops: Option<f64>,
    /// Bandwidth to its peers in one node, one direction [bytes/s].
    pub link_bandwidth: f64,
    /// Level-2 cache [bytes]: working sets that fit it can beat the memory bandwidth.
    pub l2_bytes: u64,
    /// Board power [W].
    pub power_w: f64,
    /// On-demand price of one GPU [USD/h].
    pub price_per_hour: f64,
    /// Per field: where the number comes from, and when it was read.
    pub source: BTreeMap<String, String>,
}
