//! What one engine iteration costs.
//!
//! A cost model sees aggregates of the batch, never its members, so no model can ask for work proportional to the batch.
//!
//! Reading order: `work` (what a batch computes and reads), `floor` (the least time that can take), `form` (the integer form of a
//! step's cost), `roofline`, `profile` with `calibrated`, `table` and `layers`, `vidur`, `recorded`, `host`, and `choice`, which
//! picks one for a deployment.

mod calibrated;
mod choice;
mod curve;
mod efficiency;
mod error;
mod floor;
mod form;
mod host;
mod layers;
mod profile;
mod recorded;
mod roofline;
mod sampling;
mod shipped;
mod shipped_names;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod vidur;
mod work;

use serde::{Deserialize, Serialize};

pub use calibrated::Calibrated;
pub use choice::{CostChoice, build};
pub use curve::interpolate;
pub use efficiency::{AllReduce, AttentionEfficiency, Efficiency, GemmEfficiency};
pub use error::CostError;
pub use floor::{AttentionFloor, Floor};
pub use host::{HostOverrides, StepCost};
pub use layers::{CLOCK_MARGIN, Layers};
pub use profile::{
    AllReduceTable, AttentionBlock, DecodeAttention, DecodeGrid, Errors, ExpertRow, ExpertTable, Gating, Knots, LayerTables, Link,
    PADDED_EXPERTS, PROFILE_SCHEMA, PrefillAttention, PrefillGrid, Profile, ProfileKind, SequenceKnots, SequenceTable, SkewAlphas,
    SkewTable, StatedError, TokenTable, WHOLE_EXPERTS, profile_name,
};
pub use recorded::Recorded;
pub use roofline::Roofline;
pub use shipped::{ProfileSummary, profiles, shipped_text};
pub use table::Table;
pub use vidur::{VIDUR_CONTEXT_STEP, VIDUR_TOKEN_STEP, VidurDecode, VidurKind, VidurPrefill, VidurProfile, VidurRuns, VidurTables};
pub use work::{Arithmetic, Experts, Gemm, Work};

use crate::units::Duration;

/// What one iteration computes, summed over its batch, and the ends of what the decodes read. A *decode* is a sequence whose prompt
/// was complete before the step and that computes exactly one token; everything else is a *prefill chunk*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchShape {
    /// Index of the step on its replica, from 0. Only a cost model that plays recorded times reads it.
    pub step: u64,
    /// Sequences that decode.
    pub decodes: u32,
    /// Sum over decodes of the context length, the token being computed included [tokens].
    pub decode_context: u64,
    /// Longest context of a decode, the token being computed included [tokens]; 0 without decodes. Engines fill in this and
    /// [`BatchShape::decode_shortest`] if the model reads them ([`CostModel::reads_spread`]); else they may be 0.
    pub decode_longest: u64,
    /// Shortest context of a decode [tokens]; 0 without decodes.
    pub decode_shortest: u64,
    /// Prefill chunks.
    pub prefill_chunks: u32,
    /// Sum of the chunks' tokens [tokens].
    pub prefill_tokens: u64,
    /// Sum over chunks of the tokens already computed before the chunk (its history) [tokens].
    pub prefill_history: u64,
    /// Sum over chunks of k*c + k(k+1)/2 for k tokens after c: the causal query-key pairs.
    pub prefill_pairs: u64,
    /// Sum over chunks of the square of their tokens.
    pub prefill_squares: u64,
    /// Sum over chunks of their history, each rounded up to a multiple of 64 [tokens].
    pub prefill_history_64: u64,
    /// Sequences that get a token sampled at the end of the step: decodes and last chunks.
    pub sampled: u32,
}

impl BatchShape {
    /// All tokens computed in the step.
    pub fn tokens(&self) -> u64 {
        u64::from(self.decodes) + self.prefill_tokens
    }

    /// All sequences in the step.
    pub fn sequences(&self) -> u32 {
        self.decodes + self.prefill_chunks
    }

    /// Adds one decode whose context, the new token included, is `context` [tokens].
    pub fn add_decode(&mut self, context: u64) {
        self.decode_shortest = if self.decodes == 0 { context } else { self.decode_shortest.min(context) };
        self.decode_longest = self.decode_longest.max(context);
        self.decodes += 1;
        self.decode_context += context;
        self.sampled += 1;
    }

    /// The decode-only batch `steps` steps later, if its members stay the same: each has `steps` more tokens of context.
    pub fn later(&self, steps: u64) -> BatchShape {
        BatchShape {
            step: self.step + steps,
            decode_context: self.decode_context + u64::from(self.decodes) * steps,
            decode_longest: self.decode_longest + steps,
            decode_shortest: self.decode_shortest + steps,
            ..*self
        }
    }

    /// Adds one chunk of `tokens` after `history` computed tokens; `last` if it completes the prompt.
    pub fn add_chunk(&mut self, history: u64, tokens: u64, last: bool) {
        self.prefill_chunks += 1;
        self.prefill_tokens += tokens;
        self.prefill_history += history;
        self.prefill_pairs += tokens * history + tokens * (tokens + 1) / 2;
        self.prefill_squares += tokens * tokens;
        self.prefill_history_64 += history.next_multiple_of(64);
        self.sampled += u32::from(last);
    }
}

