//! What vLLM does when it is not told otherwise, by release and GPU.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::capture_sizes::CaptureSizes;
use crate::gpu::Gpu;

const GIB: u64 = 1 << 30;

/// A release of the engine, such as 0.24. Patch levels decide nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl EngineVersion {
    /// What is simulated when a scenario names no release.
    pub const DEFAULT: EngineVersion = EngineVersion::new(0, 24);

    /// Release `major.minor`.
    pub const fn new(major: u32, minor: u32) -> EngineVersion {
        EngineVersion { major, minor }
    }

    /// Whether this is release 0.`minor` or later.
    pub fn since(self, minor: u32) -> bool {
        self >= EngineVersion::new(0, minor)
    }
}

impl Default for EngineVersion {
    fn default() -> EngineVersion {
        EngineVersion::DEFAULT
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no engine version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no engine version: write it as `0.24` or `0.24.1`")]
pub struct VersionError(String);

impl FromStr for EngineVersion {
    type Err = VersionError;

    /// Reads `0.24`, and ignores what follows the second number: `v0.24.1`, `0.24.0rc1+cu130`.
    fn from_str(text: &str) -> Result<EngineVersion, VersionError> {
        let error = || VersionError(text.to_owned());
        let trimmed = text.trim();
        let mut parts = trimmed.strip_prefix('v').unwrap_or(trimmed).split('.');
        let mut number = || {
            let part = parts.next().ok_or_else(error)?;
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
            digits.parse::<u32>().map_err(|_| error())
        };
        Ok(EngineVersion { major: number()?, minor: number()? })
    }
}

/// vLLM's defaults for its API server on one GPU type.
///
/// Source: the tables *Defaults* and *Releases* of the installed sources, vLLM 0.9 to 0.32.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineDefaults {
    /// Share of the memory the engine may take.
    pub gpu_memory_utilization: f64,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Most sequences running at once.
    pub max_num_seqs: u32,
    /// Tokens per KV block on CUDA.
    pub block_size: u32,
    /// Schedule step n+1 while step n runs.
    pub async_scheduling: bool,
    /// Admit a request only if blocks for all its tokens are free (`scheduler_reserve_full_isl`).
    pub reserve_full_isl: bool,
    /// Freed blocks without a hash go to the head of the free list.
    pub free_unhashed_first: bool,
    /// The long-prefill threshold is ignored while only one request is alive.
    pub lone_prefill_uncapped: bool,
    /// The largest CUDA graph the engine captures when the other limits allow it [tokens].
    pub cuda_graph_tokens: u32,
}

impl EngineDefaults {
    /// The defaults of release `version` on `gpu`, for a model of at most `max_model_len` tokens in `pipeline_parallel` stages.
    ///
    /// The token budget is capped at `max_num_seqs * max_model_len` and the sequences at the token budget, as the engine does it.
    pub fn of(version: EngineVersion, gpu: &Gpu, pipeline_parallel: u32, max_model_len: u32) -> EngineDefaults {
        let seqs = gpu.default_max_num_seqs();
        let tokens = gpu.default_max_num_batched_tokens(version).min(seqs.saturating_mul(max_model_len));
        EngineDefaults {
            gpu_memory_utilization: if version.since(20) { 0.92 } else { 0.90 },
            max_num_batched_tokens: tokens,
            max_num_seqs: seqs.min(tokens),
            block_size: 16,
            async_scheduling: version.since(14) && pipeline_parallel <= 1,
            reserve_full_isl: version.since(20),
            free_unhashed_first: version.since(26),
            lone_prefill_uncapped: version.since(30),
            cuda_graph_tokens: CaptureSizes::limit(version, gpu),
        }
    }
}

impl Gpu {
    /// Default token budget of a step for the API server. Source: vLLM 0.32, table *Defaults*; the engine goes by the memory it
    /// sees and by `a100` in the device's name.
    pub fn default_max_num_batched_tokens(&self, version: EngineVersion) -> u32 {
        match self.memory_bytes {
            memory if memory >= 160 * GIB && version.since(30) => 16384,
            _ if self.is_large() => 8192,
            _ => 2048,
        }
    }

