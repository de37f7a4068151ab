//! The walk over `running`, request by request, and preemption: what happens when blocks or budget run short, and in every step of
//! a pipeline.

use tokentide_models::units::Time;

use super::replica::Replica;
use super::running::NIL;
use super::schedule::Decision;
use super::table::State;
use crate::scenario::Policy;

impl Replica<'_> {
    /// Part A request by request, as vLLM does it: when blocks or budget run short.
    pub(super) fn walk(&mut self, decision: &mut Decision) -> u32 {
        let size = self.settings.engine.block_size;
        let pipelined = self.settings.pipelined();
        let lone = self.running.len + self.waiting.len() == 1;
        let mut left = self.settings.engine.max_num_batched_tokens;
        decision.walked = true;
        (decision.decodes, decision.context) = (0, 0);
        let mut slot = self.running.first;
        while slot != NIL && left > 0 {
            let entry = &self.table[slot];
            let wanted = match entry.state {
                State::Decode => u32::from(!(pipelined && self.pending(entry))),
                State::Prefill => self.chunk(entry.target - entry.computed, lone),
                _ => 0,
            };
            let tokens = wanted.min(left);
            if tokens == 0 {
                slot = entry.next;
                continue;
            }
            let needed = match entry.state {
                State::Prefill => self.blocks_for_chunk(slot, tokens),
                _ => {
                    let computed = (super::decodes::context(entry, self.step) - 1) as u32;
                    (computed + 1).div_ceil(size) - computed.div_ceil(size)
                }
            };
            if !self.make_room(slot, needed, &mut left, decision) {
                break;
            }
            match self.table[slot].state {
                State::Prefill => self.fill(slot, tokens),
                _ => self.kv.take(needed),
            }
            self.table[slot].walked = (self.step, tokens);
            left -= tokens;
            slot = self.table[slot].next;
        }
        left
    }

    /// Preempts until `needed` blocks are free; false if `slot` itself had to go.
    fn make_room(&mut self, slot: u32, needed: u32, left: &mut u32, decision: &mut Decision) -> bool {
        while needed > self.kv.free() {
            let victim = self.victim();
            let (step, tokens) = self.table[victim].walked;
            let ahead = if step == self.step { tokens } else { 0 };
            *left += ahead;
            self.preempt(victim, ahead);
            decision.preempted.push(self.table[victim].request.id);
            if victim == slot {
                return false;
            }
        }
        true
    }

    fn victim(&self) -> u32 {
        if self.settings.engine.policy == Policy::Fcfs {
            return self.running.last;
        }
        let rank = |slot: u32| {
            let request = &self.table[slot].request;
            (request.priority, request.arrival, request.id)
        };
        let (mut victim, mut slot) = (self.running.first, self.running.first);
        while slot != NIL {
            if rank(slot) > rank(victim) {
                victim = slot;
            }
            slot = self.table[slot].next;
        }
        victim
    }

    /// Takes a victim's blocks and puts it back to wait. `ahead` tokens were scheduled for it in this very decision.
    pub(super) fn preempt(&mut self, slot: u32, ahead: u32) {
        let entry = &self.table[slot];
        let (state, pending) = (entry.state, matches!(entry.state, State::Decode | State::Ending) && self.pending(entry));
        let (given, over) = (self.given(slot), entry.discards);
        let tokens_held = match state {
            State::Prefill => 0,
            _ => u64::from(given + u32::from(pending)),
        };
        self.take_from_running(slot, ahead);
        let entry = &mut self.table[slot];
        if tokens_held > 0 && entry.last_token == Time::NEVER {
            entry.last_token = self.last_end;
        }
        if pending && !over {
            let latest = self.inflight.back().expect("pending").step;
            self.owed.push((entry.sampled.unwrap_or(latest), slot, entry.request.id));
        }
        entry.state = State::Waiting;
        entry.given = given;
        entry.seq = u32::MAX;
        entry.preemptions += 1;
        entry.lookup_private = true;
        self.totals.preemptions += 1;
        self.waiting_tokens += u64::from(self.table[slot].request.input_tokens + given);
        self.waiting.push_preempted(&self.table, slot);
    }

    /// After a walk: what was scheduled, and who was left out.
    pub(super) fn settle_walk(&mut self, decision: &mut Decision) {
        (decision.decodes, decision.context) = (0, 0);
        let (mut longest, mut shortest) = (0, u64::MAX);
        let walked_chunks = decision.chunks.len();
        self.stalls = false;
        let pipelined = self.settings.pipelined();
        let mut slot = self.running.first;
        while slot != NIL {
            let step = self.step;
            let entry = &mut self.table[slot];
            let next = entry.next;
            let scheduled = entry.walked.0 == step;
            match entry.state {
                State::Prefill if scheduled => decision.chunks.push((slot, entry.walked.1)),
                State::Decode if scheduled => {
                    entry.sampled = pipelined.then_some(step);
                    decision.decodes += 1;
                    let context = super::decodes::context(entry, step);
                    decision.context += context;
                    (longest, shortest) = (longest.max(context), shortest.min(context));
                }
                State::Decode => {
                    if entry.last_token == Time::NEVER {
                        entry.last_token = self.last_end;
                    }
                    entry.stalled = step;
                    self.decodes.stall(entry);
                    self.stalls = true;
                }
                _ => {}
            }
            slot = next;
        }
        decision.spread = if decision.decodes > 0 { (longest, shortest) } else { (0, 0) };
        // Admissions come after what ran already.
        decision.chunks.rotate_left(walked_chunks);
    }
}
