//! The two schedulers: who is in the next batch, with how many tokens.

use tokentide_models::units::Time;

use super::pipeline::Members;
use super::replica::Replica;
use crate::scenario::Batchwise;

/// A batch in the making.
#[derive(Default)]
pub(super) struct Decision {
    /// Slot, tokens.
    pub(super) members: Members,
    /// Sum of those tokens.
    tokens: u32,
    /// Ids evicted since the last batch was sent, in order.
    pub(super) evicted: Vec<u64>,
    /// Requests put aside, whose prompt is incomplete.
    partial: Vec<u32>,
}

impl Decision {
    fn push(&mut self, slot: u32, tokens: u32) {
        self.members.push((slot, tokens));
        self.tokens += tokens;
    }
}

/// `running` while it is walked: those from `head` to before `tail` have not had their turn.
struct Walk {
    list: Vec<u32>,
    head: usize,
    tail: usize,
}

impl Replica<'_> {
    /// Decides the next batch at `now`; whether there is one.
    pub(super) fn decide(&mut self, decision: &mut Decision, now: Time) -> bool {
        decision.members.clear();
        decision.tokens = 0;
        match self.scheduler {
            Batchwise::Sarathi => {
                self.continue_running(decision);
                self.admit_chunks(decision, now);
            }
            Batchwise::Vllm2023 => {
                self.admit_whole(decision, now);
                if decision.members.is_empty() {
                    let slots = &self.slots;
                    self.running.sort_by_key(|&slot| slots[slot].request.arrival);
                    self.continue_running(decision);
                }
            }
        }
        !decision.members.is_empty()
    }

    /// Decodes, then the next chunks of incomplete prompts.
    fn continue_running(&mut self, decision: &mut Decision) {
        let list = std::mem::take(&mut self.running);
        let mut walk = Walk { head: 0, tail: list.len(), list };
        while walk.head < walk.tail && decision.members.len() < self.cap {
            let slot = walk.list[walk.head];
            walk.head += 1;
            if !self.slots[slot].decodes() {
                decision.partial.push(slot);
            } else if self.find_block(slot, &mut walk, decision) {
                decision.push(slot, 1);
            }
        }
        let mut partial = std::mem::take(&mut decision.partial);
        partial.retain(|&slot| {
            let live = &self.slots[slot];
            let chunk =
                (live.target - live.computed).min(self.settings.engine.max_num_batched_tokens.saturating_sub(decision.tokens));
            let taken = chunk > 0 && decision.members.len() < self.cap;
            if taken {
                decision.push(slot, chunk);
            }
            !taken
        });
        // Those left over come first in the next walk, by arrival.
        walk.list.truncate(walk.tail);
        walk.list.drain(..walk.head);
        walk.list.splice(..0, partial.drain(..));
        walk.list.sort_by_key(|&slot| self.slots[slot].request.arrival);
        (self.running, decision.partial) = (walk.list, partial);
    }

    /// A block for a request that decodes; false if it had to be evicted itself.
    fn find_block(&mut self, slot: u32, walk: &mut Walk, decision: &mut Decision) -> bool {
        while self.free == 0 {
            let victim = match walk.head < walk.tail {
                true => {
                    walk.tail -= 1;
                    walk.list[walk.tail]
                }
                false => slot,
            };
            self.evict(victim);
            decision.evicted.push(self.slots[victim].request.id);
            if victim == slot {
                return false;
            }
        }
        let live = &mut self.slots[slot];
        if live.tokens() > live.blocks * self.settings.engine.block_size {
            live.blocks += 1;
            self.free -= 1;
        }
        true
    }

    /// Admits from the front of the queue, in chunks.
    fn admit_chunks(&mut self, decision: &mut Decision, now: Time) {
        while let Some(&slot) = self.waiting.front() {
            let left = self.settings.engine.max_num_batched_tokens.saturating_sub(decision.tokens);
            if left == 0 || !self.can_admit(slot, decision) {
                break;
            }
            let chunk = self.slots[slot].target.min(left);
            self.admit(now);
            decision.push(slot, chunk);
        }
    }

    /// Admits whole prompts from the front of the queue, padded to the longest of the batch.
    fn admit_whole(&mut self, decision: &mut Decision, now: Time) {
        let mut longest = 0;
        while let Some(&slot) = self.waiting.front() {
            let target = self.slots[slot].target;
            let padded = (decision.members.len() as u64 + 1) * u64::from(target.max(longest));
            if padded > u64::from(self.settings.engine.max_num_batched_tokens) || !self.can_admit(slot, decision) {
                break;
            }
            longest = longest.max(target);
            self.admit(now);
            decision.push(slot, target);
        }
    }

    fn can_admit(&self, slot: u32, decision: &Decision) -> bool {
        let engine = self.settings.engine;
        let needed = self.slots[slot].target.div_ceil(engine.block_size);
        let kept = if self.held == 0 { 0 } else { (engine.watermark * f64::from(self.settings.kv_blocks)) as u32 };
        self.held < engine.max_num_seqs && decision.members.len() < self.cap && self.free >= needed.saturating_add(kept)
    }

    /// Admits the front of the queue.
    fn admit(&mut self, now: Time) {
        let slot = self.waiting.pop_front().expect("somebody waits");
        let live = &mut self.slots[slot];
        live.blocks = live.target.div_ceil(self.settings.engine.block_size);
        if live.scheduled == Time::NEVER {
            live.scheduled = now;
        }
        self.free -= live.blocks;
        self.held += 1;
        self.waiting_tokens -= u64::from(live.target);
        self.unfilled_tokens += u64::from(live.target);
        self.held_tokens += u64::from(live.target);
    }

    /// Sends a request between two batches back to the front of the queue.
    fn evict(&mut self, slot: u32) {
        self.release(slot);
        let live = &mut self.slots[slot];
        self.unfilled_tokens -= u64::from(live.target - live.computed);
        live.target = live.tokens();
        live.computed = 0;
        live.preemptions += 1;
        self.waiting_tokens += u64::from(live.target);
        self.totals.preemptions += 1;
        self.waiting.push_front(slot);
    }

    /// Frees what a request holds.
    pub(super) fn release(&mut self, slot: u32) {
        let live = &mut self.slots[slot];
        self.free += std::mem::take(&mut live.blocks);
        self.held -= 1;
        // Of the tokens given, the last is not computed.
        let tokens = if live.decodes() { live.tokens() - 1 } else { live.target };
        self.held_tokens -= u64::from(tokens);
    }
}