    /// Default of most sequences running at once for the API server. Source as for the token budget.
    pub fn default_max_num_seqs(&self) -> u32 {
        if self.is_large() { 1024 } else { 256 }
    }

    /// Whether the engine takes this for a large GPU: 70 GiB or more, A100 left out.
    fn is_large(&self) -> bool {
        self.memory_bytes >= 70 * GIB && !self.title.to_ascii_lowercase().contains("a100")
    }

    /// Whether this is of NVIDIA's Blackwell generation, told by the name.
    pub(crate) fn is_blackwell(&self) -> bool {
        let title = self.title.to_ascii_lowercase();
        ["b200", "b300", "blackwell"].iter().any(|mark| title.contains(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let version = |text: &str| text.parse::<EngineVersion>();
        assert_eq!(version("0.24"), Ok(EngineVersion::new(0, 24)));
        assert_eq!(version(" v0.24.0rc1+cu130 "), Ok(EngineVersion::new(0, 24)));
        assert_eq!(version("0.30rc2"), Ok(EngineVersion::new(0, 30)));
        assert!(version("0.9").unwrap() < version("0.24").unwrap() && version("1.0").unwrap() > version("0.32").unwrap());
        for text in ["", "0", "0.", "latest", "0.x", ".24", "-1.2", "0.99999999999"] {
            assert_eq!(version(text), Err(VersionError(text.to_owned())));
        }
        assert_eq!(EngineVersion::default().to_string(), "0.24");
    }

    #[test]
    fn limits_follow_the_table_of_defaults() {
        let limits = |gpu: &str, minor| {
            let defaults = EngineDefaults::of(EngineVersion::new(0, minor), &Gpu::find(gpu).unwrap(), 1, 131_072);
            (defaults.max_num_batched_tokens, defaults.max_num_seqs, defaults.cuda_graph_tokens)
        };
        for gpu in ["h100-sxm", "h100-pcie", "h200-sxm"] {
            assert_eq!((limits(gpu, 24), limits(gpu, 32)), ((8192, 1024, 512), (8192, 1024, 512)));
        }
        assert_eq!((limits("b200", 24), limits("b200", 30)), ((8192, 1024, 512), (16384, 1024, 1024)));
        for gpu in ["a100-80gb", "l40s", "l4", "a10g", "rtx-4090"] {
            assert_eq!(limits(gpu, 32), (2048, 256, 512));
        }
    }

    #[test]
    fn releases_change_what_the_table_says() {
        let of = |minor, stages| EngineDefaults::of(EngineVersion::new(0, minor), &Gpu::find("h100").unwrap(), stages, 8192);
        assert_eq!((of(18, 1).gpu_memory_utilization, of(19, 1).gpu_memory_utilization), (0.90, 0.90));
        assert_eq!((of(20, 1).gpu_memory_utilization, of(24, 1).gpu_memory_utilization), (0.92, 0.92));
        assert_eq!((of(13, 1).async_scheduling, of(16, 1).async_scheduling, of(24, 2).async_scheduling), (false, true, false));
        assert_eq!((of(19, 1).reserve_full_isl, of(20, 1).reserve_full_isl), (false, true));
        assert_eq!((of(24, 1).free_unhashed_first, of(26, 1).free_unhashed_first), (false, true));
        assert_eq!((of(26, 1).lone_prefill_uncapped, of(30, 1).lone_prefill_uncapped), (false, true));
    }

    #[test]
    fn short_models_cap_the_limits() {
        let defaults = EngineDefaults::of(EngineVersion::DEFAULT, &Gpu::find("l4").unwrap(), 1, 4);
        assert_eq!((defaults.max_num_batched_tokens, defaults.max_num_seqs), (1024, 256));
        let defaults = EngineDefaults::of(EngineVersion::DEFAULT, &Gpu::find("l4").unwrap(), 1, 1);
        assert_eq!((defaults.max_num_batched_tokens, defaults.max_num_seqs), (256, 256));
    }
}
