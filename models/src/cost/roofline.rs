//! Cost from the deployment alone: peaks of the GPU times the share of them that kernels reach. Never calibrated.

use crate::capture_sizes::CaptureSizes;
use crate::cost::curve::Curve;
use crate::cost::efficiency::{Efficiency, GemmEfficiency};
use crate::cost::floor::PS;
use crate::cost::form::{Form, GroupForm, LocalForm, PrefillForm, group_limit, table_limits};
use crate::cost::sampling::sampling_seconds;
use crate::cost::work::{Arithmetic, Experts, Gemm, Work};
use crate::cost::{BatchShape, CostError, CostModel, DecodePiece, Floor};
use crate::deployment::{ACTIVATION_BYTES, Deployment};
use crate::gpu::{Gpu, elementwise_seconds};
use crate::memory::stage_layers;
use crate::padded_experts::PaddedExperts;
use crate::units::Duration;

/// Element-wise kernels of a layer once fused: two normalisations with their residual, one activation.
const ELEMENTWISE_KERNELS: f64 = 3.0;
/// Kernels around the products of a mixture: gate, sorting of tokens by expert (two), sum over a token's choices.
const ROUTING_KERNELS: f64 = 4.0;
/// Bytes of a sum that ranks exchange for a normalisation.
const SUM_BYTES: f64 = 4.0;
/// Latency of a transfer between pipeline stages [s] (AIConfigurator's system files).
const STAGE_S: f64 = 10e-6;

/// A roofline with efficiency curves.
///
/// * Matrix products: `max(FLOP / (peak e m/(m + m_half) n/(n + n_half)), bytes / (HBM f)) + launch` each, at the padded number of
///   tokens; `m_half` is at most what lets arithmetic of no rows take as long as reading the weights.
/// * Experts: those woken on average under uniform routing are read, `E (1 - ((E-k)/E)^T)`, each with its share of the rows, at
///   the rates of grouped products; four more kernels sort the tokens and sum the outputs. Releases that pad them:
///   [`PaddedExperts`].
/// * Data-parallel ranks of a mixture: the experts see the tokens of all ranks, which come to them by an all-gather of hidden
///   states and routing scores and go back by a reduce-scatter, once a layer. Every rank runs at the padded size of the largest
///   while all run as graphs, else each at its own.
/// * LM head: one row per sequence in the step, unfinished chunks included, as vLLM computes it; then the logits are gathered, and
///   a token picked.
/// * Element-wise kernels: `bytes / (0.8 HBM) + 3 us`, three a layer.
/// * Tensor parallelism: two all-reduces of the hidden states a layer, and two of a number a token where queries and keys are
///   normalised over all heads. Pipeline stages: a pass goes through all of them, plus a
///   transfer of the hidden states and 10 us between two; each stage's part of it is that of its layers, and the LM head the
///   last's.
/// * Decode attention: a constant per layer plus KV bytes over the reached bandwidth (or arithmetic over the reached peak, if
///   that is slower); sliding-window layers read `min(context, window)`, taken at the mean context.
/// * Prefill attention: `FLOP (pairs + tokens h/2) / (peak e)`, which for one prompt of `n` tokens is a share `e n/(n + h)` of
///   peak, plus the reading of the history.
///
/// Mean absolute error against the composed kernel times of AIConfigurator 0.12.0 on the five measured GPUs, TP 1, 4 and 8
/// (in-sample in its constants, not in its form; example `roofline_errors` of the calibrate crate): dense bf16 6 % decode, 8 %
/// prefill; dense fp8 8 and 10 %; mixtures of experts 11 and 13 %.
#[derive(Clone, Debug)]
pub struct Roofline {
    form: Form,
    floor: Floor,
    efficiency: Efficiency,
    measured: bool,
    /// Layers of each pipeline stage.
    layers: Vec<u32>,
}

impl Roofline {
    /// The roofline of a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Deployment`] if the deployment makes no sense.
    pub fn new(deployment: &Deployment) -> Result<Roofline, CostError> {
        let work = Work::new(deployment)?;
        let (efficiency, measured) = Efficiency::of(&deployment.gpu);
        let form = Prices { work: &work, efficiency: &efficiency, deployment, padded: PaddedExperts::of(deployment) }.form();
        let stages = stage_layers(deployment.model.layers, deployment.pipeline_parallel);
        let layers = stages.into_iter().map(|stage| stage.end - stage.start).collect();
        Ok(Roofline { form, floor: Floor::of_work(&work, deployment), efficiency, measured, layers })
    }

    /// The constants used.
    pub fn efficiency(&self) -> &Efficiency {
        &self.efficiency
    }

    /// Whether the constants were measured on this GPU, as opposed to one like it.
    pub fn measured(&self) -> bool {
        self.measured
    }
}

