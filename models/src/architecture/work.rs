//! What a token costs: FLOPs, KV bytes, experts read. Whole model, before any split over GPUs.

use super::parameters::product;
use super::{Architecture, Attention};
use crate::deployment::KvDtype;

/// The two ways in which latent attention is computed; for other attention they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Keys and values are expanded to all heads.
    Prefill,
    /// Queries are projected onto the compressed vectors, which are attended to directly.
    Decode,
}

impl Architecture {
    /// KV cache of one token in one layer [bytes]: `2 * kv_heads * head_dim * b`, or `(kv_rank + rope_dim) * b` for latent
    /// attention. Source: vLLM's `AttentionSpec` and `MLAAttentionSpec` page sizes.
    pub fn kv_bytes_per_token_layer(&self, kv: KvDtype) -> u64 {
        let numbers = match self.attention {
            Attention::Full | Attention::Sliding { .. } => product(&[2, self.kv_heads, self.head_dim]),
            Attention::Latent { kv_rank, rope_dim, .. } => u64::from(kv_rank) + u64::from(rope_dim),
        };
        numbers.saturating_mul(kv.bytes())
    }

    /// KV cache of one token in all layers [bytes]. Local layers count like the others: see [`Attention::Sliding`].
    pub fn kv_bytes_per_token(&self, kv: KvDtype) -> u64 {
        self.kv_bytes_per_token_layer(kv).saturating_mul(u64::from(self.layers))
    }

    /// FLOPs of the matrix products of one token through all layers: 2 per active weight of attention, feed-forward and router.
    /// The LM head is apart, since only sampled tokens pass it. Source: a multiply and an add per weight.
    pub fn flops_per_token(&self) -> f64 {
        let parameters = self.parameters();
        let active = parameters.attention as f64
            + parameters.dense_ffn as f64
            + parameters.shared_experts as f64
            + parameters.router as f64
            + parameters.active_experts as f64;
        2.0 * active
    }

    /// FLOPs of the LM head for one sampled token: `2 * vocab * hidden`, tied or not.
    pub fn lm_head_flops(&self) -> f64 {
        2.0 * product(&[self.vocab, self.hidden]) as f64
    }

    /// Attention FLOPs of one (query, key) pair in one layer, all heads: `2 (d_qk + d_v)` per head for score and weighted sum.
    /// Source: Vaswani et al. 2017; for latent attention DeepSeek-V2 (2024), section 2.1, its up-projections absorbed in decode.
    pub fn attention_flops_per_pair_layer(&self, phase: Phase) -> f64 {
        let head_dim = f64::from(self.head_dim);
        let per_head = match (&self.attention, phase) {
            (Attention::Full | Attention::Sliding { .. }, _) => 2.0 * head_dim,
            (Attention::Latent { rope_dim, nope_dim, v_dim, .. }, Phase::Prefill) => {
                f64::from(*nope_dim) + f64::from(*rope_dim) + f64::from(*v_dim)
            }
            (Attention::Latent { kv_rank, rope_dim, .. }, Phase::Decode) => 2.0 * f64::from(*kv_rank) + f64::from(*rope_dim),
        };
        2.0 * f64::from(self.heads) * per_head
    }

    /// Layers that attend to the whole context.
    pub fn full_layers(&self) -> u32 {
        self.layers - self.local_layers()
    }

    /// Layers that attend to a window only.
    pub fn local_layers(&self) -> u32 {
        match self.attention {
            Attention::Sliding { local_layers, .. } => local_layers.min(self.layers),
            Attention::Full | Attention::Latent { .. } => 0,
        }
    }

    /// What local layers attend to [tokens]; `None` where no layer is local.
    pub fn window(&self) -> Option<u32> {
        match self.attention {
            Attention::Sliding { window, .. } => Some(window),
            Attention::Full | Attention::Latent { .. } => None,
        }
    }

    /// Expected number of different experts that a layer reads for `tokens` tokens: `E (1 - ((E - k) / E)^T)` under uniform
    /// routing; 0 for a dense model. Source: each token draws k of E; an expert is missed with (E - k) / E.
    pub fn activated_experts(&self, tokens: u64) -> f64 {
        let Some(moe) = &self.moe else { return 0.0 };
        let experts = f64::from(moe.experts);
        let missed = 1.0 - f64::from(moe.top_k.min(moe.experts)) / experts.max(1.0);
        experts * (1.0 - missed.powf(tokens as f64))
    }
}
