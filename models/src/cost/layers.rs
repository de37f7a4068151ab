//! Cost from measured kernels of single layers.

mod all_reduce;
mod attention;
mod experts;
mod skew;
#[cfg(test)]
mod tests;

use crate::capture_sizes::CaptureSizes;
use crate::cost::curve::{Curve, interpolate};
use crate::cost::form::table_limits;
use crate::cost::profile::LayerTables;
use crate::cost::{BatchShape, CostError, CostModel, DecodePiece, Floor, Profile};
use crate::deployment::{ACTIVATION_BYTES, Deployment};
use crate::units::Duration;
use all_reduce::AllReduces;
use attention::{AttentionGrid, DecodeRows, find, row};
use experts::Experts;
use skew::{Skew, Spread};

/// Picoseconds in a microsecond.
const PS_PER_US: f64 = 1e6;
/// How far a GPU's clock may be above the one that its peaks are stated at: an RTX 4090 was measured at 100.1 % of its peak.
pub const CLOCK_MARGIN: f64 = 1.1;

/// A step composed of measured layers, in one pass over chunks and decodes:
///
/// ```text
/// once[T] + count (each[T] + experts[T] + 2 all-reduces + attention(chunk tokens, decodes, histories, mean context))
///   + sequences[S]
/// ```
///
/// * `T` tokens, padded to the captured size where CUDA graphs are on; kernels are linear between measured token counts. `S` are
///   all sequences in the step: LM head and sampler.
/// * Attention is one kernel for the whole batch, so a mixed step is not the sum of its parts ([`AttentionGrid`]). Decodes of
///   unequal context cost `t(mean) + alpha (t(longest) - t(mean))` ([`Skew`]), never less than `t(mean)` in a mixed step.
/// * Experts are those that the gating of the profile wakes ([`Experts`]). Sliced over tensor-parallel ranks instead of spread,
///   they were not measured: their time is taken as that of whole ones divided by the ranks.
/// * All-reduces of `2 T hidden` bytes after attention and feed-forward, by message size.
///
/// The physical floor holds: where a table or its extension is faster, the step takes the floor's time. A profile whose linear
/// layers, LM head or decode attention are faster at a measured point is refused, except for what the level-2 cache explains.
#[derive(Clone, Debug)]
pub struct Layers {
    /// All by tokens but the experts [ps].
    tokens: Curve,
    /// Experts by tokens, all layers [ps].
    experts: Curve,
    group: Group,
    sequences: Curve,
    grid: AttentionGrid,
    decode: DecodeRows,
    skew: Option<Skew>,
    /// Picoseconds of a step per microsecond of one layer's attention.
    ps: f64,
    floor: Floor,
}

impl Layers {
    /// The model of a profile on a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Mismatch`] if the profile is for another deployment, [`CostError::Invalid`] if it holds no layers, or another
    /// number of them than the model has, or no experts for a mixture; [`CostError::BelowFloor`] if a measured time is faster than
    /// the GPU can be.
    pub fn new(profile: &Profile, deployment: &Deployment) -> Result<Layers, CostError> {
        profile.matches(deployment)?;
        let invalid = |message: String| CostError::Invalid { name: profile.name.clone(), message };
        let Some(tables) = &profile.layers else { return Err(invalid("holds no layers".into())) };
        if tables.count != deployment.model.layers {
            let (found, model) = (tables.count, &deployment.model);
            return Err(invalid(format!("layers.count = {found}, {} has {} layers", model.name, model.layers)));
        }
        if tables.experts.is_some() != deployment.model.moe.is_some() {
            return Err(invalid(format!("layers.experts must be there if and only if {} is a mixture", deployment.model.name)));
        }
        let (max_tokens, max_sequences) = table_limits(deployment.max_num_batched_tokens, deployment.max_num_seqs);
        let ps = f64::from(tables.count) * PS_PER_US;
        let grid = AttentionGrid::new(&tables.attention);
        let group = Group::new(tables, deployment);
        let layers = Layers {
            tokens: token_curve(tables, &group, max_tokens),
            experts: group.curve(max_tokens),
            group,
            sequences: sequence_curve(tables, max_sequences),
            decode: DecodeRows::new(&grid, max_sequences, ps),
            grid,
            skew: tables.skew.as_ref().map(Skew::new),
            ps,
            floor: Floor::new(deployment)?,
        };
        layers.check(tables, deployment).map_err(|message| CostError::BelowFloor { name: profile.name.clone(), message })?;
        Ok(layers)
    }

