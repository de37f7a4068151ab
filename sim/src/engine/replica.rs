//! The engine loop of one replica: events in time order, each one draining, applying and scheduling.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use tokentide_models::cost::CostModel;
use tokentide_models::units::{Duration, Time};

use super::decodes::{Decodes, context};
use super::kv::KvPool;
use super::leap::Leap;
use super::pipeline::Stages;
use super::running::Running;
use super::schedule::Decision;
use super::table::{Entry, State, Table};
use super::waiting::Waiting;
use super::{CoreId, EngineTotals, Finish, Layout, Levels, Observer, Outcome};
use crate::scenario::EngineConfig;
use crate::workload::Request;

/// What all replicas of a cluster share.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The engine's settings.
    pub engine: &'a EngineConfig,
    /// Its engine cores, and their stages.
    pub layout: Layout,
    /// KV blocks of an engine core.
    pub kv_blocks: u32,
    /// Duration of iterations.
    pub cost: &'a dyn CostModel,
    /// From a step's end until the client sees its tokens.
    pub egress: Duration,
}

impl Settings<'_> {
    /// Most steps scheduled and not yet applied.
    pub(super) fn steps_in_flight(&self) -> usize {
        match self.layout.stages {
            1 if self.engine.async_scheduling => 2,
            stages => stages as usize,
        }
    }

    /// Whether steps go through pipeline stages.
    pub(super) fn pipelined(&self) -> bool {
        self.layout.stages > 1
    }
}

/// A step whose results are not yet applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) step: u64,
    pub(super) end: Time,
    /// Whether it was scheduled while the step before was in flight, so that the input of its decodes was not known.
    pub(super) blind: bool,
}

/// One replica.
pub struct Replica<'a> {
    pub(super) settings: Settings<'a>,
    pub(super) core: CoreId,
    pub(super) table: Table,
    /// Delivered, in order of visibility.
    inbox: VecDeque<(Time, u32, u64)>,
    /// Requests in the inbox that have not ended there.
    inbox_len: u32,
    pub(super) waiting: Waiting,
    pub(super) running: Running,
    pub(super) decodes: Decodes,
    /// Running requests whose prompt is incomplete, in order of admission.
    pub(super) prefilling: Vec<u32>,
    /// Decoding requests by (step of the last token, admission, slot); stale entries are skipped by `seq`.
    pub(super) completions: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Requests whose last token is in flight or just arrived: (step, slot, id).
    ending: VecDeque<(u64, u32, u64)>,
    /// Preempted requests that the step in flight still gives a token: (step, slot, id).
    pub(super) owed: Vec<(u64, u32, u64)>,
    /// (deadline, id, slot).
    deadlines: BinaryHeap<Reverse<(Time, u64, u32)>>,
    pub(super) kv: KvPool,
    /// Index of the next step.
    pub(super) step: u64,
    /// End of the latest scheduled step.
    pub(super) last_end: Time,
    pub(super) inflight: VecDeque<InFlight>,
    pub(super) pipeline: Stages,
    pub(super) admissions: u32,
    next_event: Time,
    pub(super) decision: Decision,
    /// Steps planned after the latest event.
    pub(super) leap: Option<Leap>,
    /// Whether some member of the decode aggregate was left out of the latest step.
    pub(super) stalls: bool,
    pub(super) totals: EngineTotals,
    /// Tokens of prefilling requests' targets and of ending requests, for the router.
    pub(super) other_tokens: u64,
    /// Tokens of waiting requests and of those in the inbox.
    pub(super) waiting_tokens: u64,
    /// Tokens that partly prefilled requests still need.
    pub(super) unfilled_tokens: u64,
    /// Since when `levels` hold.
    pub(super) level_since: Time,
    pub(super) levels: Levels,
    /// Tokens given since the levels were last reported.
    pub(super) new_tokens: u64,
    /// Preemptions when they were.
    pub(super) told_preemptions: u64,
}

