//! The requests of one replica: what the engine remembers of each.

use std::sync::Arc;

use tokentide_models::units::Time;

use super::Finish;
use crate::workload::Request;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in use.
    Vacant,
    /// Delivered, not yet visible to the engine.
    Inbox,
    /// In the waiting queue; also after a preemption.
    Waiting,
    /// Running, its (re)computed prompt incomplete.
    Prefill,
    /// Running, one token a step: a member of the decode aggregate.
    Decode,
    /// Running, its last token in flight: scheduled no more.
    Ending,
}

/// A request's entry.
///
/// While it decodes nothing in here changes: with `s0` the step of its last chunk, its context in step `s` is `target + s - s0`,
/// its `k`-th token of this admission comes from step `s0 + k - 1`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub request: Request,
    /// Where it is.
    pub state: State,
    /// Tokens it will be given in all.
    pub out: u32,
    /// How it will end if nothing interferes.
    pub finish: Finish,
    /// Tokens given when it was last admitted; of a waiting one, so far.
    pub given: u32,
    /// Tokens to compute before it decodes: prompt and tokens given at its latest admission.
    pub target: u32,
    /// Tokens computed, while it prefills.
    pub computed: u32,
    /// Blocks held, while it prefills.
    pub blocks: u32,
    /// Step of its last chunk.
    pub s0: u64,
    /// It gets no further token than the one in flight; a step scheduled for it is discarded.
    pub discards: bool,
    /// Step that gives its last token.
    pub s_last: u64,
    /// Number of its latest admission on this replica: the order of `running`.
    pub seq: u32,
    /// Keys of the shared blocks of its prompt, if any.
    pub keys: Option<Arc<[u64]>>,
    /// Keyed blocks held: its first ones.
    pub nodes: Vec<u32>,
    /// Whether text of its own may be in the cache: of an earlier turn, or from before a preemption.
    pub lookup_private: bool,
    /// Neighbours in `running`.
    pub prev: u32,
    /// See `prev`.
    pub next: u32,
    /// Step in which the walk over `running` scheduled it, and with how many tokens.
    pub walked: (u64, u32),
    /// Latest step that left it out: for want of budget or, with pipeline stages, since its last token was still in flight.
    pub stalled: u64,
    /// Latest step that gives it a token, known with pipeline stages only.
    pub sampled: Option<u64>,
    /// End of the step that gave its latest token, where the next gap is not that of consecutive steps.
    pub last_token: Time,
    /// Taken into the waiting queue.
    pub queued: Time,
    /// First scheduled.
    pub scheduled: Time,
    /// First token, as the client sees it.
    pub first_token: Time,
    /// Prompt tokens found in the cache at first admission.
    pub cached: u32,
    /// Preemptions.
    pub preemptions: u32,
}

/// Entries by slot; slots are reused.
#[derive(Default)]
pub struct Table {
    entries: Vec<Entry>,
    vacant: Vec<u32>,
}

impl Table {
    /// Stores `entry`; its slot.
    pub fn insert(&mut self, entry: Entry) -> u32 {
        match self.vacant.pop() {
            Some(slot) => {
                // The list of the request before keeps its memory.
                let old = &mut self.entries[slot as usize];
                let nodes = std::mem::take(&mut old.nodes);
                debug_assert!(nodes.is_empty());
                *old = Entry { nodes, ..entry };
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        }
    }

    /// Empties the slot.
    pub fn remove(&mut self, slot: u32) -> Request {
        let entry = &mut self[slot];
        entry.state = State::Vacant;
        entry.seq = u32::MAX;
        self.vacant.push(slot);
        self[slot].request.clone()
    }

    /// Takes out all requests.
    pub fn take_all(&mut self) -> Vec<Request> {
        self.vacant.clear();
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.filter(|entry| entry.state != State::Vacant).map(|entry| entry.request).collect()
    }

    /// Whether `slot` still holds the request of this id.
    pub fn holds(&self, slot: u32, id: u64) -> bool {
        let entry = &self[slot];
        entry.state != State::Vacant && entry.request.id == id
    }
}

impl std::ops::Index<u32> for Table {
    type Output = Entry;
    fn index(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize]
    }
}

impl std::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.entries[slot as usize]
    }
}
