//! What an unlimited, warm prefix cache holds of a prompt.

use std::collections::{HashMap, HashSet};

use tokentide_sim::workload::{Prefix, Request};

/// Follows what was computed before.
pub struct Reuse {
    block_size: u32,
    enabled: bool,
    /// Tokens computed under each private identity: of conversations.
    conversations: HashMap<u64, u32>,
    /// Blocks of text known by its hashes only: those of traces.
    seen: HashSet<u64>,
}

impl Reuse {
    /// Nothing computed yet, but for the text that all requests of a class share, which was there before.
    pub fn new(block_size: u32, enabled: bool) -> Reuse {
        Reuse { block_size, enabled, conversations: HashMap::new(), seen: HashSet::new() }
    }

    /// Tokens of the prompt that are in the cache: whole blocks, and never the last token, which is always computed.
    pub fn found(&mut self, request: &Request, answer: u32) -> u32 {
        if !self.enabled {
            return 0;
        }
        let shared = match &request.prefix {
            Prefix::None => 0,
            Prefix::Layers(_) => request.shared_tokens(),
            Prefix::Hashes { .. } => self.known_blocks(request),
        };
        let mine = if request.private_reused {
            let end = request.input_tokens.saturating_add(answer);
            self.conversations.insert(request.private, end).unwrap_or(0)
        } else {
            0
        };
        let tokens = shared.max(mine).min(request.input_tokens.saturating_sub(1));
        tokens / self.block_size * self.block_size
    }

    /// Tokens of the leading blocks that were there before; all of them are from now on.
    fn known_blocks(&mut self, request: &Request) -> u32 {
        let (mut leading, mut blocks) = (true, 0);
        for key in request.shared_block_keys(self.block_size) {
            leading &= !self.seen.insert(key);
            blocks += u32::from(leading);
        }
        blocks * self.block_size
    }
}
