//! Arithmetic and memory traffic of a step on one GPU of a replica: what the roofline prices and the floor bounds.
//!
//! All figures are those of one pass through every layer on one tensor-parallel rank; with data parallelism every rank has a
//! batch of its own, and a mixture's experts see the tokens of all of them. A pass goes through all
//! pipeline stages one after the other, so it costs their sum and `pipeline_parallel` does not appear here.

use crate::architecture::{Architecture, Attention};
use crate::cost::CostError;
use crate::deployment::{ACTIVATION_BYTES, Deployment, KvDtype, WeightDtype};
use crate::gpu::Gpu;

/// Arithmetic that a matrix product runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// bf16 tensor cores.
    Bf16,
    /// fp8 tensor cores.
    Fp8,
    /// int8 tensor cores.
    Int8,
    /// fp4 tensor cores.
    Fp4,
}

impl Arithmetic {
    /// Dense peak of a GPU [FLOP/s].
    pub(crate) fn peak(self, gpu: &Gpu) -> f64 {
        match self {
            Arithmetic::Bf16 => gpu.bf16_flops,
            Arithmetic::Fp8 => gpu.fp8_flops.unwrap_or(gpu.bf16_flops),
            Arithmetic::Int8 => gpu.int8_ops.unwrap_or(gpu.bf16_flops),
            Arithmetic::Fp4 => gpu.fp4_flops.unwrap_or(gpu.bf16_flops),
        }
    }
}

/// A weight matrix and how often a pass uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Input width, on one rank.
    pub inputs: f64,
    /// Output width, on one rank.
    pub outputs: f64,
    /// Layers that have one.
    pub layers: f64,
    /// Bytes of one weight.
    pub weight_bytes: f64,
    /// What it is computed in.
    pub arithmetic: Arithmetic,
}

impl Gemm {
    /// Arithmetic of one layer's product with `m` tokens [FLOP].
    pub fn flops(&self, m: f64) -> f64 {
        2.0 * m * self.inputs * self.outputs
    }

    /// Weights of one layer [bytes].
    pub fn weights(&self) -> f64 {
        self.inputs * self.outputs * self.weight_bytes
    }

    /// Memory traffic of one layer's product with `m` tokens [bytes]: weights, inputs, outputs.
    pub fn bytes(&self, m: f64) -> f64 {
        self.weights() + m * (self.inputs + self.outputs) * ACTIVATION_BYTES
    }
}

/// Routed experts on one rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// Experts of which this rank holds all or a slice.
    pub count: f64,
    /// Share of a token's expert choices that this rank computes: 1 with sliced experts, 1/ranks with whole ones.
    pub share: f64,
    /// Data-parallel ranks whose tokens all come to these experts.
    pub group: f64,
    /// Experts of the model, over which the routing chooses.
    pub total: f64,
    /// Experts a token is routed to.
    pub top_k: f64,
    /// Gate and up projection of one expert.
    pub gate_up: Gemm,
    /// Down projection of one expert.
    pub down: Gemm,
}

impl Experts {
    /// Experts of this rank that `tokens` tokens, those of the whole group, wake, on average under uniform routing:
    /// `E (1 - ((E - k)/E)^T)`.
    pub fn active(&self, tokens: f64) -> f64 {
        let missed = ((self.total - self.top_k) / self.total).clamp(0.0, 1.0).powf(tokens);
        self.count * (1.0 - missed)
    }

    /// Tokens that one woken expert computes, on average, of `tokens` tokens of the whole group.
    pub fn rows(&self, tokens: f64) -> f64 {
        let active = self.active(tokens);
        if active > 0.0 { tokens * self.top_k * self.share / active } else { 0.0 }
    }
}

