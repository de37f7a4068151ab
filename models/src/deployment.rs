//! One replica: a model on a group of GPUs with the engine's settings that decide memory and time.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::architecture::Architecture;
use crate::engine_defaults::EngineVersion;
use crate::gpu::Gpu;

/// Number format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDtype {
    /// 2 bytes.
    Bf16,
    /// 1 byte, fp8 arithmetic where the GPU has it.
    Fp8,
    /// 1 byte, int8 arithmetic.
    Int8,
    /// 4 bits and block scales, weights only.
    Int4,
    /// 4.25 bits on the routed experts, bf16 elsewhere (gpt-oss).
    Mxfp4,
    /// 4.5 bits, fp4 arithmetic where the GPU has it.
    Nvfp4,
}

/// Number format of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvDtype {
    /// 2 bytes.
    Bf16,
    /// 1 byte.
    Fp8,
}

/// A text that names no number format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {kind} number format `{text}`; known: {known}")]
pub struct DtypeError {
    kind: &'static str,
    text: String,
    known: &'static str,
}

impl WeightDtype {
    /// All of them.
    pub const ALL: [WeightDtype; 6] =
        [WeightDtype::Bf16, WeightDtype::Fp8, WeightDtype::Int8, WeightDtype::Int4, WeightDtype::Mxfp4, WeightDtype::Nvfp4];

    /// Its name in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            WeightDtype::Bf16 => "bf16",
            WeightDtype::Fp8 => "fp8",
            WeightDtype::Int8 => "int8",
            WeightDtype::Int4 => "int4",
            WeightDtype::Mxfp4 => "mxfp4",
            WeightDtype::Nvfp4 => "nvfp4",
        }
    }
}

impl KvDtype {
    /// All of them.
    pub const ALL: [KvDtype; 2] = [KvDtype::Bf16, KvDtype::Fp8];

    /// Its name in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            KvDtype::Bf16 => "bf16",
            KvDtype::Fp8 => "fp8",
        }
    }

    /// Size of one number [bytes].
    pub fn bytes(self) -> u64 {
        match self {
            KvDtype::Bf16 => 2,
            KvDtype::Fp8 => 1,
        }
    }
}

impl fmt::Display for WeightDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for KvDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WeightDtype {
    type Err = DtypeError;

    /// Reads a name, whatever the case; fp16 and its other spellings mean bf16, which has the same size and speed.
    fn from_str(text: &str) -> Result<WeightDtype, DtypeError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "bf16" | "bfloat16" | "fp16" | "float16" | "half" => Ok(WeightDtype::Bf16),
            "fp8" | "float8" | "fp8_e4m3" => Ok(WeightDtype::Fp8),
            "int8" | "w8a8" => Ok(WeightDtype::Int8),
            "int4" | "awq" | "gptq" | "w4a16" => Ok(WeightDtype::Int4),
            "mxfp4" => Ok(WeightDtype::Mxfp4),
            "nvfp4" => Ok(WeightDtype::Nvfp4),
            _ => Err(DtypeError { kind: "weight", text: text.to_owned(), known: "bf16, fp8, int8, int4, mxfp4, nvfp4" }),
        }
    }
}

impl FromStr for KvDtype {
    type Err = DtypeError;

    /// Reads a name as `--kv-cache-dtype` takes it, whatever the case; `auto` is the model's own, bf16.
    fn from_str(text: &str) -> Result<KvDtype, DtypeError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" | "bf16" | "bfloat16" | "fp16" | "float16" | "half" => Ok(KvDtype::Bf16),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Ok(KvDtype::Fp8),
            _ => Err(DtypeError { kind: "KV cache", text: text.to_owned(), known: "auto, bf16, fp8" }),
        }
    }
}

/// Bytes of an activation: bf16, whatever the weights are.
pub const ACTIVATION_BYTES: f64 = 2.0;

/// A replica's model, hardware and layout.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Release of the engine.
    pub engine_version: EngineVersion,
    /// The model.
    pub model: Architecture,
    /// The GPU; all of a replica's are alike.
    pub gpu: Gpu,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
    /// Data-parallel ranks (vLLM's `--data-parallel-size`): engine cores with a scheduler and a KV cache each. Attention and
    /// dense layers are whole on every one of them; the experts of a mixture lie over all ranks together.
    pub data_parallel: u32,
    /// Whether experts are spread over the tensor- and data-parallel ranks whole (vLLM's `--enable-expert-parallel`).
    pub expert_parallel: bool,
    /// Number format of weights.
    pub weights: WeightDtype,
    /// Number format of the KV cache.
    pub kv: KvDtype,
    /// Tokens per KV block.
    pub block_size: u32,
    /// Share of the memory the engine may take.
    pub gpu_memory_utilization: f64,
    /// Longest sequence served [tokens].
    pub max_model_len: u32,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Most sequences running at once.
    pub max_num_seqs: u32,
    /// Whether decode batches run as CUDA graphs, and so at padded sizes.
    pub cuda_graphs: bool,
    /// The largest CUDA graph, where it is not the engine's default (`--max-cudagraph-capture-size`) [tokens].
    pub max_cudagraph_capture_size: Option<u32>,
    /// The engine's own block count (`num_gpu_blocks`), which wins over any formula.
    pub num_gpu_blocks: Option<u32>,
}

