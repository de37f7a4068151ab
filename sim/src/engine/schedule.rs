//! `schedule()`: one decision of vLLM's scheduler. What happens when blocks or budget run short is in [`super::walk`].

use tokentide_models::units::Time;

use super::Observer;
use super::replica::Replica;
use super::table::State;
use crate::scenario::Policy;

/// What one call of `schedule()` decided; reused from call to call.
#[derive(Default)]
pub struct Decision {
    /// Chunks: slot, tokens.
    pub(super) chunks: Vec<(u32, u32)>,
    /// Decodes scheduled, and the sum of their contexts.
    pub(super) decodes: u32,
    pub(super) context: u64,
    /// The longest and the shortest of these contexts, if the cost model reads them.
    pub(super) spread: (u64, u64),
    /// Ids preempted.
    pub(super) preempted: Vec<u64>,
    /// Whether the decodes were walked one by one: some may have been left out.
    pub(super) walked: bool,
    /// Cached blocks found for the head of the waiting queue.
    hits: Vec<u32>,
    /// The batch as the step log shows it.
    pub(super) batch: Vec<(u64, u32, u32)>,
}

impl Replica<'_> {
    /// Decides the next step at `now` and runs it; false if there is nothing to do.
    pub(super) fn schedule<O: Observer>(&mut self, now: Time, observer: &mut O) -> bool {
        let found = self.decide(now);
        if found {
            self.execute(now, observer);
        }
        found
    }

    /// Decides the next step at `now`; false if there is nothing to do.
    pub(super) fn decide(&mut self, now: Time) -> bool {
        if let Some(before) = self.step.checked_sub(1) {
            self.retire(before);
        }
        let mut decision = std::mem::take(&mut self.decision);
        decision.chunks.clear();
        decision.preempted.clear();
        let left = self.schedule_running(&mut decision);
        if decision.preempted.is_empty() {
            self.admit(&mut decision, left, now);
        }
        let found = decision.decodes > 0
            || !decision.chunks.is_empty()
            || (decision.walked && left < self.settings.engine.max_num_batched_tokens);
        self.decision = decision;
        found
    }

    /// Part A: requests that run already. Returns the budget left.
    fn schedule_running(&mut self, decision: &mut Decision) -> u32 {
        let budget = self.settings.engine.max_num_batched_tokens;
        let lone = self.running.len + self.waiting.len() == 1;
        // Without a threshold at most one prefill is partial, and it is the last of `running`: it takes what the decodes left.
        let tail_only = match self.prefilling[..] {
            [] => true,
            [slot] => slot == self.running.last,
            _ => false,
        };
        let plain = tail_only && self.decodes.members + self.prefilling.len() as u32 <= budget;
        if self.stalls || self.settings.pipelined() || !(plain || self.all_fit(lone)) {
            return self.walk(decision);
        }
        if self.settings.engine.policy == Policy::Fcfs && plain {
            self.take_decode_blocks(decision);
        } else if self.all_fit(lone) {
            self.kv.take(self.decodes.blocks_needed(self.step));
        } else {
            return self.walk(decision);
        }
        decision.walked = false;
        (decision.decodes, decision.context) = (self.decodes.members, self.decodes.context);
        decision.spread = self.decodes.spread(self.step);
        let mut left = budget - self.decodes.members;
        for k in 0..self.prefilling.len() {
            let slot = self.prefilling[k];
            let entry = &self.table[slot];
            let chunk = self.chunk(entry.target - entry.computed, lone).min(left);
            if self.blocks_for_chunk(slot, chunk) > self.kv.free() {
                // Only the tail can come here, which is its own victim.
                self.preempt(slot, 0);
                decision.preempted.push(self.table[slot].request.id);
                break;
            }
            self.fill(slot, chunk);
            decision.chunks.push((slot, chunk));
            left -= chunk;
        }
        left
    }

    /// Whether everybody who runs gets all that it wants: then the order of `running` does not matter.
    fn all_fit(&self, lone: bool) -> bool {
        let budget = self.settings.engine.max_num_batched_tokens;
        let (mut wanted, mut blocks) = (u64::from(self.decodes.members), self.decodes.blocks_needed(self.step));
        for &slot in &self.prefilling {
            let entry = &self.table[slot];
            let mut chunk = self.chunk(entry.target - entry.computed, lone);
            if self.prefilling.len() == 1 && slot == self.running.last {
                chunk = chunk.min(budget.saturating_sub(self.decodes.members));
            }
            wanted += u64::from(chunk);
            blocks += self.blocks_for_chunk(slot, chunk);
        }
        wanted <= u64::from(budget) && blocks <= self.kv.free()
    }

    /// First come, first served: the decodes take their blocks in order, and while one finds none the last of `running`, which has
    /// not had its turn, is preempted. So victims can be taken from the tail without a walk; when blocks change hands is
    /// kept, as it decides what is evicted.
    fn take_decode_blocks(&mut self, decision: &mut Decision) {
        let size = u64::from(self.settings.engine.block_size);
        let mut needed = self.decodes.blocks_needed(self.step);
        loop {
            let taken = needed.min(self.kv.free());
            self.kv.take(taken);
            needed -= taken;
            if needed == 0 {
                break;
            }
            let victim = self.running.last;
            let entry = &self.table[victim];
            if entry.state == State::Decode {
                needed -= u32::from((super::decodes::context(entry, self.step) - 1).is_multiple_of(size));
            }
            self.preempt(victim, 0);
            decision.preempted.push(self.table[victim].request.id);
        }
    }

    pub(super) fn blocks_for_chunk(&self, slot: u32, tokens: u32) -> u32 {
        let entry = &self.table[slot];
        (entry.computed + tokens).div_ceil(self.settings.engine.block_size) - entry.blocks
    }

    /// Tokens of a request's next chunk that still needs `rest`, before the budget cuts it.
    pub(super) fn chunk(&self, rest: u32, lone: bool) -> u32 {
        let engine = self.settings.engine;
        match engine.long_prefill_token_threshold {
            0 => rest,
            _ if lone && engine.lone_prefill_uncapped => rest,
            threshold => rest.min(threshold),
        }
    }

    /// Part B: admits from the head of the waiting queue while everything fits.
    fn admit(&mut self, decision: &mut Decision, mut left: u32, now: Time) {
        let engine = self.settings.engine;
        while left > 0 && self.running.len < engine.max_num_seqs {
            let Some(slot) = self.waiting.peek(&self.table) else { break };
            if self.settings.pipelined() && self.pending(&self.table[slot]) {
                break;
            }
            self.look_up(slot, &mut decision.hits);
            let hits = decision.hits.len() as u32;
            let entry = &self.table[slot];
            let total = entry.request.input_tokens + entry.given;
            let computed = hits * engine.block_size;
            let lone = self.running.len + self.waiting.len() == 1;
            let wanted = self.chunk(total - computed, lone);
            if !engine.enable_chunked_prefill && wanted > left {
                break;
            }
            let tokens = wanted.min(left);
            let idle = decision.hits.iter().filter(|&&node| self.kv.idle(node)).count() as u32;
            let watermark = match self.running.len {
                0 => 0,
                _ => (engine.watermark * f64::from(self.settings.kv_blocks + 1)) as u32,
            };
            let fits = |upto: u32| upto.div_ceil(engine.block_size) - hits + idle + watermark <= self.kv.free();
            if (engine.reserve_full_isl && !fits(total)) || !fits(computed + tokens) {
                break;
            }
            self.waiting.pop();
            self.start(slot, computed, &decision.hits, now);
            self.fill(slot, tokens);
            decision.chunks.push((slot, tokens));
            left -= tokens;
        }
    }

    /// The longest run of cached blocks at the start of a waiting request's text.
    fn look_up(&self, slot: u32, hits: &mut Vec<u32>) {
        hits.clear();
        let entry = &self.table[slot];
        if !self.settings.engine.enable_prefix_caching {
            return;
        }
        let most = (entry.request.input_tokens + entry.given - 1) / self.settings.engine.block_size;
        let keys = entry.keys.as_deref().unwrap_or_default();
        for &key in keys.iter().take(most as usize) {
            match self.kv.find(key) {
                Some(node) => hits.push(node),
                None => return,
            }
        }
        if entry.lookup_private {
            for block in keys.len() as u32..most {
                match self.kv.find(entry.request.private_block_key(block)) {
                    Some(node) => hits.push(node),
                    None => return,
                }
            }
        }
    }

    /// A waiting request starts to run with `computed` tokens from the cache.
    fn start(&mut self, slot: u32, computed: u32, hits: &[u32], now: Time) {
        self.kv.touch(hits);
        self.admissions = self.admissions.checked_add(1).expect("at most 2^32 admissions on a replica");
        let entry = &mut self.table[slot];
        let total = entry.request.input_tokens + entry.given;
        self.waiting_tokens -= u64::from(total);
        self.other_tokens += u64::from(total);
        self.unfilled_tokens += u64::from(total - computed);
        entry.state = State::Prefill;
        entry.target = total;
        entry.computed = computed;
        entry.blocks = hits.len() as u32;
        entry.nodes.extend_from_slice(hits);
        entry.seq = self.admissions;
        entry.walked = (u64::MAX, 0);
        entry.stalled = u64::MAX;
        if entry.scheduled == Time::NEVER {
            entry.scheduled = now;
            entry.cached = computed.min(entry.request.input_tokens);
        }
        self.prefilling.push(slot);
        self.running.push(&mut self.table, slot);
    }

    /// Takes the blocks for a request's next chunk, and keys those of its shared prompt that the chunk fills.
    pub(super) fn fill(&mut self, slot: u32, tokens: u32) {
        let size = self.settings.engine.block_size;
        let entry = &mut self.table[slot];
        let upto = entry.computed + tokens;
        self.kv.take(upto.div_ceil(size) - entry.blocks);
        entry.blocks = upto.div_ceil(size);
        let Some(keys) = &entry.keys else { return };
        let full = ((upto / size) as usize).min(keys.len());
        for block in entry.nodes.len()..full {
            entry.nodes.push(self.kv.key(keys[block]));
        }
    }
}
