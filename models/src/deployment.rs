//! One replica: a model on a group of GPUs with the engine's settings that decide memory and time.

use crate::architecture::Architecture;
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
}

/// Number format of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvDtype {
    /// 2 bytes.
    Bf16,
    /// 1 byte.
    Fp8,
}

/// A replica's model, hardware and layout.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The model.
    pub model: Architecture,
    /// The GPU; all of a replica's are alike.
    pub gpu: Gpu,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
    /// Whether experts are spread over the tensor-parallel ranks whole (vLLM's `--enable-expert-parallel`).
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
    /// The engine's own block count (`num_gpu_blocks`), which wins over any formula.
    pub num_gpu_blocks: Option<u32>,
}

impl Deployment {
    /// GPUs of one replica.
    pub fn gpus(&self) -> u32 {
        self.tensor_parallel * self.pipeline_parallel
    }
}
