//! Conversations of several turns.
//!
//! The prompt of a turn is `[shared text][conversation so far][this turn's own parts]`. The shared text (system prompt, tools) is
//! drawn with the first turn and stays. The conversation is everything private that was sent or answered before, in order: it only
//! grows at its end, so a prefix cache finds it again, and it counts as [`Source::History`]. A part of that source in the class's
//! prompt is what a session begins with; later turns leave it out. The user may bring something else to the first turn than to the
//! later ones (`first_user`: a document, and then questions).
//!
//! * History beyond `history_max` loses its oldest tokens: everything behind the shared text moves, and none of it can be found in
//!   a cache any more (a new private identity).
//! * A turn that with its answer would not fit the context starts afresh: the history is dropped as a whole.
//! * A turn that is rejected or times out ends its session: the user leaves.

use std::collections::HashMap;

use tokentide_models::units::{Duration, Time};

use super::distribution::Sampler;
use super::prompt::{Composed, Composer, SharedText};
use crate::engine::Outcome;
use crate::scenario::{self, Source};
use crate::stream::{Purpose, Stream, mix};

/// Turns of a session are numbered in 16 bits.
const TURNS_MAX: u32 = 0xfffe;
/// In place of a turn: the stream of a client's think time.
const CLIENT_THINK: u64 = 0xffff;

/// The sessions of one class that are under way.
#[derive(Clone, Debug)]
pub struct Sessions {
    seed: u64,
    class: u16,
    turns: Sampler,
    think: Sampler,
    history_max: u32,
    /// Prompt and answer have to fit in this.
    context: u32,
    max_tokens: u32,
    live: HashMap<u64, Conversation>,
}

#[derive(Clone, Debug)]
struct Conversation {
    shared: SharedText,
    turns: u32,
    /// The turn to come.
    turn: u32,
    /// Private text so far, answers included.
    history: u32,
    /// Changes whenever earlier private text moves or goes.
    epoch: u32,
}

/// What a session adds to a composed request.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The request's text, history included.
    pub text: Composed,
    /// Number of the turn.
    pub turn: u32,
    /// Identity of all private text.
    pub private: u64,
    /// See [`super::Request::private_reused`].
    pub private_reused: bool,
}

impl Sessions {
    /// The sessions of class number `index`. `context` is the longest sequence [tokens].
    pub fn new(class: &scenario::Class, session: &scenario::Session, index: u16, seed: u64, context: u32) -> Sessions {
        Sessions {
            seed,
            class: index,
            turns: Sampler::new(&session.turns),
            think: Sampler::new(&session.think),
            history_max: session.history_max.unwrap_or(u32::MAX),
            context,
            max_tokens: class.output.max_tokens.unwrap_or(u32::MAX),
            live: HashMap::new(),
        }
    }

    /// The next turn of session `index` of the class; its first one if it is not under way.
    pub fn next(&mut self, index: u64, composer: &mut Composer) -> Turn {
        let (mut conversation, mut text) = match self.live.remove(&index) {
            Some(conversation) => {
                let text = composer.compose(turn_key(index, conversation.turn), Some(&conversation.shared));
                (conversation, text)
            }
            None => {
                let text = composer.compose(turn_key(index, 0), None);
                let mut rng = Stream::new(self.seed, Purpose::Session, u64::from(self.class), turn_key(index, 0));
                let turns = self.turns.tokens(&mut rng, &mut 0).clamp(1, TURNS_MAX);
                (Conversation { shared: text.shared.clone(), turns, turn: 0, history: 0, epoch: 0 }, text)
            }
        };
        let epoch = conversation.epoch;
        self.fit_history(&mut conversation, &text);
        text.private_tokens += conversation.history;
        text.sources[Source::History as usize] += conversation.history;
        let turn = conversation.turn;
        let more = turn + 1 < conversation.turns;
        let kept = turn > 0 && conversation.epoch == epoch;
        let private = private_identity(self.class, index, conversation.epoch);
        conversation.history = text.private_tokens;
        conversation.turn += 1;
        if more {
            self.live.insert(index, conversation);
        }
        Turn { text, turn, private, private_reused: more || kept }
    }

