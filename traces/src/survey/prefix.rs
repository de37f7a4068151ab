//! How much of its prompts a trace could find in a cache that never forgets.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use serde::Serialize;
use tokentide_models::hash::mix;

use crate::row::TraceRow;

/// Identities that are remembered; beyond it, only every second, fourth, ... is.
const IDS_MAX: usize = 1 << 20;

/// Identities of blocks.
pub(crate) type IdSet = HashSet<u64, BuildHasherDefault<Mixed>>;
/// What is known of blocks, by their identities.
pub(crate) type IdMap<T> = HashMap<u64, T, BuildHasherDefault<Mixed>>;

/// Prefix blocks met so far.
#[derive(Clone, Debug, Default)]
pub struct PrefixStats {
    seen: IdSet,
    /// Of the identities, those whose hash ends in so many zero bits are followed.
    bits: u32,
    rows: u64,
    input_tokens: u64,
    hit_tokens: f64,
    /// Sums of what single conversations carry on, of turns without hashes.
    history_tokens: u64,
    block_tokens: Option<u32>,
}

/// Identities are hashes already, or count up: one mix of them will do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = mix(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = mix(id);
    }
}

/// What is said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PrefixFigures {
    /// Rows with hashes, or with a conversation that they go on from.
    pub rows: u64,
    /// Tokens per hash.
    pub block_tokens: Option<u32>,
    /// Of all input tokens, how many an unlimited cache would have found: an upper bound.
    pub hit_ceiling: f64,
    /// Whether it is exact, or estimated from one block in so many.
    pub sampled_one_in: u64,
}

impl PrefixStats {
    /// Counts a row, in order of arrival.
    pub fn add(&mut self, row: &TraceRow) {
        self.input_tokens += u64::from(row.input_tokens);
        if row.prefix_hashes.is_empty() && row.history_tokens.is_none() {
            return;
        }
        self.rows += 1;
        // Of its prompt at least one token is computed.
        let most = row.input_tokens.saturating_sub(1);
        if row.prefix_hashes.is_empty() {
            self.history_tokens += u64::from(row.history_tokens.unwrap_or(0).min(most));
            return;
        }
        let Some(block) = row.prefix_block_tokens else { return };
        self.block_tokens = self.block_tokens.or(Some(block));
        let weight = (1u64 << self.bits) as f64;
        let (mut hits, mut run) = (0.0, true);
        for (place, id) in (0u64..).zip(&row.prefix_hashes) {
            // What a block means depends on all before it; in traces an identity has one place only.
            if self.bits > 0 && mix(*id).trailing_zeros() < self.bits {
                continue;
            }
            let known = !self.seen.insert(*id);
            // All that is followed is known: exactly a prefix. Of a sample only the share is.
            run &= known;
            if known && (run || self.bits > 0) {
                let from = place * u64::from(block);
                hits += (u64::from(most).min(from + u64::from(block)).saturating_sub(from)) as f64 * weight;
            }
        }
        self.hit_tokens += hits;
        while self.seen.len() > IDS_MAX {
            self.bits += 1;
            let bits = self.bits;
            self.seen.retain(|id| mix(*id).trailing_zeros() >= bits);
        }
    }

    /// What is said of them; `None` if nothing is known of prefixes.
    pub fn figures(&self) -> Option<PrefixFigures> {
        let hits = self.hit_tokens + self.history_tokens as f64;
        (self.rows > 0).then(|| PrefixFigures {
            rows: self.rows,
            block_tokens: self.block_tokens,
            hit_ceiling: hits / self.input_tokens.max(1) as f64,
            sampled_one_in: 1 << self.bits,
        })
    }
}
