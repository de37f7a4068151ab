//! The loop of one replica: batches end, requests come in, batches are sent.

use std::collections::VecDeque;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::Time;

use super::decide::Decision;
use super::live::{Live, Slots};
use super::pipeline::{Members, Pipeline, Run};
use crate::engine::{CoreId, EngineTotals, Gaps, Levels, Observer, Settings, StepView};
use crate::scenario::Batchwise;
use crate::workload::Request;

/// One replica.
pub struct Replica<'a> {
    pub(super) settings: Settings<'a>,
    pub(super) scheduler: Batchwise,
    core: CoreId,
    /// Most requests of a batch.
    pub(super) cap: usize,
    pub(super) slots: Slots,
    /// Delivered and not yet visible.
    inbox: VecDeque<(Time, u32)>,
    pub(super) waiting: VecDeque<u32>,
    /// Between two batches.
    pub(super) running: Vec<u32>,
    /// Requests that hold blocks.
    pub(super) held: u32,
    /// Blocks that nobody holds.
    pub(super) free: u32,
    pipeline: Pipeline,
    /// Member lists of batches that have ended, to be used again.
    spare: Vec<Members>,
    decision: Decision,
    next_event: Time,
    pub(super) totals: EngineTotals,
    /// Prompts and given tokens of those that wait, the inbox included.
    pub(super) waiting_tokens: u64,
    /// Of those that hold blocks: the larger of target and computed tokens, as scheduled.
    pub(super) held_tokens: u64,
    /// Tokens of incomplete prompts not yet scheduled, of those that hold blocks.
    pub(super) unfilled_tokens: u64,
    levels: Levels,
    level_since: Time,
    /// Tokens of batches sent since the levels were last reported.
    new_tokens: u64,
    /// Preemptions when they were.
    told_preemptions: u64,
    /// Tokens of a batch by (class, end of the batch before).
    gaps: Vec<(u16, Time, u32)>,
    /// The batch as an observer of steps sees it.
    view: Vec<(u64, u32, u32)>,
}