/// The cost of a decode-only batch from step to step while its members stay, so that each context grows by one token a step:
/// `duration(j) = first + growth * j` for the batch [`BatchShape::later`] by `0 <= j <= steps`, in exact integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodePiece {
    /// Duration of the batch asked about.
    pub first: Duration,
    /// Picoseconds by which each further step lasts longer than the one before.
    pub growth_ps: u64,
    /// Further steps for which this holds; 0 if nothing is known beyond the first.
    pub steps: u64,
}

impl DecodePiece {
    /// The piece of a model that is affine in the sum of the contexts: `slope_ps` picoseconds per token of it, up to a sum of
    /// `until` tokens, for a batch that takes `first`.
    pub fn by_context(batch: &BatchShape, first: Duration, slope_ps: u64, until: u64) -> DecodePiece {
        let members = u64::from(batch.decodes.max(1));
        let steps = until.saturating_sub(batch.decode_context) / members;
        DecodePiece { first, growth_ps: slope_ps.saturating_mul(members), steps }
    }

    /// The larger of this piece and `other` at each step, as far as one of them is the larger all along.
    pub(crate) fn at_least(self, other: DecodePiece) -> DecodePiece {
        let (upper, lower) = if self.first >= other.first { (self, other) } else { (other, self) };
        let steps = upper.steps.min(lower.steps);
        if upper.growth_ps >= lower.growth_ps {
            return DecodePiece { steps, ..upper };
        }
        let meet = (upper.first.0 - lower.first.0) / (lower.growth_ps - upper.growth_ps);
        DecodePiece { steps: steps.min(meet), ..upper }
    }
}

/// Duration of engine iterations on one replica.
pub trait CostModel: Send + Sync {
    /// Duration of one iteration of the engine, host time included. Where data-parallel ranks run in lockstep
    /// ([`crate::deployment::Deployment::lockstep`]), that of a step in which every rank has this batch.
    fn iteration(&self, batch: &BatchShape) -> Duration;

    /// Duration of a step that data-parallel ranks run in lockstep, from one batch per rank; a rank without work has an empty
    /// one. By default the slowest rank decides, the others taken to be as loaded as it is.
    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        let busy = ranks.iter().filter(|batch| batch.tokens() > 0);
        busy.map(|batch| self.iteration(batch)).max().unwrap_or(Duration::ZERO)
    }

    /// Duration of each pipeline stage of one iteration, the transfer to the next stage included; `times` has one entry per stage.
    /// By default equal parts of [`CostModel::iteration`].
    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        let (all, stages) = (self.iteration(batch).0, times.len() as u64);
        for (time, stage) in times.iter_mut().zip(0..) {
            *time = Duration(all / stages + u64::from(stage < all % stages));
        }
    }

    /// The affine piece that holds from `batch`, a decode-only batch, on. Must agree with [`CostModel::iteration`] exactly.
    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece;

    /// Whether it reads [`BatchShape::decode_longest`] and [`BatchShape::decode_shortest`], which cost an engine some work.
    fn reads_spread(&self) -> bool {
        false
    }
}

/// Where a cost model's numbers come from: printed in every output.
#[derive(Clone, Debug, Serialize)]
pub struct CostInfo {
    /// `calibrated`, `table`, `layers`, `vidur` or `roofline`.
    pub kind: &'static str,
    /// Whether the times were fitted to, or laid out from, measurements of this GPU and model.
    pub calibrated: bool,
    /// Name of the profile, if one was used.
    pub profile: Option<String>,
    /// Engine and version that the profile was measured in, such as `vllm 0.24.0`.
    pub engine: Option<String>,
    /// Stated error of the profile against its own data, such as `decode 1.4 % mean, 5.1 % worst`.
    pub error: Option<String>,
    /// Engine and version, source and licence of the measurements, or what the formula assumes.
    pub source: String,
    /// Ranges measured. A run that leaves them says so.
    pub ranges: Option<Ranges>,
    /// Host time added to each step and request.
    pub host: HostOverhead,
    /// FNV-1a of the profile's text or of the formula's inputs, 16 hexadecimal digits: part of a result's fingerprint.
    pub hash: String,
}

/// The ranges a profile was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Most sequences decoding at once.
    pub decodes_max: u32,
    /// Longest mean context of a decode [tokens].
    pub context_max: u32,
    /// Most prefill tokens in one step [tokens].
    pub prefill_tokens_max: u32,
}

/// Host time, which no kernel table contains [us]: it belongs to the machine and the engine's version, so it is a term of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostOverhead {
    /// Added to every step, whatever the scheduling [us].
    pub step_us: f64,
    /// Launching the kernels of one layer, where a step runs as no CUDA graph: it lasts at least this for every layer [us].
    pub layer_us: f64,
    /// Agreement of data-parallel ranks in lockstep on their token counts: added to every step of such ranks, 0 for others [us].
    pub sync_us: f64,
    /// Scheduling and bookkeeping of a step: added when scheduling is synchronous, hidden behind the GPU when it is
    /// asynchronous (the step then lasts at least this long) [us].
    pub schedule_us: f64,
    /// The same, per sequence in the step [us].
    pub schedule_sequence_us: f64,
    /// From arrival at the front end until the engine can see the request, but for what its prompt takes: HTTP, hand-over [us].
    pub request_us: f64,
    /// What a request's coming and going take from the engine's steps, added to the step that completes its prompt: a front end
    /// that shares the engine's cores, a batch that is put together anew [us].
    pub arrival_us: f64,
    /// Tokenisation of a prompt, per token. One request after the other: a front end has one thread for it [us].
    pub prompt_token_us: f64,
    /// From the end of a step until its tokens reach the client: detokenisation, streaming [us].
    pub token_us: f64,
}
