//! A request while it is on a replica.

use tokentide_models::units::Time;
use tokentide_sim::engine::{CoreId, Finish, Outcome};
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::workload::Request;

/// State of a delivered request that has not ended.
#[derive(Clone, Debug)]
pub struct Live {
    /// The request.
    pub request: Request,
    /// When the engine can see it.
    pub visible: Time,
    /// Tokens it will yield (`out`).
    pub yields: u32,
    /// How it ends once it has yielded them.
    pub ending: Finish,
    /// Tokens given (`o`).
    pub given: u32,
    /// Computed tokens, as scheduled so far (`c`).
    pub computed: u32,
    /// Tokens that steps in flight will give.
    pub pending: u32,
    /// `num_tokens` at its latest admission; zero before the first.
    pub admitted_tokens: u32,
    /// Its blocks, in order.
    pub blocks: Vec<u32>,
    /// How many of `blocks` have been given their key, or were found by it.
    pub keyed: usize,
    /// Keys of the blocks inside the shared prefix.
    shared_keys: Vec<u64>,
    /// Event that took it into the waiting queue.
    pub queued: Option<Time>,
    /// First `schedule()` that ran it.
    pub scheduled: Option<Time>,
    /// First token, as the client would see it.
    pub first_token: Option<Time>,
    /// End of the step that gave its latest token.
    pub last_token: Option<Time>,
    /// Tokens found in the cache at the first admission.
    pub cached: u32,
    /// How often it was preempted.
    pub preemptions: u32,
}

impl Live {
    /// A request that fits the context, just delivered, which the engine sees from `visible` on.
    pub fn new(request: Request, visible: Time, config: &EngineConfig) -> Live {
        let limit = request.max_tokens.min(config.max_model_len - request.input_tokens);
        let ending = if request.output_tokens < limit {
            Finish::Stop
        } else if limit == request.max_tokens {
            Finish::Length
        } else {
            Finish::Truncated
        };
        Live {
            visible,
            yields: request.output_tokens.min(limit),
            ending,
            given: 0,
            computed: 0,
            pending: 0,
            admitted_tokens: 0,
            blocks: Vec::new(),
            keyed: 0,
            shared_keys: request.shared_block_keys(config.block_size),
            queued: None,
            scheduled: None,
            first_token: None,
            last_token: None,
            cached: 0,
            preemptions: 0,
            request,
        }
    }

    /// Prompt and given tokens (`num_tokens`).
    pub fn num_tokens(&self) -> u32 {
        self.request.input_tokens + self.given
    }

    /// Tokens it wants computed next, if it need not know the token in flight to go on.
    pub fn wants(&self) -> u32 {
        let last_in_flight = self.given + self.pending == self.yields && self.ending != Finish::Stop;
        if last_in_flight { 0 } else { self.num_tokens() + self.pending - self.computed }
    }

    /// Tokens it wants computed next, of those that it knows.
    pub fn wants_of_known(&self) -> u32 {
        self.num_tokens() - self.computed
    }

    /// Identity of full block `i`.
    pub fn key(&self, i: usize) -> u64 {
        self.shared_keys.get(i).copied().unwrap_or_else(|| self.request.private_block_key(i as u32))
    }

    /// Order of the waiting queue under the priority policy; the greatest is preempted.
    pub fn rank(&self) -> (i32, Time, u64) {
        (self.request.priority, self.request.arrival, self.request.id)
    }

    /// What became of it.
    pub fn outcome(&self, core: CoreId, finish: Finish, ended: Time) -> Outcome {
        Outcome {
            request: self.request.clone(),
            replica: core.replica,
            rank: core.rank,
            finish,
            queued: self.queued.filter(|&at| at <= ended),
            scheduled: self.scheduled,
            first_token: self.first_token.filter(|&seen| seen <= ended),
            ended,
            output_tokens: self.given,
            cached_tokens: self.cached,
            preemptions: self.preemptions,
        }
    }
}