impl<'a> Replica<'a> {
    /// An idle replica under `scheduler`.
    ///
    /// Panics if [`Batchwise::Vllm2023`] is given a limit that the longest prompt does not fit: it would wait for ever.
    pub fn new(settings: Settings<'a>, scheduler: Batchwise, index: u32) -> Replica<'a> {
        let engine = settings.engine;
        let fits = scheduler == Batchwise::Sarathi || engine.max_num_batched_tokens >= engine.max_model_len;
        assert!(fits, "a prompt of max_model_len does not fit a batch");
        Replica {
            settings,
            scheduler,
            core: CoreId { replica: index, rank: 0 },
            cap: (engine.max_num_seqs / settings.layout.stages).max(1) as usize,
            slots: Slots::default(),
            inbox: VecDeque::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            held: 0,
            free: settings.kv_blocks,
            pipeline: Pipeline::new(settings.layout.stages),
            spare: Vec::new(),
            decision: Decision::default(),
            next_event: Time::NEVER,
            totals: EngineTotals::default(),
            waiting_tokens: 0,
            held_tokens: 0,
            unfilled_tokens: 0,
            levels: Levels::default(),
            level_since: Time::ZERO,
            new_tokens: 0,
            told_preemptions: 0,
            gaps: Vec::new(),
            view: Vec::new(),
        }
    }

    /// Time of its next event; never if it is idle.
    pub fn next_event(&self) -> Time {
        self.next_event
    }

    /// Requests delivered that hold no blocks.
    pub fn waiting_requests(&self) -> u32 {
        (self.waiting.len() + self.inbox.len()) as u32
    }

    /// Requests delivered and not ended.
    pub fn requests(&self) -> u32 {
        self.waiting_requests() + self.held
    }

    /// Tokens of those, as the router counts them.
    pub fn tokens(&self) -> u64 {
        self.waiting_tokens + self.held_tokens
    }

    /// What it did in all.
    pub fn totals(&self) -> EngineTotals {
        self.totals
    }

    /// Levels since its latest event.
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Tells `observer` all that it has done until `now`, all events before which must have been run.
    pub fn settle<O: Observer>(&mut self, now: Time, observer: &mut O) {
        self.report_levels(now, observer);
        self.set_levels(now);
    }

    /// Time of its latest event, or delivery.
    pub fn latest_event(&self) -> Time {
        self.level_since
    }

    /// Ends it at `now`, all events before which must have been run: the requests that it had, in no order.
    pub fn crash<O: Observer>(&mut self, now: Time, observer: &mut O) -> Vec<Request> {
        self.report_levels(now, observer);
        std::mem::take(&mut self.slots).into_requests()
    }

    /// Asserts that whatever went in has come out.
    pub fn assert_drained(&self) {
        let requests = (self.requests(), self.running.len(), self.pipeline.is_empty());
        assert_eq!(requests, (0, 0, true), "requests are left on replica {}", self.core.replica);
        let tokens = (self.waiting_tokens, self.held_tokens, self.unfilled_tokens);
        assert_eq!(tokens, (0, 0, 0), "tokens are left on replica {}", self.core.replica);
        assert_eq!(self.free, self.settings.kv_blocks, "blocks are left on replica {}", self.core.replica);
    }

    /// Hands a request over at `now`; it is seen from `visible` on. All events before `now` must have been run.
    ///
    /// Panics if its client gives up at some time: aborts are not simulated here.
    pub fn deliver<O: Observer>(&mut self, request: Request, now: Time, visible: Time, observer: &mut O) {
        assert!(request.deadline == Time::NEVER, "timeouts are not simulated by this scheduler");
        self.report_levels(now, observer);
        self.totals.requests += 1;
        self.waiting_tokens += u64::from(request.input_tokens);
        let slot = self.slots.insert(Live::new(request, self.settings.engine));
        self.inbox.push_back((visible, slot));
        self.plan();
        self.set_levels(now);
    }

    /// Runs all events before `until`.
    pub fn advance<O: Observer>(&mut self, until: Time, observer: &mut O) {
        while self.next_event < until {
            self.event(observer);
        }
    }

    /// Runs the next event.
    pub fn event<O: Observer>(&mut self, observer: &mut O) {
        let now = self.next_event;
        self.report_levels(now, observer);
        if let Some(members) = self.pipeline.ended(now) {
            self.apply(members, now, observer);
        }
        while let Some((_, slot)) = self.inbox.pop_front_if(|&mut (visible, _)| visible <= now) {
            self.slots[slot].queued = now;
            self.waiting.push_back(slot);
        }
        let mut decision = std::mem::take(&mut self.decision);
        while self.pipeline.has_room() {
            let evictions = self.totals.preemptions;
            if self.decide(&mut decision, now) {
                self.send(&mut decision, now, observer);
            } else if self.totals.preemptions == evictions || !self.pipeline.is_empty() {
                break;
            }
        }
        self.decision = decision;
        self.plan();
        self.set_levels(now);
    }

    fn plan(&mut self) {
        let wake = match self.inbox.front() {
            Some(&(visible, _)) if self.pipeline.has_room() => visible,
            _ => Time::NEVER,
        };
        self.next_event = self.pipeline.next_end().min(wake);
    }

    /// Sends the decided batch into the pipeline.
    fn send<O: Observer>(&mut self, decision: &mut Decision, now: Time, observer: &mut O) {
        let shape = self.shape(&decision.members);
        assert!(self.held <= self.settings.engine.max_num_seqs, "too many requests run");
        let run = self.pipeline.run(&shape, self.settings.cost, now);
        if observer.wants_steps() {
            self.report_step(decision, now, run, observer);
        }
        observer.batch(self.core, &shape, 1);
        self.hand_out(&decision.members, run.end, observer);
        self.totals.steps += 1;
        self.totals.kv_blocks_peak = self.totals.kv_blocks_peak.max(self.settings.kv_blocks - self.free);
        self.totals.busy_ps += self.busy(run);
        self.totals.last_end = run.end;
        let members = std::mem::replace(&mut decision.members, self.spare.pop().unwrap_or_default());
        self.pipeline.send(members, run.end);
        decision.evicted.clear();
    }

    fn busy(&self, run: Run) -> u64 {
        Pipeline::busy(run, self.totals.last_end).0
    }

    fn shape(&self, members: &Members) -> BatchShape {
        let mut shape = BatchShape { step: self.totals.steps, ..BatchShape::default() };
        for &(slot, tokens) in members {
            let live = &self.slots[slot];
            match live.decodes() {
                true => shape.add_decode(u64::from(live.tokens())),
                false => shape.add_chunk(live.computed.into(), tokens.into(), live.computed + tokens == live.target),
            }
        }
        shape
    }

    /// What the batch that ends at `end` will give, and the gaps before it.
    fn hand_out<O: Observer>(&mut self, members: &Members, end: Time, observer: &mut O) {
        self.gaps.clear();
        for &(slot, tokens) in members {
            let live = &mut self.slots[slot];
            if live.decodes() {
                self.held_tokens += 1;
            } else {
                self.unfilled_tokens -= u64::from(tokens);
                if live.computed + tokens < live.target {
                    continue;
                }
            }
            self.new_tokens += 1;
            let before = std::mem::replace(&mut live.last_token, end);
            if before == Time::NEVER {
                live.first_token = end + self.settings.egress;
                observer.first_token(self.core, live.first_token, &live.request, 0);
                continue;
            }
            let key = (live.request.class, before);
            match self.gaps.iter_mut().rev().find(|gap| (gap.0, gap.1) == key) {
                Some(gap) => gap.2 += 1,
                None => self.gaps.push((key.0, key.1, 1)),
            }
        }
        for &(class, from, count) in &self.gaps {
            observer.gaps(self.core, class, Gaps { from, first: end - from, slope_ps: 0, steps: 1, count });
        }
    }

    /// Applies a batch that ended at `now`.
    fn apply<O: Observer>(&mut self, mut members: Members, now: Time, observer: &mut O) {
        for &(slot, tokens) in &members {
            let live = &mut self.slots[slot];
            if !live.decodes() {
                live.computed += tokens;
            }
            live.given += u32::from(live.decodes());
            if live.given < live.out {
                self.running.push(slot);
                continue;
            }
            self.release(slot);
            observer.outcome(self.slots.remove(slot).outcome(self.core, now + self.settings.egress));
        }
        members.clear();
        self.spare.push(members);
    }

    fn report_step<O: Observer>(&mut self, decision: &Decision, now: Time, run: Run, observer: &mut O) {
        self.view.clear();
        for &(slot, tokens) in &decision.members {
            let live = &self.slots[slot];
            let computed = if live.decodes() { live.tokens() - 1 } else { live.computed };
            self.view.push((live.request.id, computed, tokens));
        }
        observer.step(&StepView {
            replica: self.core.replica,
            rank: self.core.rank,
            step: self.totals.steps,
            scheduled: now,
            start: run.start.max(self.totals.last_end),
            end: run.end,
            batch: &self.view,
            preempted: &decision.evicted,
            running: self.held,
            waiting: self.waiting.len() as u32,
            free_blocks: self.free,
        });
    }

    /// Reports the levels that held until `to`.
    fn report_levels<O: Observer>(&mut self, to: Time, observer: &mut O) {
        if to > self.level_since {
            self.levels.tokens = std::mem::take(&mut self.new_tokens);
            self.levels.preemptions = self.totals.preemptions - self.told_preemptions;
            self.told_preemptions = self.totals.preemptions;
            observer.levels(self.core, self.level_since, to, &self.levels);
            self.level_since = to;
        }
    }

    fn set_levels(&mut self, now: Time) {
        let used = self.settings.kv_blocks - self.free;
        self.level_since = self.level_since.max(now);
        self.levels = Levels {
            running: self.held,
            waiting: self.waiting_requests(),
            waiting_tokens: self.waiting_tokens + self.unfilled_tokens,
            kv_used_from: used,
            kv_used_to: used,
            tokens: 0,
            preemptions: 0,
        };
    }
}