impl CostModel for Roofline {
    #[inline]
    fn iteration(&self, batch: &BatchShape) -> Duration {
        self.floor.hold(batch, self.form.iteration(batch))
    }

    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        self.floor.hold_lockstep(ranks, self.form.lockstep(ranks))
    }

    /// By layers, transfers as well; the LM head is the last stage's.
    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        let head = self.form.head(batch);
        let layers = u128::from(self.iteration(batch).0 - head);
        let (all, mut before) = (u128::from(self.layers.iter().sum::<u32>().max(1)), 0);
        for (time, &count) in times.iter_mut().zip(&self.layers) {
            let until = before + u128::from(count);
            *time = Duration((layers * until / all - layers * before / all) as u64);
            before = until;
        }
        if let Some(last) = times.last_mut() {
            last.0 += head;
        }
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let piece = self.form.decode_piece(batch);
        DecodePiece { first: self.floor.hold(batch, piece.first), ..piece }
    }
}

/// Seconds of the parts of a pass.
struct Prices<'a> {
    work: &'a Work,
    efficiency: &'a Efficiency,
    deployment: &'a Deployment,
    /// Routed experts, where the engine pads their rows.
    padded: Option<PaddedExperts>,
}

impl Prices<'_> {
    fn gpu(&self) -> &Gpu {
        &self.deployment.gpu
    }

    fn form(&self) -> Form {
        let (d, work) = (self.deployment, self.work);
        let graphs = CaptureSizes::of(d);
        let (max_tokens, max_sequences) = table_limits(d.max_num_batched_tokens, d.max_num_seqs);
        let beyond = |f: &dyn Fn(f64) -> f64, at: u64| (f(2.0 * at as f64) - f(at as f64)) / at as f64 * PS;
        let tokens = |t: f64| self.tokens(t);
        let head = |s: f64| self.product(&work.head, s) + sampling_seconds(d, self.efficiency, s);
        let launch = work.layers * self.efficiency.attention.decode_launch_us * 1e-6 * PS;
        let per_token = self.decode_context(work.kv_bytes, work.decode_flops) * PS;
        let local = (work.window > 0).then(|| {
            let flops = work.decode_flops * work.local_kv_bytes / work.kv_bytes.max(1.0);
            let slope = self.decode_context(work.local_kv_bytes, flops) * PS;
            LocalForm { window: work.window, slope: Curve::tabulate(0, 0.0, |_| slope.ceil()) }
        });
        Form {
            tokens: Curve::tabulate(max_tokens, beyond(&tokens, max_tokens), |t| {
                if t == 0 { 0.0 } else { self.tokens(graphs.padded(t) as f64) * PS }
            }),
            group: self.group(max_tokens, graphs),
            sequences: Curve::tabulate(max_sequences, beyond(&head, max_sequences.max(1)), |s| {
                if s == 0 { 0.0 } else { head(s as f64) * PS }
            }),
            decode_fixed: Curve::tabulate(0, 0.0, |_| launch),
            decode_slope: Curve::tabulate(0, 0.0, |_| per_token.ceil()),
            local,
            prefill: self.prefill(launch),
        }
    }

    /// The parts of a step of ranks in lockstep.
    fn group(&self, max_tokens: u64, graphs: CaptureSizes) -> Option<GroupForm> {
        let experts = self.work.experts.as_ref().filter(|experts| experts.group > 1.0)?;
        let all = group_limit(max_tokens, self.deployment.data_parallel);
        let curve = |max: u64, f: &dyn Fn(f64) -> f64| {
            let growth = (f(2.0 * max as f64) - f(max as f64)) / max as f64 * PS;
            Curve::tabulate(max, growth, |tokens| if tokens == 0 { 0.0 } else { f(tokens as f64) * PS })
        };
        Some(GroupForm {
            captured: graphs.largest(),
            own: curve(max_tokens, &|tokens| self.own(tokens)),
            experts: curve(all, &|tokens| self.experts(experts, tokens)),
        })
    }

    /// One dense matrix product of each of its layers, with `rows` rows.
    fn product(&self, gemm: &Gemm, rows: f64) -> f64 {
        self.products(gemm, rows, 1.0, rows, self.efficiency.gemm(gemm.arithmetic))
    }

    /// Matrix products of each of its layers: `rows` rows in all over `copies` matrices, `per_copy` rows each.
    fn products(&self, gemm: &Gemm, rows: f64, copies: f64, per_copy: f64, efficiency: GemmEfficiency) -> f64 {
        let GemmEfficiency { peak_fraction, half_rows, half_outputs, bandwidth_fraction, launch_us } = efficiency;
        let rate = gemm.arithmetic.peak(self.gpu()) * peak_fraction * gemm.outputs / (gemm.outputs + half_outputs);
        let bandwidth = self.gpu().memory_bandwidth * bandwidth_fraction;
        // Thin products wait for their weights: constants of another GPU, or of wider weights, must not make arithmetic their
        // bound.
        let half_rows = half_rows.min(gemm.weights() / bandwidth / (gemm.flops(1.0) / rate));
        let compute = gemm.flops(rows) / (rate * per_copy / (per_copy + half_rows));
        let bytes = copies * gemm.weights() + rows * (gemm.inputs + gemm.outputs) * ACTIVATION_BYTES;
        gemm.layers * (compute.max(bytes / bandwidth) + launch_us * 1e-6)
    }

    /// All of a pass that depends on its tokens (on each data-parallel rank) alone.
    fn tokens(&self, tokens: f64) -> f64 {
        self.own(tokens) + self.work.experts.as_ref().map_or(0.0, |experts| self.experts(experts, tokens * experts.group))
    }

    /// Of that, what a rank computes for its own tokens.
    fn own(&self, tokens: f64) -> f64 {
        let (work, d) = (self.work, self.deployment);
        let dense: f64 = work.dense.iter().map(|g| self.product(g, tokens)).sum();
        let hidden = tokens * work.hidden * ACTIVATION_BYTES;
        // Each normalisation reads and writes the stream and the residual; the activation reads two halves and writes one.
        let elementwise_bytes = 8.0 * hidden + 3.0 * tokens * work.feed_forward * ACTIVATION_BYTES;
        let elementwise = elementwise_seconds(elementwise_bytes, ELEMENTWISE_KERNELS, self.gpu().memory_bandwidth);
        let reduced = |bytes| 2.0 * self.efficiency.all_reduce_seconds(d.tensor_parallel, bytes);
        let norms = if d.model.norm_across_ranks { reduced(tokens * SUM_BYTES) } else { 0.0 };
        let reduce = reduced(hidden) + norms;
        let transfers = f64::from(d.pipeline_parallel - 1) * (hidden / self.gpu().link_bandwidth + STAGE_S);
        dense + work.layers * (elementwise + reduce) + transfers
    }

    /// Routed experts for `tokens` tokens of all data-parallel ranks together, and the exchange between those.
    fn experts(&self, e: &Experts, tokens: f64) -> f64 {
        let width = |width: f64| self.efficiency.exchange_seconds(e.group as u32, tokens * width * ACTIVATION_BYTES);
        let exchanged = e.gate_up.layers * (width(self.work.hidden + e.total) + width(self.work.hidden));
        exchanged
            + match &self.padded {
                Some(padded) => e.gate_up.layers * padded.seconds(tokens),
                None => self.grouped_experts(e, tokens),
            }
    }

    /// Routed experts by products of as many rows as there are choices, routing included.
    fn grouped_experts(&self, e: &Experts, tokens: f64) -> f64 {
        let (rows, active, per_expert) = (tokens * e.top_k * e.share, e.active(tokens), e.rows(tokens));
        let reached = |g: &Gemm| self.efficiency.experts(g.arithmetic, g.weight_bytes);
        let product = |g: &Gemm| self.products(g, rows, active, per_expert, reached(g));
        let products = product(&e.gate_up) + product(&e.down);
        // Each choice's output is written and then summed over the choices: traffic that tensor parallelism does not divide.
        let summed = (rows + tokens) * self.work.hidden * ACTIVATION_BYTES;
        let routing = elementwise_seconds(summed, ROUTING_KERNELS, self.gpu().memory_bandwidth);
        products + e.gate_up.layers * routing
    }

    /// Seconds per context token of a decode.
    fn decode_context(&self, bytes: f64, flops: f64) -> f64 {
        let attention = self.efficiency.attention;
        let read = bytes / (self.gpu().memory_bandwidth * attention.decode_bandwidth_fraction);
        read.max(flops / (Arithmetic::Bf16.peak(self.gpu()) * attention.prefill_peak_fraction))
    }

    fn prefill(&self, launch: f64) -> PrefillForm {
        let (attention, work) = (self.efficiency.attention, self.work);
        let reached = Arithmetic::Bf16.peak(self.gpu()) * attention.prefill_peak_fraction;
        let pair = work.pair_flops / reached * PS;
        // A local layer computes at most `window` pairs per token; short prompts have fewer, so this is high for them.
        let local_pair = work.local_pair_flops / reached * PS;
        let half = attention.prefill_half_tokens / 2.0;
        let token = (pair + local_pair) * half + local_pair * work.window as f64;
        let read = work.kv_bytes / (self.gpu().memory_bandwidth * attention.decode_bandwidth_fraction) * PS;
        PrefillForm::new(launch, token, pair, read)
    }
}

#[cfg(test)]
mod tests;
