//! Hand-made deployments for the tests of this module.

use std::collections::BTreeMap;

use crate::architecture::{Architecture, Attention};
use crate::cost::BatchShape;
use crate::deployment::Deployment;
use crate::gpu::Gpu;

/// NVIDIA H100 SXM: the vendor's dense peaks.
pub(crate) fn h100() -> Gpu {
    Gpu {
        name: "h100-sxm".into(),
        title: "NVIDIA H100 SXM 80GB".into(),
        memory_bytes: 84_930_000_000,
        memory_bandwidth: 3.35e12,
        bf16_flops: 989e12,
        fp8_flops: Some(1978e12),
        int8_ops: Some(1978e12),
        fp4_flops: None,
        link_bandwidth: 450e9,
        l2_bytes: 50 << 20,
        l2_bandwidth: None,
        power_w: 700.0,
        price_per_hour: 2.5,
        source: BTreeMap::new(),
    }
}

/// A GPU with other memory bandwidth and peak.
pub(crate) fn gpu(name: &str, memory_bandwidth: f64, bf16_flops: f64, fp8_flops: Option<f64>) -> Gpu {
    Gpu { name: name.into(), memory_bandwidth, bf16_flops, fp8_flops, ..h100() }
}

/// meta-llama/Llama-3.1-8B.
pub(crate) fn llama_8b() -> Architecture {
    Architecture {
        name: "llama-3.1-8b".into(),
        layers: 32,
        hidden: 4096,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        intermediate: 14_336,
        vocab: 128_256,
        tied_embeddings: false,
        attention: Attention::Full,
        moe: None,
        max_context: 131_072,
        norm_across_ranks: false,
        fp8_blocks: false,
        approximate: None,
    }
}

/// meta-llama/Llama-3.1-70B.
pub(crate) fn llama_70b() -> Architecture {
    Architecture { name: "llama-3.1-70b".into(), layers: 80, hidden: 8192, heads: 64, intermediate: 28_672, ..llama_8b() }
}

/// Qwen/Qwen3-32B.
pub(crate) fn qwen3_32b() -> Architecture {
    Architecture {
        name: "qwen3-32b".into(),
        layers: 64,
        hidden: 5120,
        heads: 64,
        intermediate: 25_600,
        vocab: 151_936,
        max_context: 40_960,
        ..llama_8b()
    }
}

/// [`Deployment::plain`], of contexts up to 32,768 tokens.
pub(crate) fn on(gpu: Gpu, model: Architecture, tensor_parallel: u32) -> Deployment {
    Deployment { max_model_len: 32_768, ..Deployment::plain(model, gpu, tensor_parallel) }
}

/// `n` decodes of the same context.
pub(crate) fn decodes(n: u32, context: u64) -> BatchShape {
    BatchShape {
        decodes: n,
        decode_context: u64::from(n) * context,
        decode_longest: context,
        decode_shortest: context,
        sampled: n,
        ..BatchShape::default()
    }
}

/// `chunks` whole chunks of `tokens` after `history`.
pub(crate) fn prefill(chunks: u32, history: u64, tokens: u64) -> BatchShape {
    let mut batch = BatchShape::default();
    (0..chunks).for_each(|_| batch.add_chunk(history, tokens, true));
    batch
}

/// A small deterministic generator (splitmix64) for property tests.
pub(crate) struct Draws(pub u64);

impl Draws {
    /// Uniform in `0..below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Holds a model's pieces against its iterations: at every step of drawn pieces, bit for bit, and over the seam to the next.
pub(crate) fn pieces_agree(model: &dyn super::CostModel, seed: u64) {
    let mut draws = Draws(seed);
    for _ in 0..400 {
        let n = 1 + draws.below(600) as u32;
        let spread = 1 + draws.below(40_000);
        let mut batch = decodes(n, 1 + draws.below(spread));
        if n > 1 {
            // Contexts from `shortest` to `longest`, with some sum between the least and the most that these allow.
            let longest = batch.decode_shortest + draws.below(2 * spread);
            let (least, most) =
                (batch.decode_shortest * u64::from(n - 1) + longest, longest * u64::from(n - 1) + batch.decode_shortest);
            batch.decode_context = least + draws.below(most - least + 1);
            batch.decode_longest = longest;
        }
        for _ in 0..4 {
            let piece = model.decode_piece(&batch);
            let span = piece.steps.min(1 << 16);
            let probes = [0, 1, 2, span / 2, span.saturating_sub(1), span, draws.below(span + 1)];
            for ahead in probes.into_iter().filter(|&ahead| ahead <= span) {
                let later = batch.later(ahead);
                assert_eq!(model.iteration(&later).0, piece.first.0 + piece.growth_ps * ahead, "{later:?} {piece:?}");
            }
            batch = batch.later(span + 1);
        }
    }
}

/// Whether more tokens, history, context or sequences (of the batch's mean context) ever cost less, beyond a relative `slack`.
pub(crate) fn monotone(model: &dyn super::CostModel, seed: u64, slack: f64) {
    let mut draws = Draws(seed);
    for _ in 0..4000 {
        let (n, mean, chunk) = (draws.below(520) as u32, 1 + draws.below(20_000), draws.below(9000));
        let history = draws.below(20_000);
        let make = |n: u32, mean: u64, history: u64, chunk: u64| {
            let mut batch = decodes(n, mean);
            if chunk > 0 {
                batch.add_chunk(history, chunk, false);
            }
            batch
        };
        let base = model.iteration(&make(n, mean, history, chunk));
        let more = 1 + draws.below(300);
        for (what, batch) in [
            ("decodes", make(n + more as u32, mean, history, chunk)),
            ("context", make(n, mean + more, history, chunk)),
            ("history", make(n, mean, history + more, chunk)),
            ("chunk", make(n, mean, history, chunk + more)),
        ] {
            let least = (base.0 as f64 * (1.0 - slack)) as u64;
            assert!(model.iteration(&batch).0 >= least, "{what} + {more} of n {n} mean {mean} history {history} chunk {chunk}");
        }
    }
}