impl<'a> Replica<'a> {
    /// An idle engine core with an empty cache: rank `rank` of replica `index`.
    pub fn new(settings: Settings<'a>, index: u32, rank: u32) -> Replica<'a> {
        let engine = settings.engine;
        Replica {
            settings,
            core: CoreId { replica: index, rank },
            table: Table::default(),
            inbox: VecDeque::new(),
            inbox_len: 0,
            waiting: Waiting::new(engine.policy),
            running: Running::new(),
            decodes: Decodes::new(engine.block_size, 1, settings.cost.reads_spread()),
            prefilling: Vec::new(),
            completions: BinaryHeap::new(),
            ending: VecDeque::new(),
            owed: Vec::new(),
            deadlines: BinaryHeap::new(),
            kv: KvPool::new(settings.kv_blocks, engine.enable_prefix_caching, engine.free_unhashed_first),
            step: 0,
            last_end: Time::ZERO,
            inflight: VecDeque::with_capacity(2),
            pipeline: Stages::new(settings.layout.stages),
            admissions: 0,
            next_event: Time::NEVER,
            decision: Decision::default(),
            leap: None,
            stalls: false,
            totals: EngineTotals::default(),
            other_tokens: 0,
            waiting_tokens: 0,
            unfilled_tokens: 0,
            level_since: Time::ZERO,
            levels: Levels::default(),
            new_tokens: 0,
            told_preemptions: 0,
        }
    }

    /// Time of its next event; never if it is idle.
    pub fn next_event(&self) -> Time {
        self.next_event
    }

    /// Length of the engine's waiting queue, and of `running`.
    pub(super) fn queues(&self) -> (u32, u32) {
        (self.waiting.len(), self.running.len)
    }

    /// Requests delivered and not running.
    pub fn waiting_requests(&self) -> u32 {
        self.waiting.len() + self.inbox_len
    }

    /// Requests delivered and not ended.
    pub fn requests(&self) -> u32 {
        self.waiting_requests() + self.running.len
    }

    /// Tokens of those after the latest step run, as the router counts them.
    pub fn tokens_so_far(&self) -> u64 {
        self.waiting_tokens + self.other_tokens + self.decodes.context - u64::from(self.decodes.members)
    }

    /// The same at `now`: a planned leap has gone on meanwhile.
    pub fn tokens(&self, now: Time) -> u64 {
        let leapt = self.leap.map_or(0, |leap| leap.scheduled_before(now));
        self.tokens_so_far() + u64::from(self.decodes.members) * leapt
    }

    /// What it did in all.
    pub fn totals(&self) -> EngineTotals {
        self.totals
    }

    /// Asserts that whatever went in has come out: no request, token or block is left behind.
    pub fn assert_drained(&self) {
        let requests = (self.running.len, self.waiting_requests(), self.prefilling.len(), self.decodes.members);
        assert_eq!(requests, (0, 0, 0, 0), "requests are left on replica {}", self.core.replica);
        let tokens = (self.waiting_tokens, self.unfilled_tokens, self.other_tokens, self.decodes.context);
        assert_eq!(tokens, (0, 0, 0, 0), "tokens are left on replica {}", self.core.replica);
        assert_eq!(self.kv.used(), 0, "blocks are left on replica {}", self.core.replica);
    }

    /// Hands a request over at `now`; the engine sees it from `visible` on. All events before `now` must have been run. `keys` are
    /// those of its shared blocks, if caching is on.
    pub fn deliver<O: Observer>(&mut self, request: Request, now: Time, visible: Time, keys: Option<Arc<[u64]>>, observer: &mut O) {
        self.cut_leap(now, observer);
        self.report_levels(now, self.kv.used(), observer);
        let room = self.settings.engine.max_model_len - request.input_tokens;
        let limit = request.max_tokens.min(room);
        let out = request.output_tokens.min(limit);
        let finish = match request.output_tokens {
            o if o < limit => Finish::Stop,
            _ if limit == request.max_tokens => Finish::Length,
            _ => Finish::Truncated,
        };
        let (id, deadline, input) = (request.id, request.deadline, request.input_tokens);
        let slot = self.table.insert(Entry {
            lookup_private: request.private_reused,
            request,
            state: State::Inbox,
            out,
            finish,
            given: 0,
            target: input,
            computed: 0,
            blocks: 0,
            s0: 0,
            s_last: 0,
            seq: u32::MAX,
            keys,
            discards: false,
            nodes: Vec::new(),
            prev: 0,
            next: 0,
            walked: (u64::MAX, 0),
            stalled: u64::MAX,
            sampled: None,
            last_token: Time::NEVER,
            queued: Time::NEVER,
            scheduled: Time::NEVER,
            first_token: Time::NEVER,
            cached: 0,
            preemptions: 0,
        });
        self.totals.requests += 1;
        self.inbox.push_back((visible, slot, id));
        self.inbox_len += 1;
        self.waiting_tokens += u64::from(input);
        if deadline != Time::NEVER {
            self.deadlines.push(Reverse((deadline, id, slot)));
        }
        if self.inflight.is_empty() {
            self.next_event = self.next_event.min(visible).min(deadline);
        }
        self.set_levels(now);
    }

    /// Runs all events before `until`.
    pub fn advance<O: Observer>(&mut self, until: Time, observer: &mut O) {
        while self.next_event < until {
            self.event(observer);
        }
    }

    /// Runs the next event, and the leap before it if one is planned.
    pub fn event<O: Observer>(&mut self, observer: &mut O) {
        let now = self.next_event;
        if let Some(leap) = self.leap {
            self.leap(leap.steps, observer);
        }
        self.take_in(now, observer);
        let depth = self.settings.steps_in_flight();
        while self.inflight.len() < depth {
            let found = self.schedule(now, observer);
            // A decision that only preempted is an empty step: with nothing in flight the loop comes straight back.
            let again = self.inflight.is_empty() && !self.decision.preempted.is_empty();
            if !found && !again {
                break;
            }
        }
        self.next_event = match (&self.leap, self.inflight.front()) {
            (Some(leap), _) => leap.next_event(),
            (None, Some(front)) => front.end,
            (None, None) => self.next_wake(),
        };
        self.set_levels(now);
    }

    /// Applies the step that ended by `now`, and takes in what happened outside.
    pub(super) fn take_in<O: Observer>(&mut self, now: Time, observer: &mut O) {
        self.report_levels(now, self.kv.used(), observer);
        if self.inflight.front().is_some_and(|f| f.end <= now) {
            let done = self.inflight.pop_front().expect("just seen");
            self.apply(done.step, now, observer);
        }
        self.drain(now, observer);
    }

    /// Cuts a planned leap short: only its steps scheduled before `time` are run.
    pub fn cut_leap<O: Observer>(&mut self, time: Time, observer: &mut O) {
        if let Some(leap) = self.leap {
            self.leap(leap.scheduled_before(time), observer);
            self.next_event = self.inflight.front().expect("steps were just scheduled").end;
        }
    }

    /// When an idle engine has something to do: the next visibility or deadline.
    pub(super) fn next_wake(&mut self) -> Time {
        self.skip_dead_inbox();
        let visible = self.inbox.front().map_or(Time::NEVER, |&(visible, _, _)| visible);
        visible.min(self.next_deadline())
    }

    fn skip_dead_inbox(&mut self) {
        while let Some(&(_, slot, id)) = self.inbox.front() {
            if self.table.holds(slot, id) {
                break;
            }
            self.inbox.pop_front();
        }
    }

    fn next_deadline(&mut self) -> Time {
        while let Some(&Reverse((deadline, id, slot))) = self.deadlines.peek() {
            if self.table.holds(slot, id) {
                return deadline;
            }
            self.deadlines.pop();
        }
        Time::NEVER
    }

    /// Takes in what happened outside by `now`.
    fn drain<O: Observer>(&mut self, now: Time, observer: &mut O) {
        while self.next_deadline() <= now {
            let Some(Reverse((_, _, slot))) = self.deadlines.pop() else { break };
            self.abort(slot, observer);
        }
        while let Some(&(visible, slot, id)) = self.inbox.front() {
            if visible > now {
                break;
            }
            self.inbox.pop_front();
            if self.table.holds(slot, id) {
                self.inbox_len -= 1;
                self.table[slot].state = State::Waiting;
                self.table[slot].queued = now;
                self.waiting.push(&self.table, slot);
            }
        }
    }

    /// The client gave up.
    fn abort<O: Observer>(&mut self, slot: u32, observer: &mut O) {
        let given = self.given(slot);
        match self.table[slot].state {
            State::Vacant => unreachable!("an aborted request is alive"),
            State::Inbox => {
                self.inbox_len -= 1;
                self.waiting_tokens -= u64::from(self.table[slot].target);
            }
            State::Waiting => self.leave_waiting(slot),
            State::Prefill | State::Decode | State::Ending => self.leave_running(slot),
        }
        self.end(slot, Finish::TimedOut, self.table[slot].request.deadline, given, observer);
    }

    /// Tokens given so far: by steps applied.
    pub(super) fn given(&self, slot: u32) -> u32 {
        let entry = &self.table[slot];
        match entry.state {
            State::Decode => {
                let scheduled = entry.given + (self.step - entry.s0) as u32;
                (scheduled - u32::from(self.pending(entry))).min(entry.out)
            }
            State::Ending => entry.out - u32::from(self.pending(entry)),
            _ => entry.given,
        }
    }

    /// Whether a decoding or ending request was in the step in flight; with pipeline stages, whether any request waits for a token
    /// of one.
    pub(super) fn pending(&self, entry: &Entry) -> bool {
        if self.settings.pipelined() {
            return self.inflight.front().is_some_and(|oldest| entry.sampled >= Some(oldest.step));
        }
        match self.inflight.back() {
            Some(latest) if entry.state == State::Ending => entry.s_last == latest.step,
            Some(latest) => entry.stalled != latest.step,
            None => false,
        }
    }

    /// Applies the results of `step`, which ended at `now`.
    fn apply<O: Observer>(&mut self, step: u64, now: Time, observer: &mut O) {
        self.retire(step);
        self.owed.retain(|&(of, slot, id)| {
            if of == step && self.table.holds(slot, id) {
                self.table[slot].given += 1;
                self.waiting_tokens += 1;
            }
            of > step
        });
        while let Some(&(last, slot, id)) = self.ending.front() {
            if last > step {
                break;
            }
            self.ending.pop_front();
            if !self.table.holds(slot, id) {
                continue;
            }
            match self.table[slot].state {
                State::Waiting => self.leave_waiting(slot),
                _ => self.leave_running(slot),
            }
            let entry = &self.table[slot];
            let (seen, deadline) = (now + self.settings.egress, entry.request.deadline);
            let (finish, out) = (entry.finish, entry.out);
            if seen > deadline {
                self.end(slot, Finish::TimedOut, deadline, out, observer);
            } else {
                self.end(slot, finish, seen, out, observer);
            }
        }
    }

    /// Moves requests whose last token comes from a step up to `step` from the completions to `ending`. They get no further token;
    /// those that end by length, or that nothing is scheduled ahead of, leave the decode aggregate.
    pub(super) fn retire(&mut self, step: u64) {
        while let Some(&Reverse((due, seq, slot))) = self.completions.peek() {
            if due > step {
                break;
            }
            self.completions.pop();
            let entry = &mut self.table[slot];
            if entry.seq != seq || entry.state != State::Decode {
                continue;
            }
            if entry.s_last > due {
                self.completions.push(Reverse((entry.s_last, seq, slot)));
                continue;
            }
            entry.discards = true;
            self.ending.push_back((due, slot, entry.request.id));
            self.decodes.by_class[usize::from(entry.request.class)] -= 1;
            if !self.settings.engine.async_scheduling || entry.finish != Finish::Stop {
                self.decodes.leave(&self.table[slot], self.step);
                self.other_tokens += context(&self.table[slot], self.step) - 1;
                self.table[slot].state = State::Ending;
            }
        }
    }

    /// Whether a request's last token is in flight, or was just applied.
    pub(super) fn anyone_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Ends a request that holds nothing any more.
    fn end<O: Observer>(&mut self, slot: u32, finish: Finish, ended: Time, given: u32, observer: &mut O) {
        let seen = |time: Time| (time != Time::NEVER && time <= ended).then_some(time);
        let entry = &self.table[slot];
        let (queued, scheduled, first_token) = (seen(entry.queued), seen(entry.scheduled), seen(entry.first_token));
        let (cached_tokens, preemptions) = (entry.cached, entry.preemptions);
        let request = self.table.remove(slot);
        observer.outcome(Outcome {
            request,
            replica: self.core.replica,
            rank: self.core.rank,
            finish,
            queued,
            scheduled,
            first_token,
            ended,
            output_tokens: given,
            cached_tokens,
            preemptions,
        });
    }
}