impl Deployment {
    /// `model` in bf16 on the tensor-parallel ranks of one engine core of [`EngineVersion::DEFAULT`], with CUDA graphs, up to 8,192
    /// tokens and 512 sequences in a step, and 0.9 of the memory: the starting point of deployments that no scenario describes. An
    /// engine's own defaults are [`crate::engine_defaults::EngineDefaults`].
    pub fn plain(model: Architecture, gpu: Gpu, tensor_parallel: u32) -> Deployment {
        Deployment {
            engine_version: EngineVersion::DEFAULT,
            max_model_len: model.max_context,
            model,
            gpu,
            tensor_parallel,
            pipeline_parallel: 1,
            data_parallel: 1,
            expert_parallel: false,
            weights: WeightDtype::Bf16,
            kv: KvDtype::Bf16,
            block_size: 16,
            gpu_memory_utilization: 0.9,
            max_num_batched_tokens: 8192,
            max_num_seqs: 512,
            cuda_graphs: true,
            max_cudagraph_capture_size: None,
            num_gpu_blocks: None,
        }
    }

    /// How the model lies on the GPUs, such as `tp4`, `tp8-pp2` or `tp1-dp2-ep`.
    pub fn layout(&self) -> String {
        let mut layout = format!("tp{}", self.tensor_parallel);
        if self.pipeline_parallel > 1 {
            layout += &format!("-pp{}", self.pipeline_parallel);
        }
        if self.data_parallel > 1 {
            layout += &format!("-dp{}", self.data_parallel);
        }
        if self.expert_parallel {
            layout += "-ep";
        }
        layout
    }

    /// Whether the ranks hold whole experts, so that they differ in what they compute: a dense model has none to spread.
    pub fn whole_experts(&self) -> bool {
        self.expert_parallel && self.tensor_parallel > 1 && self.model.moe.is_some()
    }

    /// GPUs of one replica.
    pub fn gpus(&self) -> u32 {
        self.tensor_parallel.saturating_mul(self.pipeline_parallel).saturating_mul(self.data_parallel)
    }

    /// Whether the data-parallel ranks run every step together: those of a mixture do, since its experts lie over all of them;
    /// those of a dense model know nothing of each other. Source: vLLM's data-parallel deployment guide.
    pub fn lockstep(&self) -> bool {
        self.data_parallel > 1 && self.model.moe.is_some()
    }

    /// Ranks that a mixture's experts lie over: `tensor_parallel * data_parallel`, sliced or, with `expert_parallel`, whole.
    pub fn expert_ranks(&self) -> u32 {
        self.tensor_parallel.saturating_mul(self.data_parallel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_names_and_gpus() {
        let mut deployment = crate::cost::testing::on(crate::cost::testing::h100(), crate::cost::testing::llama_8b(), 2);
        assert_eq!((deployment.layout().as_str(), deployment.gpus()), ("tp2", 2));
        (deployment.tensor_parallel, deployment.data_parallel, deployment.expert_parallel) = (1, 2, true);
        assert_eq!((deployment.layout().as_str(), deployment.gpus(), deployment.lockstep()), ("tp1-dp2-ep", 2, false));
        (deployment.tensor_parallel, deployment.pipeline_parallel) = (8, 2);
        assert_eq!((deployment.layout().as_str(), deployment.gpus()), ("tp8-pp2-dp2-ep", 32));
    }

    #[test]
    fn names_of_number_formats_are_read_back() {
        for dtype in WeightDtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
        }
        for dtype in KvDtype::ALL {
            assert_eq!(dtype.to_string().to_uppercase().parse(), Ok(dtype));
        }
        assert_eq!("auto".parse(), Ok(KvDtype::Bf16));
        assert!("auto".parse::<WeightDtype>().is_err());
        let error = "fp5".parse::<KvDtype>().unwrap_err().to_string();
        assert_eq!(error, "unknown KV cache number format `fp5`; known: auto, bf16, fp8");
    }
}
