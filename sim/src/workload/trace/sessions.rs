//! Turns of a trace that wait for the turn before: they arrive a delay after its answer, as users and tools do.
//!
//! What a session has said and heard is its private text, found again by a prefix cache, as far as its turns say that they go on
//! from it (`history_tokens`). Hashes of the first turn hold for all: of its full blocks, so that a block belongs to the shared or
//! to the private text in every turn alike. A turn that is rejected or times out ends its session: the user leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};
use tokentide_models::units::Time;
use tokentide_traces::TraceRow;

use crate::engine::Outcome;
use crate::workload::Prefix;

/// The number of a session.
pub fn session_id(name: &str) -> u64 {
    mix(fnv1a(FNV_OFFSET, name.as_bytes()))
}

/// A turn that waits.
#[derive(Debug)]
pub struct Held {
    /// Its place in the trace.
    pub index: u64,
    /// Itself.
    pub row: TraceRow,
    /// Its class.
    pub class: u16,
}

/// Sessions with turns that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    sessions: HashMap<u64, Session>,
}

#[derive(Debug, Default)]
struct Session {
    held: VecDeque<Held>,
    /// Shared text of its first turn.
    prefix: Prefix,
    /// Whether a turn was sent.
    begun: bool,
    /// Changes when a turn does not go on from what was said.
    epoch: u32,
}

/// What a session adds to a request.
#[derive(Debug)]
pub struct Text {
    /// Shared text.
    pub prefix: Prefix,
    /// Identity of all private text.
    pub private: u64,
    /// See [`crate::workload::Request::private_reused`].
    pub private_reused: bool,
}

impl Waiting {
    /// Keeps a turn until the one before has ended.
    pub fn hold(&mut self, held: Held) {
        let Some(name) = &held.row.session else { return };
        self.sessions.entry(session_id(name)).or_default().held.push_back(held);
    }

    /// The text of a turn that is sent; `None` if no turn of its session waits or has waited.
    pub fn text(&mut self, id: u64, row: &TraceRow) -> Option<Text> {
        let session = self.sessions.get_mut(&id)?;
        let goes_on = session.begun && row.history_tokens.is_some();
        if session.begun && !goes_on {
            session.epoch += 1;
        }
        let followed = session.held.front().is_some_and(|next| next.row.history_tokens.is_some());
        match row.prefix_block_tokens.filter(|block| *block > 0 && !row.prefix_hashes.is_empty()) {
            Some(block_tokens) => {
                let full = (row.input_tokens / block_tokens) as usize;
                let ids = if followed { &row.prefix_hashes[..full.min(row.prefix_hashes.len())] } else { &row.prefix_hashes[..] };
                session.prefix = Prefix::Hashes { ids: Arc::from(ids), block_tokens };
            }
            None if !goes_on => session.prefix = Prefix::None,
            None => {}
        }
        session.begun = true;
        let private = mix(mix(id) ^ u64::from(session.epoch));
        let text = Text { prefix: session.prefix.clone(), private, private_reused: goes_on || followed };
        if session.held.is_empty() {
            self.sessions.remove(&id);
        }
        Some(text)
    }

    /// A turn ended: the next one, and when it arrives (given that this is known at `known`).
    pub fn ended(&mut self, outcome: &Outcome, known: Time) -> Option<(Time, Held)> {
        let (id, _) = outcome.request.session?;
        if !outcome.finish.completed() {
            self.sessions.remove(&id);
            return None;
        }
        let next = self.sessions.get_mut(&id)?.held.pop_front()?;
        let delay = tokentide_models::units::Duration(next.row.delay_ps.unwrap_or(0));
        Some(((outcome.ended + delay).max(known), next))
    }
}
