//! Execution of a decided step: its cost, the leap over the identical steps after it, what the observer is told, and the chunks'
//! progress.

use std::cmp::Reverse;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};

use super::leap::{Leap, Progression};
use super::replica::{InFlight, Replica};
use super::running::NIL;
use super::schedule::Decision;
use super::table::State;
use super::{Gaps, Observer, StepView};

impl Replica<'_> {
    /// Runs the decided step, and plans the leap over the steps after it that must be identical.
    pub(super) fn execute<O: Observer>(&mut self, now: Time, observer: &mut O) {
        let shape = self.decided_shape();
        if self.settings.pipelined() {
            self.settings.cost.stages(&shape, self.pipeline.times());
            let end = self.pipeline.push(now);
            // Stages overlap: what counts as busy is the time that no step before covers.
            let start = self.pipeline.started().max(self.last_end);
            return self.run(&shape, now, start, end - start, observer);
        }
        let start = now.max(self.last_end);
        // Only after a step that asked the waiting queue and was refused is the next decision the same.
        let decision = &self.decision;
        let plain = decision.chunks.is_empty() && decision.preempted.is_empty() && !decision.walked;
        let duration =
            if plain && self.may_leap(observer) { self.plan_leap(&shape, start) } else { self.settings.cost.iteration(&shape) };
        self.run(&shape, now, start, duration, observer);
    }

    /// What the decided step computes.
    pub(super) fn decided_shape(&mut self) -> BatchShape {
        let mut decision = std::mem::take(&mut self.decision);
        if decision.walked {
            self.settle_walk(&mut decision);
        }
        let mut shape = BatchShape {
            step: self.step,
            decodes: decision.decodes,
            decode_context: decision.context,
            decode_longest: decision.spread.0,
            decode_shortest: decision.spread.1,
            sampled: decision.decodes,
            ..BatchShape::default()
        };
        for &(slot, tokens) in &decision.chunks {
            let entry = &self.table[slot];
            shape.add_chunk(entry.computed.into(), tokens.into(), entry.computed + tokens == entry.target);
        }
        self.decision = decision;
        let engine = self.settings.engine;
        assert!(shape.tokens() <= u64::from(engine.max_num_batched_tokens), "the token budget is exceeded");
        assert!(self.running.len <= engine.max_num_seqs, "too many requests run");
        shape
    }

    /// Runs the decided step, of this shape, from `start` on.
    pub(super) fn run<O: Observer>(&mut self, shape: &BatchShape, now: Time, start: Time, duration: Duration, observer: &mut O) {
        let end = start + duration;
        let mut decision = std::mem::take(&mut self.decision);
        if observer.wants_steps() {
            self.report_step(&mut decision, (now, start, end), observer);
        }
        observer.batch(self.core, shape, 1);
        self.report_gaps(&decision, end, observer);
        let blind = !self.inflight.is_empty();
        self.inflight.push_back(InFlight { step: self.step, end, blind });
        let tokens = if self.settings.pipelined() { u64::from(decision.decodes) } else { self.decoded_tokens() };
        self.count_steps(1, tokens, duration, end);
        self.decodes.context += u64::from(decision.decodes);
        self.advance_chunks(&decision, end, observer);
        self.decision = decision;
    }

    /// Counts steps that gave `tokens` tokens each to decodes.
    fn count_steps(&mut self, steps: u64, tokens: u64, duration: Duration, end: Time) {
        self.totals.steps += steps;
        // While steps are only repeated blocks are only taken, so the use at their end is their peak.
        self.totals.kv_blocks_peak = self.totals.kv_blocks_peak.max(self.kv.used());
        self.totals.busy_ps += duration.0;
        self.totals.last_end = end;
        self.new_tokens += steps * tokens;
        self.last_end = end;
        self.step += steps;
    }

    /// Tokens that a step gives to decodes, of whom all get one.
    fn decoded_tokens(&self) -> u64 {
        self.decodes.by_class.iter().map(|&count| u64::from(count)).sum()
    }

    /// Whether the steps after this one are decided by the same state: nobody is about to end, and the observer does not want every
    /// step.
    fn may_leap<O: Observer>(&self, observer: &O) -> bool {
        let in_step = !self.settings.engine.async_scheduling || self.inflight.len() == 1;
        in_step && !self.anyone_ending() && self.owed.is_empty() && !observer.wants_steps()
    }

    /// The duration of this decode-only step, which starts at `start`; and how many more follow it, unless something is delivered.
    fn plan_leap(&mut self, shape: &BatchShape, start: Time) -> Duration {
        let piece = self.settings.cost.decode_piece(shape);
        let slope = piece.growth_ps;
        // The step of the next completion may still be part of the leap.
        let due = self.completions.peek().map_or(self.step, |&Reverse((due, _, _))| due);
        let steps = (due - self.step).min(piece.steps);
        if steps == 0 {
            return piece.first;
        }
        let from = start + piece.first;
        let mut leap = Leap {
            steps,
            durations: Progression { first: piece.first.0 + slope, slope },
            from,
            scheduled: if self.settings.engine.async_scheduling { start } else { from },
        };
        leap.steps = leap.scheduled_before(self.next_wake());
        leap.steps = self.decodes.steps_that_fit(self.step + 1, leap.steps, self.kv.free()).0;
        self.leap = (leap.steps > 0).then_some(leap);
        piece.first
    }

    /// Runs the first `steps` steps of the planned leap, and forgets the rest.
    pub(super) fn leap<O: Observer>(&mut self, steps: u64, observer: &mut O) {
        let Some(leap) = self.leap.take() else { return };
        if steps == 0 {
            return;
        }
        let decodes = self.decodes.members;
        let (fit, blocks) = self.decodes.steps_that_fit(self.step, steps, self.kv.free());
        assert_eq!(fit, steps, "a planned leap has its blocks");
        self.kv.take(blocks);
        let (decode_longest, decode_shortest) = self.decodes.spread(self.step);
        let shape = BatchShape {
            step: self.step,
            decodes,
            decode_context: self.decodes.context,
            decode_longest,
            decode_shortest,
            sampled: decodes,
            ..BatchShape::default()
        };
        observer.batch(self.core, &shape, steps);
        let Progression { first, slope } = leap.durations;
        for (class, &count) in self.decodes.by_class.iter().enumerate() {
            if count > 0 {
                let gaps = Gaps { from: leap.from, first: Duration(first), slope_ps: slope, steps, count };
                observer.gaps(self.core, class as u16, gaps);
            }
        }
        let (duration, last) = (leap.durations.sum(steps), self.step + steps - 1);
        let end = leap.from + duration;
        let blind = self.settings.engine.async_scheduling;
        // Of all these steps only the latest can still be in flight.
        if blind && steps > 1 {
            self.inflight.clear();
            self.inflight.push_back(InFlight { step: last - 1, end: leap.from + leap.durations.sum(steps - 1), blind });
        } else {
            self.inflight.pop_front();
        }
        self.inflight.push_back(InFlight { step: last, end, blind });
        self.count_steps(steps, self.decoded_tokens(), duration, end);
        self.decodes.context += u64::from(decodes) * steps;
    }

    fn report_step<O: Observer>(&self, decision: &mut Decision, times: (Time, Time, Time), observer: &mut O) {
        let (scheduled, start, end) = times;
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
            replica: self.core.replica,
            rank: self.core.rank,
            step: self.step,
            scheduled,
            start,
            end,
            batch: &decision.batch,
            preempted: &decision.preempted,
            running: self.running.len,
            waiting: self.waiting.len(),
            free_blocks: self.kv.free(),
        });
    }

    /// The gaps before the tokens of this step: since the end of the step before, which of ranks in lockstep need not be its
    /// start.
    fn report_gaps<O: Observer>(&mut self, decision: &Decision, end: Time, observer: &mut O) {
        let since = end.since(self.last_end);
        let gap = |first: Duration, count: u32| Gaps { from: Time(end.0 - first.0), first, slope_ps: 0, steps: 1, count };
        if !decision.walked {
            for (class, &count) in self.decodes.by_class.iter().enumerate() {
                if count > 0 {
                    observer.gaps(self.core, class as u16, gap(since, count));
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
                    Time::NEVER => since,
                    last => end - last,
                };
                entry.last_token = Time::NEVER;
                observer.gaps(self.core, entry.request.class, gap(first, 1));
            }
            slot = entry.next;
        }
    }

    /// Chunks are computed; those that complete a prompt make their request a decode from the next step on.
    fn advance_chunks<O: Observer>(&mut self, decision: &Decision, end: Time, observer: &mut O) {
        let step = self.step - 1;
        let pipelined = self.settings.pipelined();
        for &(slot, tokens) in &decision.chunks {
            let entry = &mut self.table[slot];
            entry.computed += tokens;
            self.unfilled_tokens -= u64::from(tokens);
            if entry.computed < entry.target {
                continue;
            }
            entry.state = State::Decode;
            entry.discards = false;
            entry.sampled = pipelined.then_some(step);
            entry.s0 = step;
            entry.s_last = step + u64::from(entry.out - entry.given) - 1;
            self.other_tokens -= u64::from(entry.target);
            self.new_tokens += 1;
            if entry.first_token == Time::NEVER {
                entry.first_token = end + self.settings.egress;
                observer.first_token(self.core, entry.first_token, &entry.request, entry.cached);
            } else if entry.last_token != Time::NEVER {
                let gaps = Gaps { from: entry.last_token, first: end - entry.last_token, slope_ps: 0, steps: 1, count: 1 };
                observer.gaps(self.core, entry.request.class, gaps);
            }
            entry.last_token = Time::NEVER;
            self.completions.push(Reverse((entry.s_last, entry.seq, slot)));
            let entry = &self.table[slot];
            self.decodes.join(entry, self.step);
            self.prefilling.retain(|&s| s != slot);
        }
    }
}