/// A deployment's work per pass on one rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Matrix products of every token.
    pub dense: Vec<Gemm>,
    /// Routed experts, if any.
    pub experts: Option<Experts>,
    /// LM head: one row per sequence.
    pub head: Gemm,
    /// Decoder layers.
    pub layers: f64,
    /// Width of the residual stream.
    pub hidden: f64,
    /// Width of the feed-forward activation on one rank.
    pub feed_forward: f64,
    /// KV cache of one token in the layers that see the whole context, on one rank [bytes].
    pub kv_bytes: f64,
    /// The same in sliding-window layers [bytes].
    pub local_kv_bytes: f64,
    /// Window of those layers [tokens]; 0 if there are none.
    pub window: u64,
    /// Attention arithmetic per query-key pair of a prefill, layers that see the whole context, on one rank [FLOP].
    pub pair_flops: f64,
    /// The same in sliding-window layers [FLOP].
    pub local_pair_flops: f64,
    /// Attention arithmetic per context token of a decode, layers that see the whole context, on one rank [FLOP].
    pub decode_flops: f64,
}

impl Work {
    /// Computes the work of a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Deployment`] if a dimension is zero or a head cannot be split.
    pub fn new(deployment: &Deployment) -> Result<Work, CostError> {
        check(deployment)?;
        let model = &deployment.model;
        let shard = Shard::new(deployment);
        let (layers, hidden) = (f64::from(model.layers), f64::from(model.hidden));
        let (kv_layer, pair_layer, decode_layer) = shard.attention_layer(model, deployment.kv);
        let (local, window) = match model.attention {
            Attention::Sliding { window, local_layers } => (f64::from(local_layers.min(model.layers)), u64::from(window)),
            _ => (0.0, 0),
        };
        let global = layers - local;
        let (mut dense, feed_forward) = shard.feed_forward(model);
        dense.extend(shard.projections(model));
        Ok(Work {
            dense,
            experts: shard.experts(deployment),
            head: Gemm {
                inputs: hidden,
                outputs: f64::from(model.vocab) / shard.ranks,
                layers: 1.0,
                weight_bytes: 2.0,
                arithmetic: Arithmetic::Bf16,
            },
            layers,
            hidden,
            feed_forward,
            kv_bytes: global * kv_layer,
            local_kv_bytes: local * kv_layer,
            window,
            pair_flops: global * pair_layer,
            local_pair_flops: local * pair_layer,
            decode_flops: global * decode_layer,
        })
    }

    /// Weights that a pass of `tokens` tokens (on each data-parallel rank) reads on one GPU, LM head included [bytes].
    pub fn weights_read(&self, tokens: f64) -> f64 {
        let dense: f64 = self.dense.iter().map(|g| g.layers * g.weights()).sum();
        let experts = self.experts.as_ref().map_or(0.0, |e| {
            e.active(tokens * e.group) * (e.gate_up.layers * e.gate_up.weights() + e.down.layers * e.down.weights())
        });
        dense + experts + self.head.weights()
    }

    /// Seconds of arithmetic of the linear layers for `tokens` tokens (on each data-parallel rank) at the GPU's peak, LM head
    /// left out.
    pub fn linear_seconds_at_peak(&self, tokens: f64, gpu: &Gpu) -> f64 {
        let time = |g: &Gemm, rows: f64| g.layers * g.flops(rows) / g.arithmetic.peak(gpu);
        let dense: f64 = self.dense.iter().map(|g| time(g, tokens)).sum();
        let experts = self.experts.as_ref().map_or(0.0, |e| {
            let rows = tokens * e.group * e.top_k * e.share;
            time(&e.gate_up, rows) + time(&e.down, rows)
        });
        dense + experts
    }
}