    /// Holds measured points against the floor, as far as the clock may be above the nominal one.
    fn check(&self, tables: &LayerTables, deployment: &Deployment) -> Result<(), String> {
        let too_fast = |found: u64, least: u64| found as f64 * CLOCK_MARGIN < least as f64;
        for &tokens in &tables.tokens.tokens {
            let batch = BatchShape { prefill_chunks: 1, prefill_tokens: tokens.into(), sampled: 1, ..BatchShape::default() };
            let (found, least) = (Duration(self.nonattention(&batch)), self.floor.of(&batch));
            if too_fast(found.0, least.0) {
                return Err(format!("a step of {tokens} tokens in {found} without attention; weights and arithmetic need {least}"));
            }
        }
        let cached = (deployment.gpu.l2_bytes as f64 / deployment.gpu.memory_bandwidth * self.ps * PS_PER_US) as u64;
        for block in tables.attention.iter().filter(|block| block.chunk == 0) {
            for (&n, times) in block.decodes.iter().zip(&block.us) {
                for (&context, us) in block.context.iter().zip(times) {
                    let total = u64::from(n) * u64::from(context);
                    let (found, least) = (us * self.ps, self.floor.context_token().saturating_mul(total).saturating_sub(cached));
                    if too_fast(found as u64, least) {
                        let what = format!("decode attention of {n} sequences of {context} tokens in {us} us a layer");
                        return Err(format!("{what}, {} in all; reading takes {}", Duration(found as u64), Duration(least)));
                    }
                }
            }
        }
        Ok(())
    }

    /// A step that data-parallel ranks of a mixture run together, from one batch per rank; a rank without work has an empty one and
    /// computes one token.
    ///
    /// Each rank computes its own attention and dense layers; the experts, spread over (or sliced between) the tensor-parallel
    /// GPUs of all ranks, compute the tokens of all, gathered before and scattered after, which together moves as much as an
    /// all-reduce. If the largest batch runs as a CUDA graph, all ranks run at its padded size. All wait for the slowest.
    pub fn together(&self, ranks: &[BatchShape]) -> Duration {
        let most = ranks.iter().map(BatchShape::tokens).max().unwrap_or(0);
        let captured = self.group.graphs.captured(most);
        let tokens = |batch: &BatchShape| if captured { most } else { batch.tokens().max(1) };
        let own = |batch: &BatchShape| {
            let layers = self.tokens.at(tokens(batch)).saturating_add(self.sequences.at(u64::from(batch.sequences())));
            layers.saturating_add(self.attention(batch))
        };
        let all: u64 = ranks.iter().map(|batch| self.group.graphs.padded(tokens(batch))).sum();
        let shared = self.group.ps(all as f64, ranks.len() as u32).round() as u64;
        Duration(ranks.iter().map(own).max().unwrap_or(0).saturating_add(shared))
    }

    /// Everything by tokens.
    #[inline]
    fn linear(&self, tokens: u64) -> u64 {
        self.tokens.at(tokens).saturating_add(self.experts.at(tokens))
    }

    /// Everything but attention.
    #[inline]
    fn nonattention(&self, batch: &BatchShape) -> u64 {
        self.linear(batch.tokens()).saturating_add(self.sequences.at(u64::from(batch.sequences())))
    }