    /// Drops what `history_max` or the context forbid.
    fn fit_history(&self, conversation: &mut Conversation, text: &Composed) {
        if conversation.history > self.history_max {
            conversation.history = self.history_max;
            conversation.epoch += 1;
        }
        let answer = text.output_tokens.min(self.max_tokens);
        let fresh = u64::from(text.shared.tokens) + u64::from(text.private_tokens) + u64::from(answer);
        if conversation.history > 0 && fresh + u64::from(conversation.history) > u64::from(self.context) {
            conversation.history = 0;
            conversation.epoch += 1;
        }
    }

    /// A turn of session `index` ended: when the next one arrives (given that this is known at `known`), or `None` if the session
    /// is over.
    pub fn ended(&mut self, index: u64, outcome: &Outcome, known: Time) -> Option<Time> {
        if !outcome.finish.completed() {
            self.live.remove(&index);
            return None;
        }
        let conversation = self.live.get_mut(&index)?;
        conversation.history = conversation.history.saturating_add(outcome.output_tokens);
        let mut rng = Stream::new(self.seed, Purpose::Session, u64::from(self.class), turn_key(index, conversation.turn));
        Some((outcome.ended + Duration::from_secs_f64(self.think.real(&mut rng))).max(known))
    }
}

/// Identity of the private text of request or session `index` of a class.
pub fn private_identity(class: u16, index: u64, epoch: u32) -> u64 {
    mix(mix(mix(u64::from(class) + 1) ^ index) ^ u64::from(epoch))
}

/// A session's number among all classes.
pub fn session_id(class: u16, index: u64) -> u64 {
    u64::from(class) << 48 | index
}

/// A session's number in its class.
pub fn session_index(id: u64) -> u64 {
    id & ((1 << 48) - 1)
}

/// Index of the streams of one turn.
fn turn_key(index: u64, turn: u32) -> u64 {
    index << 16 | u64::from(turn)
}

/// The closed-loop clients of one class: client `c` of `n` sends requests (or sessions) number `c`, `c + n`, `c + 2n`, ..., so that
/// what a request is like does not depend on when others end.
#[derive(Clone, Debug)]
pub struct Clients {
    seed: u64,
    class: u16,
    concurrency: u64,
    think: Sampler,
    /// Request id to index in the class, of single requests in flight (sessions carry theirs).
    in_flight: HashMap<u64, u64>,
}

impl Clients {
    /// The clients of class number `index`.
    pub fn new(concurrency: u32, think: &scenario::Distribution, index: u16, seed: u64) -> Clients {
        Clients { seed, class: index, concurrency: u64::from(concurrency), think: Sampler::new(think), in_flight: HashMap::new() }
    }

    /// First request of each client, as (time, index): after one think time, at once if that is zero.
    pub fn first(&self) -> impl Iterator<Item = (Time, u64)> {
        (0..self.concurrency).map(|index| (Time::ZERO + self.think(index), index))
    }

    /// Request `id` is the single request `index`.
    pub fn sent(&mut self, id: u64, index: u64) {
        self.in_flight.insert(id, index);
    }

    /// Index of the single request `id`, which has ended.
    pub fn returned(&mut self, id: u64) -> Option<u64> {
        self.in_flight.remove(&id)
    }

    /// After request or session `index`: the client's next one, as (time, index).
    pub fn after(&self, index: u64, outcome: &Outcome, known: Time) -> (Time, u64) {
        let next = index + self.concurrency;
        ((outcome.ended + self.think(next)).max(known), next)
    }

    fn think(&self, index: u64) -> Duration {
        let mut rng = Stream::new(self.seed, Purpose::Session, u64::from(self.class), index << 16 | CLIENT_THINK);
        Duration::from_secs_f64(self.think.real(&mut rng))
    }
}