/// Rejects what would divide by zero further on.
fn check(deployment: &Deployment) -> Result<(), CostError> {
    let model = &deployment.model;
    let positive = [
        ("tensor_parallel", deployment.tensor_parallel),
        ("pipeline_parallel", deployment.pipeline_parallel),
        ("data_parallel", deployment.data_parallel),
        ("layers", model.layers),
        ("hidden", model.hidden),
        ("heads", model.heads),
        ("kv_heads", model.kv_heads),
        ("head_dim", model.head_dim),
        ("vocab", model.vocab),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(CostError::Deployment(format!("{name} must be positive")));
    }
    if !model.heads.is_multiple_of(deployment.tensor_parallel) {
        let (heads, ranks) = (model.heads, deployment.tensor_parallel);
        return Err(CostError::Deployment(format!("{heads} attention heads cannot be split over tensor_parallel = {ranks}")));
    }
    if model.moe.as_ref().is_some_and(|moe| moe.experts == 0 || moe.top_k == 0 || moe.top_k > moe.experts) {
        return Err(CostError::Deployment("a mixture needs 1 <= top_k <= experts".into()));
    }
    Ok(())
}

/// One tensor-parallel rank's share of a model.
struct Shard {
    ranks: f64,
    heads: f64,
    kv_heads: f64,
    weight_bytes: f64,
    arithmetic: Arithmetic,
}

impl Shard {
    fn new(deployment: &Deployment) -> Shard {
        let ranks = f64::from(deployment.tensor_parallel);
        let gpu = &deployment.gpu;
        let (weight_bytes, arithmetic) = match deployment.weights {
            WeightDtype::Bf16 | WeightDtype::Mxfp4 => (2.0, Arithmetic::Bf16),
            WeightDtype::Fp8 if gpu.fp8_flops.is_some() => (1.0, Arithmetic::Fp8),
            WeightDtype::Fp8 => (1.0, Arithmetic::Bf16),
            WeightDtype::Int8 if gpu.int8_ops.is_some() => (1.0, Arithmetic::Int8),
            WeightDtype::Int8 => (1.0, Arithmetic::Bf16),
            WeightDtype::Int4 => (0.5, Arithmetic::Bf16),
            WeightDtype::Nvfp4 if gpu.fp4_flops.is_some() => (4.5 / 8.0, Arithmetic::Fp4),
            WeightDtype::Nvfp4 => (4.5 / 8.0, Arithmetic::Bf16),
        };
        Shard {
            ranks,
            heads: f64::from(deployment.model.heads) / ranks,
            kv_heads: (f64::from(deployment.model.kv_heads) / ranks).max(1.0),
            weight_bytes,
            arithmetic,
        }
    }

    fn gemm(&self, inputs: f64, outputs: f64, layers: f64) -> Gemm {
        Gemm { inputs, outputs, layers, weight_bytes: self.weight_bytes, arithmetic: self.arithmetic }
    }

    /// Query, key, value and output projections.
    fn projections(&self, model: &Architecture) -> Vec<Gemm> {
        let (layers, hidden, head) = (f64::from(model.layers), f64::from(model.hidden), f64::from(model.head_dim));
        let Attention::Latent { kv_rank, rope_dim, q_rank, nope_dim, v_dim } = model.attention else {
            let qkv = self.gemm(hidden, (self.heads + 2.0 * self.kv_heads) * head, layers);
            return vec![qkv, self.gemm(self.heads * head, hidden, layers)];
        };
        let [kv_rank, rope, q_rank, nope, v] = [kv_rank, rope_dim, q_rank, nope_dim, v_dim].map(f64::from);
        // Down-projections are whole on every rank; the up-projections' heads are split.
        let queries = self.heads * (nope + rope);
        let mut products = if q_rank > 0.0 {
            vec![self.gemm(hidden, q_rank, layers), self.gemm(q_rank, queries, layers)]
        } else {
            vec![self.gemm(hidden, queries, layers)]
        };
        products.push(self.gemm(hidden, kv_rank + rope, layers));
        products.push(self.gemm(kv_rank, self.heads * (nope + v), layers));
        products.push(self.gemm(self.heads * v, hidden, layers));
        products
    }

