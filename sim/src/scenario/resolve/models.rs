//! The only calls of a scenario into the catalogues, the memory plan and the cost models.

use std::sync::Arc;

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{CostInfo, CostModel, HostOverhead};
use tokentide_models::deployment::Deployment;
use tokentide_models::gpu::Gpu;

pub(super) use stand_in::{CostChoice, EngineDefaults, EngineVersion};

/// The GPU of a name or alias.
pub(super) fn gpu(name: &str) -> Result<Gpu, String> {
    stand_in::find_gpu(name) // Gpu::find(name).map_err(|error| error.to_string())
}

/// The model of a catalogue name or alias.
pub(super) fn architecture(name: &str) -> Result<Architecture, String> {
    stand_in::find_architecture(name) // Architecture::find(name).map_err(|error| error.to_string())
}

/// A model of a Hugging Face `config.json`.
pub(super) fn architecture_from_config(text: &str, name: &str) -> Result<Architecture, String> {
    stand_in::from_config_json(text, name) // Architecture::from_config_json(text, name).map_err(|error| error.to_string())
}

/// The engine's defaults; without a GPU (whose name was wrong, so that nothing will be run) those of some other.
pub(super) fn engine_defaults(
    version: EngineVersion,
    gpu: Option<&Gpu>,
    pipeline_parallel: u32,
    max_model_len: u32,
) -> EngineDefaults {
    // let gpu = gpu.unwrap_or(&Gpu::all()[0]);
    EngineDefaults::of(version, gpu, pipeline_parallel, max_model_len)
}

/// KV blocks as the engine counts them, the null block included.
pub(super) fn num_gpu_blocks(deployment: &Deployment) -> Result<u32, String> {
    stand_in::plan(deployment) // memory::plan(deployment).map(|plan| plan.num_gpu_blocks).map_err(|error| error.to_string())
}

/// Duration of iterations.
pub(super) fn cost(
    deployment: &Deployment,
    choice: &CostChoice,
    host: Option<HostOverhead>,
    async_scheduling: bool,
) -> Result<(Arc<dyn CostModel>, CostInfo), String> {
    // cost::build(deployment, choice, host, async_scheduling).map_err(|error| error.to_string())
    stand_in::build(deployment, choice, host, async_scheduling)
}

/// STAND-IN, to be deleted at the merge: the parts of the models crate that are written at the same time, just enough to resolve
/// scenarios of one GPU and one model. The comments above say what takes its place.
mod stand_in {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use tokentide_models::architecture::{Architecture, Attention};
    use tokentide_models::cost::{BatchShape, CostInfo, CostModel, DecodePiece, HostOverhead};
    use tokentide_models::deployment::Deployment;
    use tokentide_models::gpu::Gpu;
    use tokentide_models::units::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct EngineVersion {
        major: u32,
        minor: u32,
    }

    impl EngineVersion {
        pub const DEFAULT: EngineVersion = EngineVersion::new(0, 24);

        pub const fn new(major: u32, minor: u32) -> EngineVersion {
            EngineVersion { major, minor }
        }
    }

    pub struct EngineDefaults {
        pub gpu_memory_utilization: f64,
        pub max_num_batched_tokens: u32,
        pub max_num_seqs: u32,
        pub block_size: u32,
        pub async_scheduling: bool,
        pub reserve_full_isl: bool,
        pub free_unhashed_first: bool,
        pub lone_prefill_uncapped: bool,
    }

