//! One engine core: vLLM v1's scheduler over a paged KV cache, on a simulated clock. A replica is one of them, or several
//! data-parallel ranks, whose semantics are in `group.rs`. Other schedulers are in [`batchwise`].
//!
//! # Semantics
//!
//! Two engines implement this text: the fast one here, and the obvious one of the `tests` crate, which walks every request in
//! every step. They must agree to the picosecond.
//!
//! **Requests.** A request with `p = input_tokens` is *rejected* when it arrives if `p >= max_model_len` (context limit), or if
//! `max_num_queued_reqs` requests already wait on its replica (delivered and not running, preempted ones included). Its output
//! limit is `limit = min(max_tokens, max_model_len - p)`; it yields `out = min(output_tokens, limit)` tokens. `o` counts the tokens
//! it has been *given* (applied, see below), `c` its computed tokens, `num_tokens = p + o`. It finishes with reason
//! `Stop` if `output_tokens < limit`, else `Length` if `limit == max_tokens`, else `Truncated` (the context limit cut it).
//!
//! **Visibility.** A request that arrives at `t` is routed at `t` and *delivered* then; the engine can see it from
//! `visible = max(t + ingress, visible of the delivery before it) + p * ingress of a prompt token` on: host time of a request, then
//! the replica's tokenizer, one prompt after the other. All tokens of a step become visible to the client at the step's end plus
//! `egress`.
//!
//! **Engine loop.** `depth` is 1 with synchronous scheduling, 2 with asynchronous, P with P pipeline stages. `inflight` is the
//! queue of scheduled steps whose results are not yet applied.
//!
//! ```text
//! now = time of the first delivery's visibility
//! loop:
//!   drain: aborts whose deadline <= now, in order of (deadline, id); then deliveries with visible <= now, in delivery order
//!   if inflight.len() < depth and schedule() finds work:
//!       step.start = max(now, end of the step before); step.end = step.start + cost(step); inflight.push(step)
//!       if inflight.len() < depth: continue          (the second step is scheduled at the same `now`)
//!   if inflight is empty and schedule() only preempted: continue            (an empty step takes no time)
//!   if inflight is not empty: step = inflight.pop_front(); now = step.end; apply(step)
//!   else: now = the next visibility (or deadline) of anything delivered; stop if there is none
//! ```
//!
//! **Pipeline.** With P > 1 stages, which go with synchronous scheduling only, stage `s` of a step starts when stage `s - 1` of
//! the step and stage `s` of the step before are done ([`tokentide_models::cost::CostModel::stages`]), and `step.end` is the end
//! of its last stage. A request whose token is in flight wants nothing (it wants `num_tokens - c` tokens, without `pending`); a
//! chunk of a prompt may follow the one before. So requests that were first scheduled together stay together, and those of one
//! batch that took them all leave the other stages idle (vLLM issues 41682 and 50853 complain of it). A preempted request is
//! admitted again only when the token that a step in flight still gives it has been applied; until then it keeps its place and
//! blocks those behind it (vLLM does not wait). A step's duration is the time that it adds to what the steps before it cover.
//!
//! An iteration of this loop at `now` is an *event*. Whatever is delivered with `visible <= now` is seen by the event at `now`: a
//! delivery at time `t` is processed before any event at `t`. A drained request whose deadline is `<= now` already never enters
//! the waiting queue (its abort comes first; see timeouts).
//!
//! **schedule()** is that of vLLM 0.32: running requests first in list order under one token budget, each wanting
//! `num_tokens + pending - c` tokens, where `pending` counts the tokens that steps in flight will give; preemption; then, if
//! nothing was preempted, waiting requests with head-of-line blocking. In detail:
//!
//! * A request whose last token by *length* is in flight (`o + pending == out` and not `Stop`) wants nothing and stays in
//!   `running`; one that will *stop* is scheduled once more, and that token is discarded (asynchronous scheduling only).
//! * The chunk of a request is cut to `long_prefill_token_threshold` if that is positive (with `lone_prefill_uncapped`, not while
//!   it is the only request in `running` and `waiting`), then to the budget left. Without chunked prefill a waiting request that
//!   wants more than the budget left blocks the queue.
//! * First come, first served: the victim is the last of `running`; it goes to the front of `waiting`. Priority: the victim is the
//!   maximum of (priority, arrival, id); if it was already scheduled in this step its tokens go back to the budget. A victim loses
//!   all its blocks, `c = 0`, keeps its tokens. If the victim is the request that needed the block, the running loop stops.
//! * Admission gate: `ceil(num_tokens / bs) - hits + idle hits + watermark <= free` if `reserve_full_isl`, then the same with the
//!   chunk `ceil((c + k) / bs)`, where `watermark = floor(watermark * (kv_blocks + 1))` if `running` is not empty, else 0; an idle
//!   hit is a hit block that nobody references.
//! * For the cost ([`tokentide_models::cost::BatchShape`]) a request is a *decode* if its (re)computed prompt was complete before
//!   the step (`c >= num_tokens at its latest admission`), else a chunk.
//!
//! **apply(step)**: every request whose computed tokens had reached `num_tokens` (pending ones included) when it was scheduled gets
//! one token: preempted in the meantime or not, unless it has ended. When `o == out` it ends: it leaves `running` (or the
//! waiting queue, if preempted) and its blocks are freed, in batch order.
//!
//! **Timeouts.** A client gives up at `deadline`. If its last token is not visible to it by then (`end + egress > deadline`), the
//! request ends as `TimedOut` at `deadline`; the engine learns of it at the first drain at or after the deadline: the request
//! leaves `waiting` or `running` and its blocks are freed. A request that the engine finishes first frees its blocks as usual and
//! still counts as timed out. The outcome's output tokens are those that the engine had given when it learned of the end.
//! (vLLM sees to the aborts that are there when a step's result comes *before* it applies the result: the request does not get
//! that step's token, and its blocks are freed before those of the requests that the step ends.)
//!
//! **Prefix cache.** As in vLLM: full blocks are keyed by content ([`Request::shared_block_keys`], [`Request::private_block_key`]);
//! a block gets its key when it is scheduled to be filled, as far as its tokens are known: up to `min(c + k, p + o)` at schedule(),
//! and up to `c - pending` when a step is applied to a running request. A lookup, at admission only, takes the longest run of keyed
//! blocks from block 0, at most `(num_tokens - 1) / bs`; a key finds its first
//! inserted block. Free blocks form one queue, taken from the left; a keyed block loses its key when it is taken. Freed blocks
//! with a key go to the tail, a request's last block first; blocks without a key to the head (`free_unhashed_first`) or, in the
//! same sequence, to the tail. With caching off the queue's order has no effect.
//!
//! **Follow-ups.** A workload that waits for answers (closed loop, sessions) learns of an end at the event that applies or drains
//! it; a follow-up arrives at `max(ended + think, time of that event)`.

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};

