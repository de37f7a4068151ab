//! The physical floor of a step: no engine can be faster, so no cost model may be.

use crate::cost::calibrated::PS_PER_MS;
use crate::cost::curve::Curve;
use crate::cost::form::{group_limit, table_limits};
use crate::cost::{BatchShape, CostError, Experts, Gemm, Work};
use crate::deployment::Deployment;
use crate::units::{Duration, PS_PER_S};

/// Picoseconds in a second, for products with rates.
pub(crate) const PS: f64 = PS_PER_S as f64;

/// Least time of a step on a deployment:
///
/// ```text
/// sum over weight matrices of max(FLOP / peak, weight bytes / HBM peak) - L2 bytes / HBM peak
///   + decode:  C * max(KV bytes, FLOP of a query against one key)
///   + prefill: max(pairs * FLOP, (history + tokens) * KV bytes)
/// ```
///
/// Weights are those read: all of a dense model, `E (1 - ((E-k)/E)^T)` experts of a mixture; the LM head only if something is
/// sampled. The two parts add because attention and matrix products are kernels that run one after the other. *L2 exemption*:
/// what fits the level-2 cache need not come from HBM, so its size is taken off the weights once a step. Sliding-window layers
/// are left out of the attention terms, and activations altogether, which keeps it a bound.
///
/// Ranks in lockstep all wait for the experts, which see the tokens of all: the slowest rank's floor without experts, and theirs.
#[derive(Clone, Debug)]
pub struct Floor {
    linear: Curve,
    /// Dense layers by a rank's tokens, and experts by the tokens of all ranks, where ranks run in lockstep.
    group: Option<(Curve, Curve)>,
    /// What the level-2 cache may save once a step [ps].
    l2: u64,
    head: u64,
    /// Picoseconds per context token of a decode.
    decode_context: u64,
    /// Picoseconds per prefill pair, times 2^10.
    pair: u64,
    /// Picoseconds per token of KV cache read.
    kv: u64,
}

/// Least times of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionFloor {
    /// Per token of the decodes' contexts [ms/token].
    pub context_token_ms: f64,
    /// Per causal query-key pair of prompts [ms/pair].
    pub pair_ms: f64,
    /// Per token computed before a chunk [ms/token].
    pub history_token_ms: f64,
}

impl Floor {
    /// The floor of a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Deployment`] as in [`Work::new`], or if the GPU has a rate that is not positive.
    pub fn new(deployment: &Deployment) -> Result<Floor, CostError> {
        Ok(Floor::of_work(&Work::new(deployment)?, deployment))
    }

    pub(crate) fn of_work(work: &Work, deployment: &Deployment) -> Floor {
        let gpu = &deployment.gpu;
        let bandwidth = gpu.memory_bandwidth;
        let group = |g: &Gemm, rows: f64, copies: f64| {
            g.layers * (g.flops(rows) / g.arithmetic.peak(gpu)).max(copies * g.weights() / bandwidth)
        };
        let dense = |tokens: f64| work.dense.iter().map(|g| group(g, tokens, 1.0)).sum::<f64>();
        let experts = |e: &Experts, all: f64| {
            let (rows, active) = (all * e.top_k * e.share, e.active(all));
            group(&e.gate_up, rows, active) + group(&e.down, rows, active)
        };
        let l2 = gpu.l2_bytes as f64 / bandwidth;
        let linear = |tokens: f64| {
            let routed = work.experts.as_ref().map_or(0.0, |e| experts(e, tokens * e.group));
            ((dense(tokens) + routed - l2) * PS).max(0.0).floor()
        };
        let (max_tokens, _) = table_limits(deployment.max_num_batched_tokens, deployment.max_num_seqs);
        let beyond = (work.linear_seconds_at_peak(1.0, gpu) * PS).floor();
        let kv = work.kv_bytes / bandwidth * PS;
        let parts = work.experts.as_ref().filter(|e| e.group > 1.0).map(|e| {
            let of_all = group_limit(max_tokens, deployment.data_parallel);
            let curve =
                |max, f: &dyn Fn(f64) -> f64| Curve::tabulate(max, 0.0, |t| if t == 0 { 0.0 } else { (f(t as f64) * PS).floor() });
            (curve(max_tokens, &dense), curve(of_all, &|all| experts(e, all)))
        });
        Floor {
            group: parts,
            l2: (l2 * PS).ceil() as u64,
            linear: Curve::tabulate(max_tokens, beyond, |t| if t == 0 { 0.0 } else { linear(t as f64) }),
            head: (work.head.weights() / bandwidth * PS) as u64,
            decode_context: kv.max(work.decode_flops / gpu.bf16_flops * PS) as u64,
            pair: (work.pair_flops / gpu.bf16_flops * PS * 1024.0) as u64,
            kv: kv as u64,
        }
    }

    /// The least time of a step.
    #[inline]
    pub fn of(&self, batch: &BatchShape) -> Duration {
        Duration(self.linear.at(batch.tokens()).saturating_add(self.of_sequences(batch)))
    }

    /// LM head and attention [ps].
    #[inline]
    fn of_sequences(&self, batch: &BatchShape) -> u64 {
        let head = if batch.sampled > 0 { self.head } else { 0 };
        let decode = self.decode_context.saturating_mul(batch.decode_context);
        let pairs = self.pair.saturating_mul(batch.prefill_pairs) >> 10;
        let cache = self.kv.saturating_mul(batch.prefill_history);
        head.saturating_add(decode).saturating_add(pairs.max(cache))
    }

