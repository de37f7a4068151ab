//! Weights of a model, counted by what they do.

use std::ops::Range;

use super::{Architecture, Attention};
use crate::deployment::WeightDtype;

/// What a weight belongs to. The groups differ in how they are split over ranks, quantised, and read per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Token embedding: one row is read per token.
    Embedding,
    /// Query, key, value and output projections.
    Attention,
    /// Dense feed-forward blocks.
    DenseFfn,
    /// Experts that every token uses.
    SharedExperts,
    /// Projections that score the experts.
    Router,
    /// Routed experts, all of them.
    Experts,
    /// Projection to the vocabulary.
    LmHead,
    /// Scales of the normalisations: two a layer and the last one.
    Norms,
}

/// Parameter counts by group. Biases, position tables and per-head scales are left out: under 0.1 % of any model here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Token embedding.
    pub embedding: u64,
    /// Attention projections.
    pub attention: u64,
    /// Dense feed-forward blocks.
    pub dense_ffn: u64,
    /// Experts that every token uses.
    pub shared_experts: u64,
    /// Projections that score the experts.
    pub router: u64,
    /// Routed experts, all of them.
    pub experts: u64,
    /// Of these, the ones a single token is routed to.
    pub active_experts: u64,
    /// Projection to the vocabulary; 0 where it is the embedding.
    pub lm_head: u64,
    /// Normalisations.
    pub norms: u64,
}

impl Parameters {
    /// The counts with their groups.
    pub fn groups(&self) -> [(Group, u64); 8] {
        [
            (Group::Embedding, self.embedding),
            (Group::Attention, self.attention),
            (Group::DenseFfn, self.dense_ffn),
            (Group::SharedExperts, self.shared_experts),
            (Group::Router, self.router),
            (Group::Experts, self.experts),
            (Group::LmHead, self.lm_head),
            (Group::Norms, self.norms),
        ]
    }

    /// All parameters.
    pub fn total(&self) -> u64 {
        self.groups().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Parameters that one token makes use of: all but the routed experts it is not sent to. Embedding and LM head are included;
    /// publishers differ in that.
    pub fn active(&self) -> u64 {
        self.total() - self.experts + self.active_experts
    }

    /// Size in number format `dtype` [bytes].
    pub fn bytes(&self, dtype: WeightDtype) -> u64 {
        self.groups().iter().fold(0, |sum, (group, count)| sum.saturating_add(dtype.bytes_of(*group, *count)))
    }
}

impl WeightDtype {
    /// Size of one parameter of `group` [1/32 bit, the finest step that the block formats need].
    ///
    /// Source: the checkpoints' layouts. fp8, int8 and int4 checkpoints quantise the linear layers and keep embedding, LM head,
    /// router and norms in bf16. int4 is AWQ's: groups of 128 share a 16-bit scale and a 4-bit zero point, 4.156 bits. mxfp4 has
    /// an 8-bit scale per 32 values, 4.25 bits, on the routed experts alone. nvfp4 has an 8-bit scale per 16 values, 4.5 bits,
    /// on all linear layers (some checkpoints leave attention in bf16).
    fn bits_x32(self, group: Group) -> u64 {
        let linear = matches!(group, Group::Attention | Group::DenseFfn | Group::SharedExperts | Group::Experts);
        match self {
            WeightDtype::Fp8 | WeightDtype::Int8 if linear => 8 * 32,
            WeightDtype::Int4 if linear => 4 * 32 + 5,
            WeightDtype::Nvfp4 if linear => 4 * 32 + 16,
            WeightDtype::Mxfp4 if group == Group::Experts => 4 * 32 + 8,
            _ => 16 * 32,
        }
    }

    /// Size of `parameters` of `group` [bytes], rounded up.
    pub fn bytes_of(self, group: Group, parameters: u64) -> u64 {
        parameters.saturating_mul(self.bits_x32(group)).div_ceil(8 * 32)
    }
}

/// Product that saturates: a file can describe shapes of absurd size, which must not panic.
pub(super) fn product(factors: &[u32]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(u64::from(*factor)))
}

/// How a matrix set is split over the GPUs of a pipeline stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Data-parallel ranks: only routed experts are split over them.
    pub data_parallel: u32,
    /// Experts stay whole and are dealt out over all ranks.
    pub expert_parallel: bool,
}

impl Shard {
    /// One GPU has it all.
    pub const WHOLE: Shard = Shard { tensor_parallel: 1, data_parallel: 1, expert_parallel: false };
}

