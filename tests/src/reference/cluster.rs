//! The global order of events: always the earliest of what happens to replicas, the next arrival and the replicas' next events; at
//! equal times in this order, then the replica of the lowest index, and on it the lowest rank.

use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Cluster, History};
use tokentide_sim::engine::{EngineTotals, Finish, Observer, Outcome};
use tokentide_sim::scenario::{Dynamics, Interrupted};
use tokentide_sim::workload::{Request, RequestSource};

use super::Counts;
use super::changes::Changing;
use super::group::Group;
use super::routing::route;

/// Replicas that stay as they are.
static STILL: Dynamics = Dynamics {
    startup: Vec::new(),
    warm_nodes: 0,
    node_keep: Duration::ZERO,
    termination_grace: Duration::ZERO,
    zones: 1,
    interrupted: Interrupted::Lost,
    hold: Duration::ZERO,
    failures: Vec::new(),
    schedule: Vec::new(),
    autoscaler: None,
    slos: Vec::new(),
};

/// Runs all requests of `source` to their end. Totals per engine core, and what became of the replicas if they change.
pub fn run(
    cluster: &Cluster<'_>,
    source: &mut impl RequestSource,
    observer: &mut impl Observer,
) -> (Vec<EngineTotals>, Option<History>) {
    let (totals, history, _) = run_counted(cluster, source, observer);
    (totals, history)
}

/// The same, and how often the rare paths were taken, over all replicas.
///
/// # Panics
/// With an autoscaler: the reference has none.
pub fn run_counted(
    cluster: &Cluster<'_>,
    source: &mut impl RequestSource,
    observer: &mut impl Observer,
) -> (Vec<EngineTotals>, Option<History>, Counts) {
    let dynamics = cluster.config.dynamics.as_deref();
    let config = dynamics.unwrap_or(&STILL);
    assert!(config.autoscaler.is_none(), "the reference has no autoscaler");
    let engines = (0..cluster.config.replicas).map(|index| Group::new(index, cluster)).collect();
    let changing = Changing::new(config, cluster.seed, cluster.config.replicas);
    let mut run = Run { cluster, source, observer, engines, changing, arrivals: 0, ended: 0, last_end: Time::ZERO };
    run.until_over();
    run.finish(dynamics.is_some())
}

/// A run so far.
pub struct Run<'c, 'a, S, O> {
    /// What runs.
    pub cluster: &'c Cluster<'a>,
    source: &'c mut S,
    observer: &'c mut O,
    /// All engines that ever were.
    pub engines: Vec<Group<'a>>,
    /// What happens to replicas.
    pub changing: Changing<'c>,
    arrivals: u64,
    ended: u64,
    last_end: Time,
}

impl<S: RequestSource, O: Observer> Run<'_, '_, S, O> {
    /// Runs until nobody waits for anything.
    fn until_over(&mut self) {
        // The time of what happened last, and of what last happened to replicas.
        let (mut clock, mut changed) = (Time::ZERO, Time::NEVER);
        loop {
            let arrival = self.source.peek();
            let event = self.next_event();
            let over = arrival.is_none() && self.arrivals == self.ended;
            // Nothing happens to replicas after the last request, but all that was to happen together with its end does.
            let change = self.changing.next().filter(|(at, _)| !over || *at == changed);
            let Some(now) = [change.map(|(at, _)| at), arrival, event.map(|(at, ..)| at)].into_iter().flatten().min() else {
                break;
            };
            assert!(now >= clock, "it lies in the past");
            clock = now;
            self.changing.pods.nodes.pass(now);
            if let Some((_, thing)) = change.filter(|(at, _)| *at == now) {
                changed = now;
                self.happen(thing, now);
                if self.changing.next().is_none_or(|(at, _)| at > now) {
                    self.let_go(now);
                }
            } else if arrival == Some(now) {
                let request = self.source.next().expect("peeked");
                assert_eq!((request.arrival, request.id), (now, self.arrivals), "the source keeps its word");
                self.arrivals += 1;
                self.arrive(request, now);
            } else if let Some((_, index, rank)) = event {
                for outcome in self.engines[index].event(now, rank, self.observer) {
                    self.tell(outcome, now);
                }
                self.let_go(now);
            }
        }
    }

    /// The earliest event of an engine that is not gone: time, engine and rank.
    fn next_event(&self) -> Option<(Time, usize, usize)> {
        let there = self.changing.pods.list.iter().filter(|pod| pod.is_there()).filter_map(|pod| pod.engine);
        there.filter_map(|index| self.engines[index].next_event().map(|(time, rank)| (time, index, rank))).min()
    }

    /// Tells what became of a request, which is known at `known`.
    pub fn tell(&mut self, outcome: Outcome, known: Time) {
        self.ended += 1;
        self.last_end = self.last_end.max(outcome.ended);
        if self.source.feedback() {
            self.source.ended(&outcome, known);
        }
        self.observer.outcome(outcome);
    }

    fn arrive(&mut self, request: Request, now: Time) {
        if request.input_tokens >= self.cluster.engine.max_model_len {
            self.tell(unserved(request, 0, Finish::RejectedContext, now), now);
        } else {
            self.send(request, now);
        }
    }

    /// Rejects the request, hands it to a replica, or holds it. Whether there was a replica.
    pub fn send(&mut self, request: Request, now: Time) -> bool {
        let mut ready: Vec<usize> =
            self.changing.pods.ready().iter().filter_map(|&pod| self.changing.pods.list[pod].engine).collect();
        ready.sort_unstable();
        if ready.is_empty() {
            self.changing.hold(request, now);
            return false;
        }
        let replicas: Vec<&Group<'_>> = ready.iter().map(|&index| &self.engines[index]).collect();
        let index = ready[route(self.cluster, &replicas, &request)];
        if self.engines[index].accepts() {
            self.engines[index].deliver(request, now);
        } else {
            self.tell(unserved(request, index as u32, Finish::RejectedQueue, now), now);
        }
        true
    }

    /// Totals, and what became of the replicas.
    fn finish(mut self, changed: bool) -> (Vec<EngineTotals>, Option<History>, Counts) {
        assert_eq!(self.arrivals, self.ended, "every request has an end");
        let mut counts = Counts { dummies: self.engines.iter().map(|replica| replica.dummies).sum(), ..Counts::default() };
        let cores = || self.engines.iter().flat_map(|replica| &replica.ranks);
        for pod in self.changing.pods.list.iter().filter(|pod| pod.is_there()) {
            for core in pod.engine.iter().flat_map(|&index| &self.engines[index].ranks) {
                let scheduler = &core.scheduler;
                assert!(scheduler.requests.is_empty() && scheduler.pool.free() == self.cluster.kv_blocks, "something is left over");
            }
        }
        for core in cores() {
            counts.add(&core.scheduler.counts);
            counts.evictions += core.scheduler.pool.evictions;
        }
        let totals: Vec<EngineTotals> = cores().map(|core| core.totals).collect();
        let end = totals.iter().map(|core| core.last_end).max().unwrap_or(Time::ZERO).max(self.last_end);
        let history = self.changing.finish(end);
        counts.changes = self.changing.counts;
        (totals, changed.then_some(history), counts)
    }
}

/// The outcome of a request that got no answer, or lost it.
pub fn unserved(request: Request, replica: u32, finish: Finish, ended: Time) -> Outcome {
    Outcome {
        replica,
        rank: 0,
        finish,
        queued: None,
        scheduled: None,
        first_token: None,
        ended,
        output_tokens: 0,
        cached_tokens: 0,
        preemptions: 0,
        request,
    }
}
