//! Taking a request out of the queue or the batch, and giving its blocks back to the cache.

use super::decodes::context;
use super::kv::Release;
use super::replica::{InFlight, Replica};
use super::table::State;

impl Replica<'_> {
    /// Takes a request that ends, or never ran, out of the waiting queue.
    pub(super) fn leave_waiting(&mut self, slot: u32) {
        self.waiting.remove(&self.table, slot);
        let entry = &self.table[slot];
        self.waiting_tokens -= u64::from(entry.request.input_tokens + entry.given);
    }

    /// Takes a request that ends out of everything it is in, and frees its blocks.
    pub(super) fn leave_running(&mut self, slot: u32) {
        self.withdraw(slot, self.table[slot].request.private_reused, 0);
    }

    /// The same for a victim, whose text can be found again.
    pub(super) fn take_from_running(&mut self, slot: u32, ahead: u32) {
        self.withdraw(slot, true, ahead);
    }

    fn withdraw(&mut self, slot: u32, keep: bool, ahead: u32) {
        self.release(slot, keep, ahead);
        self.running.remove(&mut self.table, slot);
        let entry = &self.table[slot];
        match entry.state {
            State::Prefill => {
                self.other_tokens -= u64::from(entry.target);
                self.unfilled_tokens -= u64::from(entry.target - entry.computed);
                self.prefilling.retain(|&s| s != slot);
            }
            State::Decode => {
                if !entry.discards {
                    self.decodes.by_class[usize::from(entry.request.class)] -= 1;
                }
                self.decodes.leave(entry, self.step);
            }
            State::Ending => self.other_tokens -= u64::from(entry.target) + entry.s_last - entry.s0,
            _ => unreachable!("not running"),
        }
    }

    /// Frees a running request's blocks. `keep` gives its own text keys, so that it can be found again; `ahead` are tokens that the
    /// walk over `running` has just scheduled for it.
    fn release(&mut self, slot: u32, keep: bool, ahead: u32) {
        let size = self.settings.engine.block_size;
        let caching = self.settings.engine.enable_prefix_caching;
        let entry = &self.table[slot];
        let (held, keyed_tokens) = match entry.state {
            State::Prefill => (entry.blocks, entry.computed + ahead),
            _ => {
                let computed = match entry.state {
                    State::Decode => (context(entry, self.step) - 1) as u32,
                    _ => entry.target + (entry.s_last - entry.s0) as u32,
                };
                ((computed + ahead).div_ceil(size), self.keyed_tokens(slot, computed, ahead))
            }
        };
        let mut nodes = std::mem::take(&mut self.table[slot].nodes);
        let keyed = if caching { (keyed_tokens / size).max(nodes.len() as u32) } else { nodes.len() as u32 };
        if keep && caching {
            let entry = &self.table[slot];
            for block in nodes.len() as u32..keyed {
                nodes.push(self.kv.key(entry.request.private_block_key(block)));
            }
        }
        let private = keyed - nodes.len() as u32;
        self.kv.release(Release { nodes: &nodes, private, unkeyed: held - keyed });
        nodes.clear();
        self.table[slot].nodes = nodes;
    }

    /// Of the tokens of a decoding or ending request, those that vLLM has given keys to: what was known when it was scheduled or
    /// applied.
    fn keyed_tokens(&self, slot: u32, computed: u32, ahead: u32) -> u32 {
        let entry = &self.table[slot];
        let input = entry.request.input_tokens;
        if ahead > 0 {
            return (computed + ahead).min(input + self.given(slot));
        }
        // The input of a decode in flight was not known when it was scheduled, unless its last token was older.
        let blind = |latest: &InFlight| latest.blind && latest.step > entry.s0 && entry.stalled != latest.step - 1;
        let unknown = !self.settings.pipelined() && self.pending(entry) && self.inflight.back().is_some_and(blind);
        (computed - u32::from(unknown)).min(input + entry.out - 1)
    }
}