    /// Attention of decodes alone [ps], by how much it grows in a step, and for how many further steps it does. A growth below
    /// zero, which takes an alpha outside of 0 to 1, is not told: the piece then ends at once.
    #[inline]
    fn decode_attention(&self, batch: &BatchShape) -> (u64, u64, u64) {
        let Spread { mean, longest, alpha, until } = Skew::of(self.skew.as_ref(), batch);
        let n = u64::from(batch.decodes);
        let beyond;
        let segments = match self.decode.of(n) {
            Some(segments) => segments,
            None => {
                beyond = row(&self.grid, n, self.ps);
                &beyond
            }
        };
        let at = find(segments, mean);
        let value = at.value.saturating_add(at.slope.saturating_mul(mean - at.start));
        let steps = (at.end - 1 - mean).min(until.saturating_sub(longest));
        if alpha == 0.0 {
            return (value, at.slope, steps);
        }
        // Rounded where the segments begin, so that the sum is linear in steps to the picosecond.
        let to = find(segments, longest);
        let share = |from: u64, to: u64| (alpha * (to as f64 - from as f64)).round() as i64;
        let (growth, own) = (at.slope as i64 + share(at.slope, to.slope), share(0, to.slope));
        let start = at.value as i64 + share(at.value, to.value);
        let value = start + (growth - own) * (mean - at.start) as i64 + own * (longest - to.start) as i64;
        match (u64::try_from(value), u64::try_from(growth)) {
            (Ok(value), Ok(growth)) => (value, growth, steps.min(to.end - 1 - longest)),
            (value, _) => (value.unwrap_or(0), 0, 0),
        }
    }

    /// Attention [ps].
    fn attention(&self, batch: &BatchShape) -> u64 {
        match (batch.prefill_tokens, batch.decodes) {
            (0, 0) => 0,
            (0, _) => self.decode_attention(batch).0,
            _ => self.mixed_attention(batch),
        }
    }

    /// Attention of a step with chunks [ps].
    fn mixed_attention(&self, batch: &BatchShape) -> u64 {
        let (chunk, history) = (batch.prefill_tokens as f64, batch.prefill_history as f64);
        if batch.decodes == 0 {
            return (self.grid.at(chunk, 0.0, history, 0.0) * self.ps).max(0.0).round() as u64;
        }
        let Spread { mean, longest, alpha, .. } = Skew::of(self.skew.as_ref(), batch);
        let at = |context: u64| self.grid.at(chunk, f64::from(batch.decodes), history, context as f64);
        let even = at(mean);
        let skewed = if alpha == 0.0 { 0.0 } else { alpha * (at(longest) - even).max(0.0) };
        ((even + skewed) * self.ps).max(0.0).round() as u64
    }
}

/// What ranks do together.
#[derive(Clone, Debug)]
struct Group {
    experts: Option<Experts>,
    reduces: AllReduces,
    graphs: CaptureSizes,
    tensor_parallel: u32,
    /// Data-parallel ranks that step together.
    ranks: u32,
    /// Whether experts are spread over the GPUs whole.
    whole_experts: bool,
    layers: f64,
    /// Hidden state of one token [bytes].
    hidden_bytes: f64,
}

impl Group {
    fn new(tables: &LayerTables, deployment: &Deployment) -> Group {
        let moe = tables.experts.as_ref().zip(deployment.model.moe.as_ref());
        Group {
            experts: moe.map(|(table, moe)| Experts::new(table, moe.experts, moe.top_k)),
            reduces: AllReduces::new(tables, &deployment.gpu),
            graphs: CaptureSizes::of(deployment),
            tensor_parallel: deployment.tensor_parallel,
            ranks: if deployment.lockstep() { deployment.data_parallel } else { 1 },
            whole_experts: deployment.expert_parallel,
            layers: f64::from(tables.count),
            hidden_bytes: f64::from(deployment.model.hidden) * ACTIVATION_BYTES,
        }
    }

    /// Experts of all layers for `tokens` tokens of all of `data_parallel` ranks together, with the exchange between those [ps].
    fn ps(&self, tokens: f64, data_parallel: u32) -> f64 {
        let Some(experts) = &self.experts else { return 0.0 };
        let gpus = f64::from(self.tensor_parallel * data_parallel);
        let us = if self.whole_experts { experts.us(tokens, gpus) } else { experts.us(tokens, 1.0) / gpus };
        let exchange = self.reduces.us(data_parallel, self.hidden_bytes * tokens);
        (us + exchange) * self.layers * PS_PER_US
    }