    /// The least time of a step of ranks in lockstep, one batch each.
    pub fn of_lockstep(&self, ranks: &[BatchShape]) -> Duration {
        let Some((dense, experts)) = &self.group else { return ranks.iter().map(|batch| self.of(batch)).max().unwrap_or_default() };
        let rank = |batch: &BatchShape| dense.at(batch.tokens()).saturating_add(self.of_sequences(batch));
        let slowest = ranks.iter().map(rank).max().unwrap_or(0);
        let all = ranks.iter().map(BatchShape::tokens).sum();
        Duration(slowest.saturating_add(experts.at(all)).saturating_sub(self.l2))
    }

    /// `duration`, the time that a model gives ranks in lockstep, after asserting that it is not below the floor.
    pub fn hold_lockstep(&self, ranks: &[BatchShape], duration: Duration) -> Duration {
        let least = self.of_lockstep(ranks);
        assert!(duration >= least, "{ranks:?} in {duration}; memory and arithmetic need {least}");
        duration
    }

    /// `duration`, the time that a model gives `batch`, after asserting that it is not below the floor.
    #[inline]
    pub fn hold(&self, batch: &BatchShape, duration: Duration) -> Duration {
        let least = self.of(batch);
        assert!(duration >= least, "{batch:?} in {duration}; memory and arithmetic need {least}");
        duration
    }

    /// Whether non-attention times are at least the floor at every number of tokens and beyond: `curve` by tokens, and what the LM
    /// head of one sequence adds to it [ps].
    pub(crate) fn check_tokens(&self, curve: &Curve, head: u64, max_tokens: u64) -> Result<(), String> {
        let far = [2 * max_tokens, 16 * max_tokens];
        for tokens in (1..=max_tokens).chain(far) {
            let found = Duration(curve.at(tokens).saturating_add(head));
            let least = Duration(self.linear.at(tokens).saturating_add(self.head));
            if found < least {
                return Err(format!("nonattention of {tokens} tokens in {found}; weights and arithmetic need {least}"));
            }
        }
        Ok(())
    }

    /// Whether decode slopes, given as (decodes, picoseconds per context token), are at least the floor.
    pub(crate) fn check_context(&self, mut slopes: impl Iterator<Item = (u64, u64)>) -> Result<(), String> {
        match slopes.find(|&(_, slope)| slope < self.decode_context) {
            None => Ok(()),
            Some((n, slope)) => {
                let least = self.decode_context;
                Err(format!("decode attention takes {slope} ps per context token at {n} sequences; reading it needs {least} ps"))
            }
        }
    }

    /// Whether prefill coefficients [ps] are at least the floor.
    pub(crate) fn check_prefill(&self, pair: f64, history: f64) -> Result<(), String> {
        let least = self.pair as f64 / 1024.0;
        if pair < least {
            return Err(format!("prefill attention takes {pair:.1} ps per pair; its arithmetic needs {least:.1} ps"));
        }
        if history < self.kv as f64 {
            return Err(format!("prefill attention takes {history:.0} ps per token of history; reading it needs {} ps", self.kv));
        }
        Ok(())
    }

    /// Least picoseconds of prefill attention for one chunk of `tokens` after `history`.
    pub(crate) fn chunk(&self, tokens: f64, history: f64) -> f64 {
        let pairs = tokens * history + tokens * (tokens + 1.0) / 2.0;
        (self.pair as f64 / 1024.0 * pairs).max(self.kv as f64 * history)
    }

    /// Least times of attention, by what it computes and reads.
    pub fn attention(&self) -> AttentionFloor {
        AttentionFloor {
            context_token_ms: self.decode_context as f64 / PS_PER_MS,
            pair_ms: self.pair as f64 / 1024.0 / PS_PER_MS,
            history_token_ms: self.kv as f64 / PS_PER_MS,
        }
    }

    /// Least picoseconds per context token of a decode.
    pub(crate) fn context_token(&self) -> u64 {
        self.decode_context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::testing::{decodes, h100, llama_8b, llama_70b, on, prefill};

    /// 14B parameters at 8,192 tokens take 232 ms on an H100 at its whole peak; 8B in proportion.
    #[test]
    fn prefill_is_bounded_by_arithmetic() {
        let floor = Floor::new(&on(h100(), llama_8b(), 1)).unwrap();
        let linear = 2.0 * 6_979_321_856.0 * 8192.0 / 989e12;
        let attention = 4.0 * 32.0 * 128.0 * 32.0 * 8192.0 * 8193.0 / 2.0 / 989e12;
        let head = 128_256.0 * 4096.0 * 2.0 / 3.35e12;
        let l2 = f64::from(50u32 << 20) / 3.35e12;
        let expected = linear + attention + head - l2;
        let found = floor.of(&prefill(1, 0, 8192)).as_secs_f64();
        assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");
        assert!(found > 0.115);
    }

    #[test]
    fn decode_is_bounded_by_memory() {
        let floor = Floor::new(&on(h100(), llama_8b(), 1)).unwrap();
        let bytes = (6_979_321_856.0 + 128_256.0 * 4096.0) * 2.0 - f64::from(50u32 << 20) + 64.0 * 2048.0 * 131_072.0;
        let found = floor.of(&decodes(64, 2048)).as_secs_f64();
        assert!((found / (bytes / 3.35e12) - 1.0).abs() < 1e-4, "{found}");
    }

    #[test]
    fn nothing_sampled_needs_no_lm_head() {
        let floor = Floor::new(&on(h100(), llama_70b(), 4)).unwrap();
        let mut batch = prefill(1, 0, 512);
        let whole = floor.of(&batch);
        batch.sampled = 0;
        assert!(floor.of(&batch) < whole);
        assert_eq!(floor.of(&BatchShape::default()), Duration::ZERO);
    }
}
