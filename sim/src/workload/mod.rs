//! Requests in time order.
//!
//! [`generator`] merges the classes of a scenario: each has arrival times ([`arrivals`] through the curve of [`rate`]), and
//! composes its requests ([`prompt`], [`distribution`]), in conversations if it has any ([`sessions`]). [`Listed`] replays requests
//! made elsewhere.

pub mod arrivals;
pub mod distribution;
pub mod generator;
pub mod labels;
pub mod prompt;
pub mod rate;
pub mod served;
pub mod sessions;
#[cfg(test)]
mod tests;
pub mod trace;

use std::sync::Arc;

use tokentide_models::units::Time;

use crate::engine::Outcome;
use crate::stream::mix;

/// Gives the cluster its requests.
pub trait RequestSource {
    /// Arrival time of the next request, as far as known now. Never decreases, except that [`RequestSource::ended`] may bring a new
    /// one at or after the time it is given.
    fn peek(&mut self) -> Option<Time>;

    /// The next request; ids count up from 0 in this order. `None` exactly when `peek` is.
    fn next(&mut self) -> Option<Request>;

    /// Whether requests depend on how earlier ones end (closed loop, sessions).
    fn feedback(&self) -> bool {
        false
    }

    /// A request ended; the source learns of it at `known`. Only called if [`RequestSource::feedback`].
    fn ended(&mut self, _outcome: &Outcome, _known: Time) {}
}

/// Requests given in advance, in arrival order: for tests and recorded runs.
pub struct Listed(std::iter::Peekable<std::vec::IntoIter<Request>>);

impl Listed {
    /// `requests` must be in order of arrival, with ids from 0.
    pub fn new(requests: Vec<Request>) -> Listed {
        Listed(requests.into_iter().peekable())
    }
}

impl RequestSource for Listed {
    fn peek(&mut self) -> Option<Time> {
        self.0.peek().map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        self.0.next()
    }
}

/// One request as it arrives at the router. Everything that happens to it later is the engine's.
#[derive(Clone, Debug)]
pub struct Request {
    /// Index in arrival order, from 0.
    pub id: u64,
    /// When the front end receives it.
    pub arrival: Time,
    /// Index into the scenario's classes.
    pub class: u16,
    /// Label indices into the workload's string table; `u16::MAX` if none.
    pub tenant: u16,
    /// See `tenant`.
    pub route: u16,
    /// Lower is served first under the priority policy.
    pub priority: i32,
    /// Prompt length [tokens], at least 1.
    pub input_tokens: u32,
    /// Tokens the model gives unless a limit cuts it, at least 1.
    pub output_tokens: u32,
    /// Requested maximum; `u32::MAX` if the client sets none.
    pub max_tokens: u32,
    /// The client gives up at this time; [`Time::NEVER`] if it does not.
    pub deadline: Time,
    /// Session and turn (from 0), if it belongs to one.
    pub session: Option<(u64, u32)>,
    /// Text at the start of the prompt that other requests may share.
    pub prefix: Prefix,
    /// Identity of all text behind the shared prefix, prompt and output: unique to the request or to its session, of which at most
    /// one request is alive at a time.
    pub private: u64,
    /// Whether blocks of `private` text may be looked up by this request (a turn after the first) or by a later one (a turn before
    /// the last). False for single requests, whose private text nobody else ever asks for.
    pub private_reused: bool,
    /// Input tokens by source, in the order of [`crate::scenario::Source::ALL`]; all zero if unknown.
    pub sources: [u32; 8],
}

/// Text at the start of a prompt, as identities, never as text.
#[derive(Clone, Debug, Default)]
pub enum Prefix {
    /// Nothing shared.
    #[default]
    None,
    /// Layers of shared text, ascending in `end`. A layer's identity includes that of all layers before it.
    Layers(Arc<[Layer]>),
    /// A trace's prefix hashes, each for `block_tokens` of the prompt (the last may be partial).
    Hashes {
        /// Identities in prompt order; equal ids at equal places mean equal text.
        ids: Arc<[u64]>,
        /// Tokens per id.
        block_tokens: u32,
    },
}

/// A layer of shared text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Identity of the text from the prompt's start to `end`.
    pub content: u64,
    /// Where the layer ends [tokens from the prompt's start].
    pub end: u32,
}

impl Request {
    /// Tokens at the start of the prompt that are shared text, a multiple of nothing in particular.
    pub fn shared_tokens(&self) -> u32 {
        match &self.prefix {
            Prefix::None => 0,
            Prefix::Layers(layers) => layers.last().map_or(0, |l| l.end.min(self.input_tokens)),
            Prefix::Hashes { ids, block_tokens } => {
                (ids.len() as u64 * u64::from(*block_tokens)).min(u64::from(self.input_tokens)) as u32
            }
        }
    }

    /// Identities of the full blocks of `block_size` tokens that lie wholly inside the shared prefix, in order. Two requests'
    /// blocks have equal keys if and only if their text up to the block's end is equal (to hash collisions of 64 bits).
    pub fn shared_block_keys(&self, block_size: u32) -> Vec<u64> {
        let blocks = self.shared_tokens() / block_size;
        let mut keys = Vec::with_capacity(blocks as usize);
        match &self.prefix {
            Prefix::None => {}
            Prefix::Layers(layers) => {
                let mut layer = 0;
                for i in 0..blocks {
                    while layers[layer].end < (i + 1) * block_size {
                        layer += 1;
                    }
                    keys.push(shared_key(layers[layer].content, i));
                }
            }
            Prefix::Hashes { ids, block_tokens } => {
                let (mut chain, mut taken) = (0, 0);
                for i in 0..blocks {
                    let last = ((i + 1) * block_size - 1) / block_tokens;
                    while taken <= last {
                        chain = mix(chain ^ mix(ids[taken as usize]));
                        taken += 1;
                    }
                    keys.push(shared_key(chain, i));
                }
            }
        }
        keys
    }

    /// Identity of full block `i`, one that does not lie wholly inside the shared prefix.
    pub fn private_block_key(&self, i: u32) -> u64 {
        mix(mix(self.private) ^ u64::from(i))
    }
}

/// Key of block `i` of a shared text. The constant keeps it apart from private keys; mixing before the index joins keeps (text a,
/// block b) apart from (text b, block a).
fn shared_key(content: u64, i: u32) -> u64 {
    mix(mix(content ^ 0x7368_6172_6564) ^ u64::from(i))
}