impl Architecture {
    /// Parameter counts of the whole model.
    pub fn parameters(&self) -> Parameters {
        self.parameters_of(0..self.layers, Shard::WHOLE)
    }

    /// Parameter counts that one GPU holds of the layers `layers`, the fullest rank if they are not alike. The embedding is counted
    /// with layer 0, the LM head with the last layer (and where the two are tied, on a last stage that is not the first
    /// as well).
    ///
    /// Source: vLLM's layers. Heads, feed-forward widths and the vocabulary are split; key and value heads are replicated where
    /// there are fewer than ranks; router, norms and the down-projections of latent attention are whole on every rank. Routed
    /// experts lie over the data-parallel ranks as well, all else is whole on each of those (vLLM's data-parallel deployment
    /// guide).
    pub fn parameters_of(&self, layers: Range<u32>, shard: Shard) -> Parameters {
        let tp = u64::from(shard.tensor_parallel.max(1));
        let count = layers.end.saturating_sub(layers.start);
        let split = |parameters: u64| parameters.div_ceil(tp);
        let vocab = product(&[self.vocab, self.hidden]);
        let first = layers.start == 0;
        let last = layers.end == self.layers;
        let per_layer = u64::from(count);
        let norms = product(&[2, self.hidden, count]);
        let mut parameters = Parameters {
            embedding: if first { split(vocab) } else { 0 },
            attention: self.attention_parameters(tp).saturating_mul(per_layer),
            lm_head: if last && !(self.tied_embeddings && first) { split(vocab) } else { 0 },
            norms: norms.saturating_add(if last { u64::from(self.hidden) } else { 0 }),
            ..Parameters::default()
        };
        let dense = self.dense_layers_in(&layers);
        parameters.dense_ffn = split(product(&[3, self.hidden, self.intermediate, dense]));
        if let Some(moe) = &self.moe {
            let sparse = count - dense;
            let ranks = shard.tensor_parallel.max(1).saturating_mul(shard.data_parallel.max(1));
            let whole = |experts| product(&[3, self.hidden, moe.intermediate, experts, sparse]);
            let slice = |parameters: u64| parameters.div_ceil(u64::from(ranks));
            parameters.router = product(&[self.hidden, moe.experts, sparse]);
            let held = || whole(moe.experts.div_ceil(ranks));
            parameters.experts = if shard.expert_parallel { held() } else { slice(whole(moe.experts)) };
            parameters.active_experts = slice(whole(moe.top_k)).min(parameters.experts);
            parameters.shared_experts = split(product(&[3, self.hidden, moe.shared_intermediate, sparse]));
        }
        parameters
    }

    /// Layers with a dense feed-forward block among `layers`.
    fn dense_layers_in(&self, layers: &Range<u32>) -> u32 {
        let dense = self.moe.as_ref().map_or(self.layers, |moe| moe.dense_layers.min(self.layers));
        layers.end.min(dense).saturating_sub(layers.start)
    }

    /// Attention projections of one layer on one of `tp` ranks.
    fn attention_parameters(&self, tp: u64) -> u64 {
        let (hidden, heads) = (u64::from(self.hidden), u64::from(self.heads).div_ceil(tp));
        let times = |a: u64, b: u64| a.saturating_mul(b);
        match self.attention {
            Attention::Full | Attention::Sliding { .. } => {
                let kv_heads = u64::from(self.kv_heads).div_ceil(tp);
                let projections = times(2, heads).saturating_add(times(2, kv_heads));
                times(times(hidden, projections), u64::from(self.head_dim))
            }
            Attention::Latent { kv_rank, rope_dim, q_rank, nope_dim, v_dim } => {
                let [kv_rank, rope, q_rank, nope, v] = [kv_rank, rope_dim, q_rank, nope_dim, v_dim].map(u64::from);
                let query = match q_rank {
                    0 => times(hidden, times(heads, nope + rope)),
                    _ => times(hidden, q_rank).saturating_add(times(q_rank, times(heads, nope + rope))),
                };
                let key_value = times(hidden, kv_rank + rope).saturating_add(times(kv_rank, times(heads, nope + v)));
                let output = times(times(heads, v), hidden);
                query.saturating_add(key_value).saturating_add(output)
            }
        }
    }

    /// Size of all weights, as one GPU would hold them [bytes].
    pub fn weight_bytes(&self, dtype: WeightDtype) -> u64 {
        self.parameters().bytes(dtype)
    }
}