    /// Dense feed-forward blocks, shared experts and the router, and the width of the activation on this rank.
    fn feed_forward(&self, model: &Architecture) -> (Vec<Gemm>, f64) {
        let (layers, hidden) = (f64::from(model.layers), f64::from(model.hidden));
        let block = |width: f64, layers: f64| [self.gemm(hidden, 2.0 * width, layers), self.gemm(width, hidden, layers)];
        let dense = f64::from(model.intermediate) / self.ranks;
        let Some(moe) = &model.moe else { return (block(dense, layers).into(), dense) };
        let dense_layers = f64::from(moe.dense_layers.min(model.layers));
        let routed_layers = layers - dense_layers;
        let shared = f64::from(moe.shared_intermediate) / self.ranks;
        let mut products = Vec::new();
        if dense_layers > 0.0 {
            products.extend(block(dense, dense_layers));
        }
        if shared > 0.0 {
            products.extend(block(shared, routed_layers));
        }
        let router = self.gemm(hidden, f64::from(moe.experts), routed_layers);
        products.push(Gemm { weight_bytes: 2.0, arithmetic: Arithmetic::Bf16, ..router });
        (products, f64::from(moe.intermediate) * f64::from(moe.top_k) / self.ranks + shared)
    }

    fn experts(&self, deployment: &Deployment) -> Option<Experts> {
        let model = &deployment.model;
        let moe = model.moe.as_ref()?;
        let (hidden, width) = (f64::from(model.hidden), f64::from(moe.intermediate));
        let layers = f64::from(model.layers.saturating_sub(moe.dense_layers));
        let whole = deployment.expert_parallel;
        let ranks = f64::from(deployment.expert_ranks());
        let slice = if whole { width } else { width / ranks };
        // 4-bit values and one 8-bit scale per 32 of them; Blackwell computes them with 8-bit activations.
        let (weight_bytes, arithmetic) = match deployment.weights {
            WeightDtype::Mxfp4 if deployment.gpu.fp4_flops.is_some() => (4.25 / 8.0, Arithmetic::Fp8),
            WeightDtype::Mxfp4 => (4.25 / 8.0, Arithmetic::Bf16),
            _ => (self.weight_bytes, self.arithmetic),
        };
        let expert = |inputs, outputs| Gemm { weight_bytes, arithmetic, ..self.gemm(inputs, outputs, layers) };
        Some(Experts {
            count: f64::from(moe.experts) / if whole { ranks } else { 1.0 },
            share: if whole { 1.0 / ranks } else { 1.0 },
            group: f64::from(deployment.data_parallel),
            total: f64::from(moe.experts),
            top_k: f64::from(moe.top_k),
            gate_up: expert(hidden, 2.0 * slice),
            down: expert(slice, hidden),
        })
    }

    /// Of one layer: KV bytes per token, FLOP per query-key pair of a prefill, FLOP per context token of a decode.
    ///
    /// A pair costs one multiply-add per element of the key and one per element of the value. Latent attention decodes on the
    /// compressed vector (the up-projections are absorbed into query and output), so its two products are wider there.
    fn attention_layer(&self, model: &Architecture, kv: KvDtype) -> (f64, f64, f64) {
        let bytes = match kv {
            KvDtype::Bf16 => 2.0,
            KvDtype::Fp8 => 1.0,
        };
        if let Attention::Latent { kv_rank, rope_dim, nope_dim, v_dim, .. } = model.attention {
            let [kv_rank, rope, nope, v] = [kv_rank, rope_dim, nope_dim, v_dim].map(f64::from);
            let prefill = 2.0 * self.heads * (nope + rope + v);
            return ((kv_rank + rope) * bytes, prefill, 2.0 * self.heads * (2.0 * kv_rank + rope));
        }
        let head = f64::from(model.head_dim);
        let flops = 4.0 * self.heads * head;
        (2.0 * self.kv_heads * head * bytes, flops, flops)
    }
}

#[cfg(test)]
mod tests;
