//! One engine core: the engine loop with one or two steps in flight.

use std::collections::VecDeque;

use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::{CoreId, EngineTotals, Finish, Gaps, Observer, Outcome, StepView};
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::workload::Request;

use super::live::Live;
use super::scheduler::{Decision, Part, Scheduler};

/// A scheduled step whose results are not yet applied.
struct Step {
    end: Time,
    batch: Vec<Part>,
}

/// An engine core: a replica, or a data-parallel rank of one.
pub struct Replica<'a> {
    core: CoreId,
    config: &'a EngineConfig,
    cost: &'a dyn CostModel,
    egress: Duration,
    /// Queues and blocks.
    pub scheduler: Scheduler<'a>,
    /// Delivered, in order of delivery, but not yet drained.
    arriving: VecDeque<u64>,
    inflight: VecDeque<Step>,
    /// When each pipeline stage is done with the latest step.
    stages: Vec<Time>,
    /// What it did so far.
    pub totals: EngineTotals,
}

impl<'a> Replica<'a> {
    /// Empty: rank `rank` of replica `index`.
    pub fn new(index: u32, rank: u32, cluster: &tokentide_sim::cluster::Cluster<'a>) -> Replica<'a> {
        Replica {
            core: CoreId { replica: index, rank },
            config: cluster.engine,
            cost: cluster.cost,
            egress: cluster.egress,
            scheduler: Scheduler::new(cluster.engine, cluster.kv_blocks, cluster.layout.stages > 1),
            arriving: VecDeque::new(),
            inflight: VecDeque::new(),
            stages: vec![Time::ZERO; cluster.layout.stages as usize],
            totals: EngineTotals::default(),
        }
    }

    /// Requests delivered and not running.
    pub fn queued(&self) -> usize {
        self.arriving.len() + self.scheduler.waiting.len()
    }

    /// A request that was routed here; the engine sees it from `visible` on.
    pub fn deliver(&mut self, request: Request, visible: Time) {
        let id = request.id;
        self.totals.requests += 1;
        self.scheduler.requests.insert(id, Live::new(request, visible, self.config));
        self.arriving.push_back(id);
    }

    /// Delivered requests that have not ended, as a router sees them.
    pub fn load_requests(&self) -> u64 {
        self.scheduler.requests.len() as u64
    }

    /// Their tokens, as a router sees them.
    pub fn load_tokens(&self) -> u64 {
        let tokens = |(id, live): (&u64, &Live)| {
            let running = self.scheduler.running.contains(id);
            u64::from(if running { live.computed.max(live.admitted_tokens) } else { live.num_tokens() })
        };
        self.scheduler.requests.iter().map(tokens).sum()
    }

    /// When its engine loop next does anything, by what it knows now.
    pub fn next_event(&self) -> Option<Time> {
        if let Some(step) = self.inflight.front() {
            return Some(step.end);
        }
        let next = self.next_message();
        assert!(next != Some(Time::NEVER), "replica {} holds requests and will never run again", self.core.replica);
        next
    }

    /// The next visibility or deadline.
    pub fn next_message(&self) -> Option<Time> {
        let visible = self.arriving.iter().map(|id| self.scheduler.requests[id].visible);
        let deadlines = self.scheduler.requests.values().map(|live| live.request.deadline);
        visible.chain(deadlines).min()
    }

    /// The event at `now`: the step that ends now is applied, messages are drained, and steps are scheduled until no more may be in
    /// flight or there is no work. Returns who ended, in order.
    pub fn event(&mut self, now: Time, observer: &mut impl Observer) -> Vec<Outcome> {
        let ended = self.take_in(now, observer);
        let depth = match self.stages.len() {
            1 if self.config.async_scheduling => 2,
            stages => stages,
        };
        while self.inflight.len() < depth {
            let decision = self.decide();
            if decision.batch.is_empty() {
                // Under the priority policy a request may preempt only itself before anything is scheduled. vLLM, which then has
                // unfinished requests and nothing to wait for, schedules again at once.
                if !decision.preempted.is_empty() && self.inflight.is_empty() {
                    continue;
                }
                break;
            }
            let shape = self.shape(&decision);
            if self.stages.len() > 1 {
                let (start, duration) = self.through_stages(now, &shape);
                self.launch(now, start, duration, decision, observer);
                continue;
            }
            let duration = self.cost.iteration(&shape);
            self.launch(now, now.max(self.totals.last_end), duration, decision, observer);
        }
        ended
    }

    /// From when on a step decided now adds to the time covered by the steps before it, and how much.
    fn through_stages(&mut self, now: Time, shape: &BatchShape) -> (Time, Duration) {
        let mut times = vec![Duration::ZERO; self.stages.len()];
        self.cost.stages(shape, &mut times);
        let first = now.max(self.stages[0]);
        let mut ready = first;
        for (stage, time) in self.stages.iter_mut().zip(times) {
            *stage = ready.max(*stage) + time;
            ready = *stage;
        }
        let start = first.max(self.totals.last_end);
        (start, ready - start)
    }

    /// Applies the step that ends now, if one does, and drains messages. Returns who ended, in order.
    pub fn take_in(&mut self, now: Time, observer: &mut impl Observer) -> Vec<Outcome> {
        let mut ended = Vec::new();
        if self.inflight.front().is_some_and(|step| step.end == now) {
            let step = self.inflight.pop_front().expect("looked at");
            self.apply(&step, &mut ended, observer);
        }
        self.drain(now, &mut ended);
        ended
    }

    /// One decision; it may be empty.
    pub fn decide(&mut self) -> Decision {
        let decision = self.scheduler.schedule();
        self.totals.preemptions += decision.preempted.len() as u64;
        decision
    }

    /// What the step of a decision computes.
    pub fn shape(&self, decision: &Decision) -> BatchShape {
        shape(self.totals.steps, &decision.batch)
    }

    fn drain(&mut self, now: Time, ended: &mut Vec<Outcome>) {
        let requests = &self.scheduler.requests;
        let mut aborts: Vec<(Time, u64)> =
            requests.values().map(|live| (live.request.deadline, live.request.id)).filter(|abort| abort.0 <= now).collect();
        aborts.sort_unstable();
        for (deadline, id) in aborts {
            self.arriving.retain(|&a| a != id);
            ended.push(self.scheduler.remove(id).outcome(self.core, Finish::TimedOut, deadline));
            self.scheduler.counts.aborts += 1;
        }
        while let Some(&id) = self.arriving.front() {
            if self.scheduler.requests[&id].visible > now {
                break;
            }
            self.arriving.pop_front();
            self.scheduler.requests.get_mut(&id).expect("just looked at").queued = Some(now);
            self.scheduler.enqueue(id);
        }
    }

    /// Starts the step of a decision made at `now`.
    pub fn launch(&mut self, now: Time, start: Time, duration: Duration, decision: Decision, observer: &mut impl Observer) {
        for part in &decision.batch {
            let live = self.scheduler.requests.get_mut(&part.id).expect("scheduled requests are alive");
            live.scheduled.get_or_insert(now);
        }
        let end = start + duration;
        let batch: Vec<(u64, u32, u32)> = decision.batch.iter().map(|part| (part.id, part.computed, part.tokens)).collect();
        let free_blocks = self.scheduler.pool.free();
        observer.step(&StepView {
            replica: self.core.replica,
            rank: self.core.rank,
            step: self.totals.steps,
            scheduled: now,
            start,
            end,
            batch: &batch,
            preempted: &decision.preempted,
            running: self.scheduler.running.len() as u32,
            waiting: self.scheduler.waiting.len() as u32,
            free_blocks,
        });
        self.totals.steps += 1;
        self.totals.busy_ps += duration.0;
        self.totals.kv_blocks_peak = self.totals.kv_blocks_peak.max(self.scheduler.pool.size() - free_blocks);
        self.totals.last_end = end;
        self.inflight.push_back(Step { end, batch: decision.batch });
    }

    /// Gives the step's tokens; whoever has all of its tokens ends.
    fn apply(&mut self, step: &Step, ended: &mut Vec<Outcome>, observer: &mut impl Observer) {
        for part in step.batch.iter().filter(|part| part.samples) {
            let running = self.scheduler.running.contains(&part.id);
            let Some(live) = self.scheduler.requests.get_mut(&part.id) else {
                self.scheduler.counts.discarded += 1;
                continue;
            };
            live.given += 1;
            live.pending -= 1;
            live.first_token.get_or_insert(step.end + self.egress);
            if let Some(last) = live.last_token.replace(step.end) {
                let gaps = Gaps { from: last, first: step.end - last, slope_ps: 0, steps: 1, count: 1 };
                observer.gaps(self.core, live.request.class, gaps);
            }
            let (finished, certain) = (live.given == live.yields, live.computed.saturating_sub(live.pending));
            self.scheduler.counts.given_to_preempted += u64::from(!running);
            if running {
                self.scheduler.set_keys(part.id, certain);
            }
            if finished {
                self.scheduler.counts.ended_waiting += u64::from(!running);
                let live = self.scheduler.remove(part.id);
                let (seen, deadline) = (step.end + self.egress, live.request.deadline);
                let late = seen > deadline;
                self.scheduler.counts.finished_late += u64::from(late);
                let (finish, end) = if late { (Finish::TimedOut, deadline) } else { (live.ending, seen) };
                ended.push(live.outcome(self.core, finish, end));
            }
        }
    }
}

/// The aggregates of a batch that its cost depends on.
fn shape(step: u64, batch: &[Part]) -> BatchShape {
    let mut shape = BatchShape { step, ..BatchShape::default() };
    for part in batch {
        if part.decode {
            shape.add_decode(u64::from(part.computed) + 1);
        } else {
            shape.add_chunk(u64::from(part.computed), u64::from(part.tokens), part.samples);
        }
    }
    shape
}