    impl EngineDefaults {
        pub fn of(version: EngineVersion, _gpu: Option<&Gpu>, pipeline_parallel: u32, max_model_len: u32) -> EngineDefaults {
            let since = |minor| version >= EngineVersion::new(0, minor);
            let tokens = 8192.min(1024u32.saturating_mul(max_model_len));
            EngineDefaults {
                gpu_memory_utilization: if since(20) { 0.92 } else { 0.90 },
                max_num_batched_tokens: tokens,
                max_num_seqs: 1024.min(tokens),
                block_size: 16,
                async_scheduling: since(16) && pipeline_parallel <= 1,
                reserve_full_isl: since(20),
                free_unhashed_first: since(26),
                lone_prefill_uncapped: since(30),
            }
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    pub enum CostChoice {
        Auto,
        Profile(String),
        ProfileFile(PathBuf),
        Roofline,
    }

    pub fn find_gpu(name: &str) -> Result<Gpu, String> {
        if name != "h100-sxm" {
            return Err(format!("unknown GPU `{name}`, did you mean `h100-sxm`?"));
        }
        Ok(Gpu {
            name: name.to_owned(),
            title: "NVIDIA H100 SXM 80GB".to_owned(),
            memory_bytes: 85_045_870_592,
            memory_bandwidth: 3.35e12,
            bf16_flops: 989e12,
            fp8_flops: Some(1979e12),
            int8_ops: Some(1979e12),
            fp4_flops: None,
            link_bandwidth: 450e9,
            l2_bytes: 50 << 20,
            power_w: 700.0,
            price_per_hour: 3.0,
            source: BTreeMap::new(),
        })
    }

    pub fn find_architecture(name: &str) -> Result<Architecture, String> {
        if name != "llama-3.1-8b" {
            return Err(format!("unknown model `{name}`, did you mean `llama-3.1-8b`?"));
        }
        Ok(Architecture {
            name: name.to_owned(),
            layers: 32,
            hidden: 4096,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            intermediate: 14336,
            vocab: 128256,
            tied_embeddings: false,
            attention: Attention::Full,
            moe: None,
            max_context: 131072,
            approximate: None,
        })
    }

    pub fn from_config_json(text: &str, name: &str) -> Result<Architecture, String> {
        let config: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        let layers = config["num_hidden_layers"].as_u64().ok_or_else(|| format!("{name}: `num_hidden_layers` is missing"))?;
        let shape = find_architecture("llama-3.1-8b")?;
        Ok(Architecture { name: name.to_owned(), layers: layers as u32, ..shape })
    }

    pub fn plan(deployment: &Deployment) -> Result<u32, String> {
        let free = deployment.gpu.memory_bytes as f64 * deployment.gpu_memory_utilization - 18e9;
        let block = 131_072.0 * f64::from(deployment.block_size);
        let blocks = deployment.num_gpu_blocks.unwrap_or((free / block).max(0.0) as u32);
        if blocks < deployment.max_model_len / deployment.block_size {
            return Err("one sequence of max_model_len does not fit the KV cache".to_owned());
        }
        Ok(blocks)
    }

    struct Linear(Duration);

    impl CostModel for Linear {
        fn iteration(&self, batch: &BatchShape) -> Duration {
            self.0 + Duration(batch.tokens() * 40_000_000 + batch.decode_context * 40_000)
        }

        fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
            DecodePiece { first: self.iteration(batch), slope_ps: 40_000, until: u64::MAX }
        }
    }

    pub fn build(
        _deployment: &Deployment,
        choice: &CostChoice,
        host: Option<HostOverhead>,
        _async_scheduling: bool,
    ) -> Result<(Arc<dyn CostModel>, CostInfo), String> {
        if let CostChoice::Profile(name) = choice {
            return Err(format!("no profile is named {name}"));
        }
        let default =
            HostOverhead { step_us: 300.0, schedule_us: 60.0, schedule_sequence_us: 8.0, request_us: 5_000.0, token_us: 100.0 };
        let host = host.unwrap_or(default);
        let info = CostInfo {
            kind: "roofline",
            calibrated: false,
            profile: None,
            error: None,
            source: "stand-in".to_owned(),
            ranges: None,
            host,
        };
        Ok((Arc::new(Linear(Duration::from_micros_f64(5_000.0 + host.step_us))), info))
    }
}