use crate::workload::Request;

mod any;
pub mod batchwise;
mod beside;
mod decodes;
mod execute;
mod group;
mod kv;
mod latencies;
mod leap;
mod levels;
mod pipeline;
mod release;
mod replica;
mod running;
mod schedule;
mod table;
mod waiting;
mod walk;

pub use any::AnyReplica;
pub use beside::Beside;
pub use group::{Group, Layout};
pub use latencies::Latencies;
pub use leap::Progression;
pub use replica::Settings;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Finish {
    /// The model ended its answer.
    Stop,
    /// `max_tokens` reached.
    Length,
    /// Cut by `max_model_len`.
    Truncated,
    /// Prompt does not fit the context: never ran.
    RejectedContext,
    /// Queue limit reached: never ran.
    RejectedQueue,
    /// The client gave up.
    TimedOut,
    /// Its replica went away, and nobody sent it again.
    Lost,
    /// No replica was there to take it.
    Unavailable,
}

impl Finish {
    /// All of them, in the order of their number.
    pub const ALL: [Finish; 8] = [
        Finish::Stop,
        Finish::Length,
        Finish::Truncated,
        Finish::RejectedContext,
        Finish::RejectedQueue,
        Finish::TimedOut,
        Finish::Lost,
        Finish::Unavailable,
    ];

    /// Name in reports and records.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Truncated => "truncated",
            Finish::RejectedContext => "rejected_context",
            Finish::RejectedQueue => "rejected_queue",
            Finish::TimedOut => "timed_out",
            Finish::Lost => "lost",
            Finish::Unavailable => "unavailable",
        }
    }

    /// Whether the client got its whole answer.
    pub fn completed(self) -> bool {
        matches!(self, Finish::Stop | Finish::Length | Finish::Truncated)
    }
}

/// An engine core: a data-parallel rank of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreId {
    /// Replica.
    pub replica: u32,
    /// Its data-parallel rank.
    pub rank: u32,
}

