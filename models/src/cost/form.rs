//! The one form every computed cost takes, in integers.
//!
//! ```text
//! step = tokens(T) + sequences(S) + decode_fixed(n) + slope(n) * C + local(n) * min(C, n * window)
//!      + [any chunk] * prefill.step + prefill.token * t + prefill.pair * pairs + prefill.history * history
//! ```
//!
//! `T` tokens, `S` sequences, `n` decodes of total context `C`, chunks of `t` tokens in total. All of it is one pass: the linear
//! layers run once, on the tokens of chunks and decodes together.

use crate::cost::curve::Curve;
use crate::cost::{BatchShape, DecodePiece};
use crate::units::Duration;

/// Binary digits after the point in the coefficients of [`PrefillForm`]: a pair costs few picoseconds on a large TP group.
const FRACTION: u32 = 10;

/// Attention of prefill chunks. Coefficients are picoseconds times 2^10.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrefillForm {
    step: u64,
    token: u64,
    pair: u64,
    history: u64,
}

impl PrefillForm {
    /// From picoseconds: per step with any chunk, per chunk token, per causal query-key pair, per token of history.
    pub(crate) fn new(step: f64, token: f64, pair: f64, history: f64) -> PrefillForm {
        let fixed = |ps: f64| (ps * f64::from(1u32 << FRACTION)).ceil() as u64;
        PrefillForm { step: fixed(step), token: fixed(token), pair: fixed(pair), history: fixed(history) }
    }

    #[inline]
    fn at(&self, batch: &BatchShape) -> u64 {
        let tokens = self.token.saturating_mul(batch.prefill_tokens);
        let pairs = self.pair.saturating_mul(batch.prefill_pairs);
        let history = self.history.saturating_mul(batch.prefill_history);
        self.step.saturating_add(tokens).saturating_add(pairs).saturating_add(history) >> FRACTION
    }
}

/// Sliding-window layers: their part of a decode's context stops growing at the window.
#[derive(Clone, Debug)]
pub(crate) struct LocalForm {
    /// Window [tokens].
    pub window: u64,
    /// Picoseconds per token of context within the window, all local layers, by number of decodes.
    pub slope: Curve,
}

/// Linear layers of data-parallel ranks in lockstep [ps]: what each rank computes for its own tokens, and what all compute
/// together.
#[derive(Clone, Debug)]
pub(crate) struct GroupForm {
    /// The largest step that runs as a CUDA graph [tokens]: all ranks are then padded to the largest one.
    pub captured: u64,
    /// A rank's own layers without a graph, by its tokens.
    pub own: Curve,
    /// Experts and their exchange without a graph, by the tokens of all ranks.
    pub experts: Curve,
}

/// A step's cost in integer coefficients [ps].
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// All but attention and LM head, by tokens in the step (padding included in the tabulation); of ranks in lockstep, with so
    /// many on each.
    pub tokens: Curve,
    /// Its parts, where ranks run in lockstep.
    pub group: Option<GroupForm>,
    /// The LM head, by sequences in the step.
    pub sequences: Curve,
    /// Decode attention without context, by decodes.
    pub decode_fixed: Curve,
    /// Decode attention per token of total context, by decodes.
    pub decode_slope: Curve,
    /// Sliding-window layers.
    pub local: Option<LocalForm>,
    /// Prefill attention.
    pub prefill: PrefillForm,
}

impl Form {
    /// All but attention [ps].
    #[inline]
    fn nonattention(&self, batch: &BatchShape) -> u64 {
        self.tokens.at(batch.tokens()).saturating_add(self.sequences.at(u64::from(batch.sequences())))
    }

    /// Duration of one iteration.
    #[inline]
    pub(crate) fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(self.tokens.at(batch.tokens()).saturating_add(self.of_sequences(batch)))
    }

    /// Duration of a step of ranks in lockstep, from one batch per rank. Source: vLLM `coordinate_batch_across_dp`: ranks agree
    /// on the largest of their token counts if all of them run a graph, else each runs its own; an idle rank runs one token.
    pub(crate) fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        let most = ranks.iter().map(BatchShape::tokens).max().unwrap_or(0);
        let slowest = |of: &dyn Fn(&BatchShape) -> u64| ranks.iter().map(of).max().unwrap_or(0);
        match &self.group {
            Some(group) if most > group.captured => {
                let all = ranks.iter().map(|batch| batch.tokens().max(1)).sum();
                let experts = group.experts.at(all);
                Duration(slowest(&|batch| {
                    let linear = group.own.at(batch.tokens().max(1)).saturating_add(experts);
                    linear.saturating_add(self.of_sequences(batch))
                }))
            }
            _ => Duration(self.tokens.at(most).saturating_add(slowest(&|batch| self.of_sequences(batch)))),
        }
    }

    /// LM head [ps].
    pub(crate) fn head(&self, batch: &BatchShape) -> u64 {
        self.sequences.at(u64::from(batch.sequences()))
    }

    /// LM head and attention [ps].
    #[inline]
    fn of_sequences(&self, batch: &BatchShape) -> u64 {
        let mut ps = self.sequences.at(u64::from(batch.sequences()));
        if batch.decodes > 0 {
            ps = ps.saturating_add(self.decode(u64::from(batch.decodes), batch.decode_context).0);
        }
        if batch.prefill_chunks > 0 {
            ps = ps.saturating_add(self.prefill.at(batch));
        }
        ps
    }

    /// Cost, slope and end of the piece of decode attention at `n` decodes of total context `context`.
    #[inline]
    fn decode(&self, n: u64, context: u64) -> (u64, u64, u64) {
        let slope = self.decode_slope.at(n);
        let global = self.decode_fixed.at(n).saturating_add(slope.saturating_mul(context));
        let Some(local) = &self.local else { return (global, slope, u64::MAX) };
        let (full, local_slope) = (n.saturating_mul(local.window), local.slope.at(n));
        if context < full {
            (global.saturating_add(local_slope.saturating_mul(context)), slope.saturating_add(local_slope), full)
        } else {
            (global.saturating_add(local_slope.saturating_mul(full)), slope, u64::MAX)
        }
    }

    /// The affine piece from a decode-only batch on.
    #[inline]
    pub(crate) fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let (attention, slope_ps, until) = self.decode(u64::from(batch.decodes), batch.decode_context);
        DecodePiece::by_context(batch, Duration(self.nonattention(batch).saturating_add(attention)), slope_ps, until)
    }
}

/// Limit of what is tabulated by the tokens of all `ranks` in lockstep, each with at most `max_tokens`.
pub(crate) fn group_limit(max_tokens: u64, ranks: u32) -> u64 {
    max_tokens.saturating_mul(u64::from(ranks)).min(1 << 19)
}

/// Limits of the tabulation: enough for any step of the deployment, bounded so that odd settings cannot ask for gigabytes.
pub(crate) fn table_limits(max_num_batched_tokens: u32, max_num_seqs: u32) -> (u64, u64) {
    let sequences = u64::from(max_num_seqs).min(1 << 14);
    (u64::from(max_num_batched_tokens).min(1 << 17).max(sequences), sequences)
}
