//! `[engine]`

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Deserialize as DeriveDeserialize, Serialize, Serializer};

use crate::scenario::at::At;
use crate::scenario::{Policy, SchedulerName};

/// The engine's settings, by vLLM's own flag names. What is not given is the default of `version` on this GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineFile {
    /// Release of vLLM whose behaviour and defaults are simulated, such as "0.24".
    pub version: Option<At<Version>>,
    /// Which scheduler: "vllm" (default: vLLM v1, all that is said below), "sarathi" or "vllm-2023", for comparisons: no prefix
    /// cache, priorities or timeouts.
    pub scheduler: Option<At<SchedulerName>>,
    /// Most sequences running at once; 128 by default for other schedulers than "vllm", whose batches hold this over the pipeline
    /// stages.
    #[schemars(range(min = 1))]
    pub max_num_seqs: Option<At<u32>>,
    /// Token budget of a step [tokens]. Of "sarathi" the chunk size, 512 by default; of "vllm-2023" the limit of a batch of
    /// prompts, padded to its longest, 4096 by default.
    #[schemars(range(min = 1))]
    pub max_num_batched_tokens: Option<At<u32>>,
    /// Longest sequence, prompt and output [tokens]; the model's by default.
    #[schemars(range(min = 1))]
    pub max_model_len: Option<At<u32>>,
    /// Share of the GPU's memory that the engine may take, above 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub gpu_memory_utilization: Option<At<f64>>,
    /// Reuse the cache of equal prefixes; true by default.
    pub enable_prefix_caching: Option<At<bool>>,
    /// Split prompts over steps; true by default.
    pub enable_chunked_prefill: Option<At<bool>>,
    /// Order of the waiting queue: "fcfs" (default) or "priority".
    pub scheduling_policy: Option<At<Policy>>,
    /// Schedule a step while the one before runs; on by default since 0.14 (vLLM pull request 27614) without pipeline parallelism.
    pub async_scheduling: Option<At<bool>>,
    /// Cap on the tokens of one request's chunk [tokens]; 0 (default) is off.
    pub long_prefill_token_threshold: Option<At<u32>>,
    /// Number format of the KV cache: "auto" (bf16), "bf16" or "fp8".
    pub kv_cache_dtype: Option<At<KvName>>,
    /// Tokens per KV block; 16 by default.
    #[schemars(range(min = 1))]
    pub block_size: Option<At<u32>>,
    /// KV blocks of a replica as the engine counts them (`num_gpu_blocks`), instead of what memory allows.
    #[schemars(range(min = 2))]
    pub num_gpu_blocks_override: Option<At<u32>>,
    /// Share of the KV blocks kept free when a request is admitted while others run, 0 to below 1; 0 by default, 0.01 for other
    /// schedulers than "vllm".
    #[schemars(range(min = 0, max = 1))]
    pub watermark: Option<At<f64>>,
    /// Requests that may wait on one replica; beyond it they are rejected. No limit by default.
    #[schemars(range(min = 1))]
    pub max_num_queued_reqs: Option<At<u32>>,
    /// Run without CUDA graphs, so that decode batches are not padded; false by default.
    pub enforce_eager: Option<At<bool>>,
    /// Tokens of the largest CUDA graph; by default the least of 512 (1,024 on Blackwell since 0.30), twice `max_num_seqs` and the
    /// token budget. Larger steps wait for the launches of their kernels.
    #[schemars(range(min = 1))]
    pub max_cudagraph_capture_size: Option<At<u32>>,
    /// Admit a request only if blocks for its whole prompt are free; true by default since 0.20.
    pub scheduler_reserve_full_isl: Option<At<bool>>,
}

/// Number format of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvName {
    /// That of the model: bf16.
    Auto,
    /// 2 bytes.
    #[serde(alias = "bfloat16", alias = "fp16", alias = "float16")]
    Bf16,
    /// 1 byte.
    #[serde(alias = "fp8_e4m3", alias = "fp8_e5m2")]
    Fp8,
}

/// A release of vLLM: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Reads `0.24`, `v0.24` or `0.24.1`.
fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    let version = Version(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(version).filter(|_| parts.next().is_none_or(|p| p.parse::<u32>().is_ok()) && parts.next().is_none())
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        let version = parse_version(&text)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a release: expected such as \"0.24\"")))?;
        if version < Version(0, 9) {
            return Err(D::Error::custom(format!("vLLM {version} is not simulated: the v1 scheduler is the default since 0.9")));
        }
        Ok(version)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A release of vLLM.",
            "pattern": r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?$",
            "examples": ["0.24"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_by_number() {
        assert_eq!(parse_version("v0.24.1"), Some(Version(0, 24)));
        assert!(parse_version("0.9") < parse_version("0.10"));
        for wrong in ["", "24", "0.x", "0.24.1.2", "0.24.rc"] {
            assert_eq!(parse_version(wrong), None, "{wrong}");
        }
    }
}
