//! Execution of a decided step: its cost, the leap over the identical steps after it, what the observer is told, and the chunks'
//! progress.

use std::cmp::Reverse;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};

use super::leap::Progression;
use super::replica::{InFlight, Replica};
use super::running::NIL;
use super::schedule::Decision;
use super::table::State;
use super::{Gaps, Observer, StepView};

impl Replica<'_> {
    /// Runs the decided step, and all identical ones after it that nothing can disturb.
    pub(super) fn execute<O: Observer>(&mut self, decision: &mut Decision, now: Time, until: Time, observer: &mut O) {
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
        let engine = self.settings.engine;
        assert!(shape.tokens() <= u64::from(engine.max_num_batched_tokens), "the token budget is exceeded");
        assert!(self.running.len <= engine.max_num_seqs, "too many requests run");
        self.kv_used_first.get_or_insert(self.kv.used());
        let start = now.max(self.last_end);
        // Only after a step that asked the waiting queue and was refused is the next decision the same.
        let plain = decision.chunks.is_empty() && decision.preempted.is_empty() && !decision.walked;
        let leaps = plain && self.may_leap(observer);
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

    /// Whether the steps after this one are decided by the same state: nobody is about to end, and the observer does not want every
    /// step.
    fn may_leap<O: Observer>(&self, observer: &O) -> bool {
        let in_step = !self.settings.engine.async_scheduling || self.inflight.len() == 1;
        in_step && !self.anyone_ending() && self.owed.is_empty() && !observer.wants_steps()
    }

    /// How many steps of this decode-only batch follow one another, the first one's duration, and its growth [ps]. Takes their
    /// blocks.
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
