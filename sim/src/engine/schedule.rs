//! `schedule()`: one decision of vLLM's scheduler, and the leap over the decisions that must be equal to it.

use std::cmp::Reverse;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};

use super::leap::Progression;
use super::replica::{InFlight, Replica};
use super::running::NIL;
use super::table::State;
use super::{Gaps, Observer, StepView};
use crate::scenario::Policy;

/// What one call of `schedule()` decided; reused from call to call.
#[derive(Default)]
pub struct Decision {
    /// Chunks: slot, tokens.
    chunks: Vec<(u32, u32)>,
    /// Decodes scheduled, and the sum of their contexts.
    decodes: u32,
    context: u64,
    /// Ids preempted.
    pub(super) preempted: Vec<u64>,
    /// Whether the decodes were walked one by one: some may have been left out.
    walked: bool,
    /// Cached blocks found for the head of the waiting queue.
    hits: Vec<u32>,
    /// The batch as the step log shows it.
    batch: Vec<(u64, u32, u32)>,
}

impl Replica<'_> {
    /// Decides the next step at `now`; false if there is nothing to do. Identical steps that nothing before `until` disturbs follow at once.
    pub(super) fn schedule<O: Observer>(&mut self, now: Time, until: Time, observer: &mut O) -> bool {
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
        if found {
            self.execute(&mut decision, now, until, observer);
        }
        self.decision = decision;
        found
    }

    /// Part A: requests that run already. Returns the budget left.
    fn schedule_running(&mut self, decision: &mut Decision) -> u32 {
        let budget = self.settings.engine.max_num_batched_tokens;
        let members = self.decodes.members;
        decision.walked = true;
        let lone = self.running.len + self.waiting.len() == 1;
        let (mut wanted, mut blocks) = (u64::from(members), self.decodes.blocks_needed(self.step));
        // Without a threshold the only partial prefill is the last of `running`: it takes what the decodes left.
        let tail = match self.prefilling[..] {
            [slot] if slot == self.running.last => Some(budget.saturating_sub(members)),
            _ => None,
        };
        for &slot in &self.prefilling {
            let entry = &self.table[slot];
            let chunk = self.chunk(entry.target - entry.computed, lone).min(tail.unwrap_or(u32::MAX));
            wanted += u64::from(chunk);
            blocks += (entry.computed + chunk).div_ceil(self.settings.engine.block_size) - entry.blocks;
        }
        if self.stalls || wanted > u64::from(budget) || blocks > self.kv.free() {
            return self.walk(decision);
        }
        decision.walked = false;
        (decision.decodes, decision.context) = (members, self.decodes.context);
        self.kv.take(self.decodes.blocks_needed(self.step));
        let mut left = budget - members;
        for k in 0..self.prefilling.len() {
            let slot = self.prefilling[k];
            let entry = &self.table[slot];
            let chunk = self.chunk(entry.target - entry.computed, lone).min(left);
            self.fill(slot, chunk);
            decision.chunks.push((slot, chunk));
            left -= chunk;
        }
        left
    }

    /// Tokens of a request's next chunk that still needs `rest`, before the budget cuts it.
    fn chunk(&self, rest: u32, lone: bool) -> u32 {
        let engine = self.settings.engine;
        match engine.long_prefill_token_threshold {
            0 => rest,
            _ if lone && engine.lone_prefill_uncapped => rest,
            threshold => rest.min(threshold),
        }
    }

    /// Part A request by request, as vLLM does it: when blocks or budget run short.
    fn walk(&mut self, decision: &mut Decision) -> u32 {
        let size = self.settings.engine.block_size;
        let lone = self.running.len + self.waiting.len() == 1;
        let mut left = self.settings.engine.max_num_batched_tokens;
        (decision.decodes, decision.context) = (0, 0);
        let mut slot = self.running.first;
        while slot != NIL && left > 0 {
            let entry = &self.table[slot];
            let wanted = match entry.state {
                State::Decode => 1,
                State::Prefill => self.chunk(entry.target - entry.computed, lone),
                _ => 0,
            };
            let tokens = wanted.min(left);
            if tokens == 0 {
                slot = entry.next;
                continue;
            }
            let needed = match entry.state {
                State::Prefill => (entry.computed + tokens).div_ceil(size) - entry.blocks,
                _ => {
                    let computed = (super::decodes::context(entry, self.step) - 1) as u32;
                    (computed + 1).div_ceil(size) - computed.div_ceil(size)
                }
            };
            let Some(skipped) = self.make_room(slot, needed, &mut left, decision) else { break };
            match self.table[slot].state {
                State::Prefill => self.fill(slot, tokens),
                _ => self.kv.take(needed),
            }
            self.table[slot].walked = (self.step, tokens);
            left -= tokens;
            slot = self.table[slot].next;
            for _ in 0..skipped {
                slot = if slot == NIL { NIL } else { self.table[slot].next };
            }
        }
        left
    }

    /// Preempts until `needed` blocks are free; `None` if `slot` itself had to go. The number is that of requests which vLLM then passes over
    /// in this step: its index moves back only past a victim that was scheduled in this step, not past one that wanted nothing.
    fn make_room(&mut self, slot: u32, needed: u32, left: &mut u32, decision: &mut Decision) -> Option<u32> {
        let mut skipped = 0;
        while needed > self.kv.free() {
            let victim = self.victim();
            let (step, tokens) = self.table[victim].walked;
            let ahead = if step == self.step { tokens } else { 0 };
            *left += ahead;
            skipped += u32::from(ahead == 0 && self.table[victim].seq < self.table[slot].seq);
            self.preempt(victim, ahead);
            decision.preempted.push(self.table[victim].request.id);
            if victim == slot {
                return None;
            }
        }
        Some(skipped)
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
    fn preempt(&mut self, slot: u32, ahead: u32) {
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
            self.owed.push((self.inflight.back().expect("pending").step, slot, entry.request.id));
        }
        entry.state = State::Waiting;
        entry.given = given;
        entry.seq = u64::MAX;
        entry.preemptions += 1;
        entry.lookup_private = true;
        self.totals.preemptions += 1;
        self.waiting_tokens += u64::from(self.table[slot].request.input_tokens + given);
        self.waiting.push_preempted(&self.table, slot);
    }

    /// After a walk: what was scheduled, and who was left out.
    fn settle_walk(&mut self, decision: &mut Decision) {
        (decision.decodes, decision.context) = (0, 0);
        let walked_chunks = decision.chunks.len();
        self.stalls = false;
        let mut slot = self.running.first;
        while slot != NIL {
            let step = self.step;
            let entry = &mut self.table[slot];
            let next = entry.next;
            let scheduled = entry.walked.0 == step;
            match entry.state {
                State::Prefill if scheduled => decision.chunks.push((slot, entry.walked.1)),
                State::Decode if scheduled => {
                    decision.decodes += 1;
                    decision.context += super::decodes::context(entry, step);
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
        // Admissions come after what ran already.
        decision.chunks.rotate_left(walked_chunks);
    }

    /// Part B: admits from the head of the waiting queue while everything fits.
    fn admit(&mut self, decision: &mut Decision, mut left: u32, now: Time) {
        let engine = self.settings.engine;
        while left > 0 && self.running.len < engine.max_num_seqs {
            let Some(slot) = self.waiting.peek(&self.table) else { break };
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
        self.admissions += 1;
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
    fn fill(&mut self, slot: u32, tokens: u32) {
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

    /// Runs the decided step, and all identical ones after it that nothing can disturb.
    fn execute<O: Observer>(&mut self, decision: &mut Decision, now: Time, until: Time, observer: &mut O) {
        if decision.walked {
            self.settle_walk(decision);
        }
        let mut shape = BatchShape {
            step: self.step,
            decodes: decision.decodes,
            decode_context: decision.context,
            sampled: decision.decodes,
            ..BatchShape::default()
        };
        for &(slot, tokens) in &decision.chunks {
            let entry = &self.table[slot];
            shape.add_chunk(entry.computed.into(), tokens.into(), entry.computed + tokens == entry.target);
        }
        self.kv_used_first.get_or_insert(self.kv.used());
        let start = now.max(self.last_end);
        let leaps = decision.chunks.is_empty() && !decision.walked && self.may_leap(observer);
        let steps = if leaps { self.leap(&shape, now, start, until) } else { (1, self.settings.cost.iteration(&shape), 0) };
        let (steps, first, slope_ps) = steps;
        let durations = Progression { first: first.0, slope: slope_ps };
        let end = start + durations.sum(steps);
        if observer.wants_steps() {
            self.report_step(decision, now, end, observer);
        }
        observer.batch(&shape, steps);
        self.report_gaps(decision, durations, steps, end, observer);
        self.totals.steps += steps;
        // Within a leap blocks are only taken, so the use at its end is its peak.
        self.totals.kv_blocks_peak = self.totals.kv_blocks_peak.max(self.kv.used());
        self.totals.busy_ps += durations.sum(steps).0;
        self.totals.last_end = end;
        self.new_tokens += steps * u64::from(self.decodes.by_class.iter().sum::<u32>());
        let blind = !self.inflight.is_empty();
        if steps > 1 {
            // Of the steps leapt over only the latest ones can still be in flight.
            self.inflight.clear();
            if self.settings.engine.async_scheduling {
                self.inflight.push_back(InFlight { step: self.step + steps - 2, end: start + durations.sum(steps - 1), blind });
            }
        }
        self.inflight.push_back(InFlight { step: self.step + steps - 1, end, blind });
        self.last_end = end;
        self.step += steps;
        self.decodes.context += u64::from(decision.decodes) * steps;
        self.advance_chunks(decision, end, observer);
    }

    /// Whether the steps after this one are decided by the same state: nobody is about to end, and the observer does not want every step.
    fn may_leap<O: Observer>(&self, observer: &O) -> bool {
        let in_step = !self.settings.engine.async_scheduling || self.inflight.len() == 1;
        in_step && !self.anyone_ending() && self.owed.is_empty() && !observer.wants_steps()
    }

    /// How many steps of this decode-only batch follow one another, the first one's duration, and its growth [ps]. Takes their blocks.
    fn leap(&mut self, shape: &BatchShape, now: Time, start: Time, until: Time) -> (u64, Duration, u64) {
        let piece = self.settings.cost.decode_piece(shape);
        let members = u64::from(shape.decodes);
        let durations = Progression { first: piece.first.0, slope: piece.slope_ps * members };
        // The step of the next completion may still be part of the leap.
        let due = self.completions.peek().map_or(self.step, |&Reverse((due, _, _))| due);
        let mut steps = (due + 1 - self.step).max(1);
        steps = steps.min((piece.until - shape.decode_context) / members + 1);
        let limit = self.undisturbed_until(until);
        // Step m of the leap is scheduled when step m - 1 ends, or m - 2 with asynchronous scheduling.
        steps = steps.min(match self.settings.engine.async_scheduling {
            false => 1 + durations.steps_before(limit.since(now), steps - 1).min(steps - 1),
            true if start >= limit => 1,
            true => 2 + durations.steps_before(limit.since(start), steps),
        });
        let (more, blocks) = self.decodes.steps_that_fit(self.step + 1, steps - 1, self.kv.free());
        self.kv.take(blocks);
        (1 + more, piece.first, durations.slope)
    }

    fn report_step<O: Observer>(&self, decision: &mut Decision, now: Time, end: Time, observer: &mut O) {
        decision.batch.clear();
        let mut chunks = decision.chunks.iter();
        let mut slot = self.running.first;
        while slot != NIL {
            let entry = &self.table[slot];
            match entry.state {
                State::Prefill => {
                    if let Some(&(_, tokens)) = chunks.clone().find(|&&(of, _)| of == slot) {
                        chunks.next();
                        decision.batch.push((entry.request.id, entry.computed, tokens));
                    }
                }
                // A stalled member's context has been set back.
                State::Decode if entry.stalled != self.step => {
                    let context = super::decodes::context(entry, self.step);
                    decision.batch.push((entry.request.id, context as u32 - 1, 1));
                }
                _ => {}
            }
            slot = entry.next;
        }
        observer.step(&StepView {
            replica: self.index,
            step: self.step,
            scheduled: now,
            end,
            batch: &decision.batch,
            preempted: &decision.preempted,
            running: self.running.len,
            waiting: self.waiting.len(),
            free_blocks: self.kv.free(),
        });
    }

    /// The gaps before the tokens of these steps.
    fn report_gaps<O: Observer>(&mut self, decision: &Decision, durations: Progression, steps: u64, end: Time, observer: &mut O) {
        let gap = |first: Duration, count: u32| Gaps { first, slope_ps: durations.slope, steps, count };
        if !decision.walked {
            for (class, &count) in self.decodes.by_class.iter().enumerate() {
                if count > 0 {
                    observer.gaps(class as u16, gap(Duration(durations.first), count));
                }
            }
            return;
        }
        // After a walk members differ: count them one by one.
        let mut slot = self.running.first;
        while slot != NIL {
            let entry = &mut self.table[slot];
            if entry.state == State::Decode && entry.stalled != self.step && !entry.discards {
                let first = match entry.last_token {
                    Time::NEVER => Duration(durations.first),
                    last => end - last,
                };
                entry.last_token = Time::NEVER;
                observer.gaps(entry.request.class, gap(first, 1));
            }
            slot = entry.next;
        }
    }

    /// Chunks are computed; those that complete a prompt make their request a decode from the next step on.
    fn advance_chunks<O: Observer>(&mut self, decision: &Decision, end: Time, observer: &mut O) {
        let step = self.step - 1;
        for &(slot, tokens) in &decision.chunks {
            let entry = &mut self.table[slot];
            entry.computed += tokens;
            self.unfilled_tokens -= u64::from(tokens);
            if entry.computed < entry.target {
                continue;
            }
            entry.state = State::Decode;
            entry.discards = false;
            entry.s0 = step;
            entry.s_last = step + u64::from(entry.out - entry.given) - 1;
            self.other_tokens -= u64::from(entry.target);
            self.new_tokens += 1;
            if entry.first_token == Time::NEVER {
                entry.first_token = end + self.settings.egress;
            } else if entry.last_token != Time::NEVER {
                let first = end - entry.last_token;
                observer.gaps(entry.request.class, Gaps { first, slope_ps: 0, steps: 1, count: 1 });
            }
            entry.last_token = Time::NEVER;
            self.completions.push(Reverse((entry.s_last, entry.seq, slot)));
            let entry = &self.table[slot];
            self.decodes.join(entry, self.step);
            self.prefilling.retain(|&s| s != slot);
        }
    }
}
