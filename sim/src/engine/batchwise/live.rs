//! A request while it is on a replica.

use tokentide_models::units::Time;

use crate::engine::{CoreId, Finish, Outcome};
use crate::scenario::EngineConfig;
use crate::workload::Request;

/// State of a delivered request that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// Tokens it will be given in all.
    pub(super) out: u32,
    /// Tokens given, by batches that have ended.
    pub(super) given: u32,
    /// Tokens to compute before it decodes.
    pub(super) target: u32,
    /// Of those, the ones computed by batches that have ended.
    pub(super) computed: u32,
    /// Blocks held.
    pub(super) blocks: u32,
    /// End of the batch that gave its latest token; never if there is none.
    pub(super) last_token: Time,
    /// First token, as the client sees it; never if there is none.
    pub(super) first_token: Time,
    /// Taken into the waiting queue; never if it was not.
    pub(super) queued: Time,
    /// Decision that first ran it; never if there is none.
    pub(super) scheduled: Time,
    /// Evictions.
    pub(super) preemptions: u32,
    /// How it ends once it has its tokens.
    pub(super) finish: Finish,
    /// The request.
    pub(super) request: Request,
}

impl Live {
    /// A request that fits the context, just delivered.
    pub(super) fn new(request: Request, engine: &EngineConfig) -> Live {
        let limit = request.max_tokens.min(engine.max_model_len - request.input_tokens);
        let finish = match request.output_tokens {
            o if o < limit => Finish::Stop,
            _ if limit == request.max_tokens => Finish::Length,
            _ => Finish::Truncated,
        };
        Live {
            out: request.output_tokens.min(limit),
            given: 0,
            target: request.input_tokens,
            computed: 0,
            blocks: 0,
            last_token: Time::NEVER,
            first_token: Time::NEVER,
            queued: Time::NEVER,
            scheduled: Time::NEVER,
            preemptions: 0,
            finish,
            request,
        }
    }

    /// Prompt and tokens given.
    pub(super) fn tokens(&self) -> u32 {
        self.request.input_tokens + self.given
    }

    /// Whether its target is computed, so that it decodes.
    pub(super) fn decodes(&self) -> bool {
        self.computed == self.target
    }

    /// What became of it, once it has all its tokens at `ended`, as the client sees it.
    pub(super) fn outcome(self, core: CoreId, ended: Time) -> Outcome {
        Outcome {
            request: self.request,
            replica: core.replica,
            rank: core.rank,
            finish: self.finish,
            queued: Some(self.queued),
            scheduled: Some(self.scheduled),
            first_token: Some(self.first_token),
            ended,
            output_tokens: self.given,
            cached_tokens: 0,
            preemptions: self.preemptions,
        }
    }
}

/// Live requests by slot; slots are reused.
#[derive(Default)]
pub(super) struct Slots {
    live: Vec<Option<Live>>,
    vacant: Vec<u32>,
}

impl Slots {
    /// Stores a request; its slot.
    pub(super) fn insert(&mut self, live: Live) -> u32 {
        match self.vacant.pop() {
            Some(slot) => {
                self.live[slot as usize] = Some(live);
                slot
            }
            None => {
                self.live.push(Some(live));
                self.live.len() as u32 - 1
            }
        }
    }

    /// All requests.
    pub(super) fn into_requests(self) -> Vec<Request> {
        self.live.into_iter().flatten().map(|live| live.request).collect()
    }

    /// Takes a request out.
    pub(super) fn remove(&mut self, slot: u32) -> Live {
        self.vacant.push(slot);
        self.live[slot as usize].take().expect("the slot is in use")
    }
}

impl std::ops::Index<u32> for Slots {
    type Output = Live;
    fn index(&self, slot: u32) -> &Live {
        self.live[slot as usize].as_ref().expect("the slot is in use")
    }
}

impl std::ops::IndexMut<u32> for Slots {
    fn index_mut(&mut self, slot: u32) -> &mut Live {
        self.live[slot as usize].as_mut().expect("the slot is in use")
    }
}