/// What became of a request. Times are as the client sees them (egress included), except `queued` and `scheduled`.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The request.
    pub request: Request,
    /// Replica that it was routed to; 0 if rejected before.
    pub replica: u32,
    /// Its data-parallel rank there.
    pub rank: u32,
    /// How it ended.
    pub finish: Finish,
    /// Time of the event that took it into the waiting queue.
    pub queued: Option<Time>,
    /// Time of the `schedule()` that first ran it.
    pub scheduled: Option<Time>,
    /// First token.
    pub first_token: Option<Time>,
    /// The end: last token, rejection (= arrival), or deadline.
    pub ended: Time,
    /// Tokens given.
    pub output_tokens: u32,
    /// Prompt tokens found in the prefix cache at its first admission.
    pub cached_tokens: u32,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// Receives what happens.
pub trait Observer {
    /// Names that tenants and routes of requests index. Told before anything else, if anybody has given names.
    fn labels(&mut self, _names: &[String]) {}

    /// A request ended. Called once per request, in no particular order across replicas.
    fn outcome(&mut self, outcome: Outcome);

    /// Whether [`Observer::step`] wants every single step: the engine then never leaps.
    fn wants_steps(&self) -> bool {
        false
    }

    /// A step was scheduled.
    fn step(&mut self, _step: &StepView<'_>) {}

    /// A request got its first token on a replica, `cached` of its prompt's tokens found in the prefix cache; told when the step
    /// that gives it is scheduled, so that `at`, when the client sees it, lies ahead.
    fn first_token(&mut self, _core: CoreId, _at: Time, _request: &Request, _cached: u32) {}

    /// `count` tokens of requests of `class` came after each of the gaps `first, first + slope, ...` (`steps` of them).
    fn gaps(&mut self, _core: CoreId, _class: u16, _gaps: Gaps) {}

    /// `steps` steps of this shape were executed (the first one's; contexts grow from step to step). Told before the gaps and first
    /// tokens that they give, and after [`Observer::step`].
    fn batch(&mut self, _core: CoreId, _shape: &BatchShape, _steps: u64) {}

    /// The levels of an engine core held from `from` until `to`.
    fn levels(&mut self, _core: CoreId, _from: Time, _to: Time, _levels: &Levels) {}

    /// A replica was there from `from` until `until`; the run ended at `end`. Told then, of each in order.
    fn served(&mut self, _replica: u32, _from: Time, _until: Time, _end: Time) {}
}

/// Inter-token gaps of the decodes of one class over consecutive steps: an arithmetic progression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// End of the step that gave the tokens before the first gap.
    pub from: Time,
    /// The first step's gap.
    pub first: Duration,
    /// Growth from step to step [ps].
    pub slope_ps: u64,
    /// Number of steps.
    pub steps: u64,
    /// Tokens in each step.
    pub count: u32,
}

impl Gaps {
    /// The gaps' lengths.
    pub fn progression(&self) -> Progression {
        Progression { first: self.first.0, slope: self.slope_ps }
    }
}

/// Levels of an engine core between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Requests running.
    pub running: u32,
    /// Requests waiting: delivered and not running.
    pub waiting: u32,
    /// Tokens still to be prefilled: of those that wait, all; of those partly prefilled, the rest.
    pub waiting_tokens: u64,
    /// KV blocks in use at the start.
    pub kv_used_from: u32,
    /// KV blocks in use at the end; in between they grow steadily.
    pub kv_used_to: u32,
    /// Tokens given over the interval.
    pub tokens: u64,
    /// Preemptions at its start.
    pub preemptions: u64,
}

/// One scheduled step, as vLLM's step log shows it: the state right after the decision.
#[derive(Clone, Debug)]
pub struct StepView<'a> {
    /// Replica.
    pub replica: u32,
    /// Its data-parallel rank.
    pub rank: u32,
    /// Index of the step on its rank, dummy steps not counted.
    pub step: u64,
    /// Time of `schedule()`.
    pub scheduled: Time,
    /// From when on it adds to the time that the steps before it cover: its start, unless pipeline stages overlap.
    pub start: Time,
    /// End of execution.
    pub end: Time,
    /// Batch in order: request id, computed tokens before, tokens.
    pub batch: &'a [(u64, u32, u32)],
    /// Ids preempted by this decision, in order.
    pub preempted: &'a [u64],
    /// Length of `running`.
    pub running: u32,
    /// Length of `waiting`.
    pub waiting: u32,
    /// Free KV blocks (cached but unreferenced ones are free).
    pub free_blocks: u32,
}

/// What an engine core did in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineTotals {
    /// Requests delivered to it.
    pub requests: u64,
    /// Steps.
    pub steps: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Sum of step durations [ps].
    pub busy_ps: u64,
    /// Most blocks in use right after any decision.
    pub kv_blocks_peak: u32,
    /// End of the last step.
    pub last_end: Time,
}