    /// The same by tokens of each rank, padded, where all have as many.
    fn curve(&self, max_tokens: u64) -> Curve {
        if self.experts.is_none() {
            return Curve::zero();
        }
        let far = 16.0 * max_tokens as f64;
        let all = |tokens: f64| self.ps(tokens * f64::from(self.ranks), self.ranks);
        let beyond = (all(2.0 * far) - all(far)) / far;
        Curve::tabulate(max_tokens, beyond, |t| if t == 0 { 0.0 } else { all(self.graphs.padded(t) as f64) })
    }
}

impl CostModel for Layers {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(self.nonattention(batch).saturating_add(self.attention(batch))).max(self.floor.of(batch))
    }

    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        self.together(ranks).max(self.floor.of_lockstep(ranks))
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let (attention, growth_ps, steps) = self.decode_attention(batch);
        let measured = DecodePiece { first: Duration(self.nonattention(batch).saturating_add(attention)), growth_ps, steps };
        measured.at_least(DecodePiece::by_context(batch, self.floor.of(batch), self.floor.context_token(), u64::MAX))
    }

    fn reads_spread(&self) -> bool {
        self.skew.is_some()
    }
}

/// Sum of some kernels' times at each measured point [us].
fn sum<'a>(points: usize, kernels: impl Iterator<Item = (f64, &'a Vec<f64>)>) -> Vec<f64> {
    kernels.fold(vec![0.0; points], |sum, (calls, us)| sum.iter().zip(us).map(|(s, t)| s + calls * t).collect())
}

/// Linear between measured points, and beyond the last by the secant from half of it: points stand close there, so that their own
/// scatter would decide the slope of the last segment.
fn extended(xs: &[f64], us: &[f64], x: f64) -> f64 {
    let last = xs[xs.len() - 1];
    if x <= last {
        return interpolate(xs, us, x);
    }
    let end = us[us.len() - 1];
    end + (end - interpolate(xs, us, last / 2.0)).max(0.0) * (x - last) / (last / 2.0)
}

/// Kernels and all-reduces of all layers by tokens.
fn token_curve(tables: &LayerTables, group: &Group, max_tokens: u64) -> Curve {
    let table = &tables.tokens;
    let xs: Vec<f64> = table.tokens.iter().map(|&t| f64::from(t)).collect();
    let once = tables.once.iter().map(|name| (1.0, &table.us[name]));
    let each = tables.each.iter().map(|name| (f64::from(tables.count), &table.us[name]));
    let us = sum(xs.len(), once.chain(each));
    let reduces = 2.0 * f64::from(tables.count);
    let all = |tokens: f64| {
        let reduce = group.reduces.us(group.tensor_parallel, group.hidden_bytes * tokens);
        (extended(&xs, &us, tokens) + reduces * reduce) * PS_PER_US
    };
    let far = 16.0 * max_tokens as f64;
    let beyond = (all(2.0 * far) - all(far)) / far;
    Curve::tabulate(max_tokens, beyond, |t| if t == 0 { 0.0 } else { all(group.graphs.padded(t) as f64) })
}

/// LM head and sampler by sequences.
fn sequence_curve(tables: &LayerTables, max_sequences: u64) -> Curve {
    let table = &tables.sequences;
    let xs: Vec<f64> = table.sequences.iter().map(|&s| f64::from(s)).collect();
    let us = sum(xs.len(), table.us.values().map(|us| (1.0, us)));
    let at = |s: f64| extended(&xs, &us, s) * PS_PER_US;
    let far = 16.0 * max_sequences.max(1) as f64;
    Curve::tabulate(max_sequences, (at(2.0 * far) - at(far)) / far, |s| if s == 0 { 0.0 } else { at(s as f64) })
}
