//! A run: arrivals, engine events and what happens to the replicas, in order of time.

use std::sync::Arc;

use tokentide_models::units::Time;

use super::Cluster;
use super::control::{Control, Event};
use super::fleet::Fleet;
use super::history::{History, Scaling};
use super::keys::KeyCache;
use super::meter::HostTime;
use super::metered::Metered;
use super::pods::{Scaled, State};
use super::relay::Relay;
use super::router;
use crate::engine::{EngineTotals, Finish, Observer, Outcome};
use crate::scenario::{Failing, Interrupted};
use crate::workload::{Prefix, Request, RequestSource};

/// A cluster while it runs.
pub struct Drive<'a, 'o, O> {
    cluster: &'a Cluster<'a>,
    relay: Relay<'o, O>,
    fleet: Fleet<'a>,
    keys: KeyCache,
    /// Requests that have arrived.
    arrivals: u64,
    control: Option<Control<'a>>,
}

impl<'a, 'o, O: Observer> Drive<'a, 'o, O> {
    /// All replicas idle, at time zero.
    pub fn new(cluster: &'a Cluster<'a>, relay: Relay<'o, O>) -> Self {
        let n = cluster.config.replicas;
        let control = cluster.config.dynamics.as_ref().map(|dynamics| Control::new(dynamics, cluster.seed, n));
        let fleet = Fleet::new(cluster.settings(), n);
        Drive { cluster, relay, fleet, keys: KeyCache::default(), arrivals: 0, control }
    }

    /// Arrivals do not depend on the engines: each one only has to find the replicas that its router reads at its time.
    pub fn open<S: RequestSource>(&mut self, source: &mut S) {
        let reads = router::reads(self.cluster.config.router);
        let mut now = Time::ZERO;
        while let Some(arrival) = source.peek() {
            while self.next_change() <= arrival {
                self.change(self.next_change());
            }
            let request = source.next().expect("peeked");
            assert!(request.arrival >= now, "arrivals go back in time");
            now = request.arrival;
            if reads {
                self.fleet.advance_all(now, &mut self.relay);
            }
            self.arrive(request);
        }
        loop {
            let change = self.next_change();
            self.fleet.advance_all(change, &mut self.relay);
            if change == Time::NEVER || self.is_idle() {
                return self.fleet.advance_all(Time::NEVER, &mut self.relay);
            }
            self.change(change);
        }
    }

    /// Every end can bring an arrival, so events of all replicas are run in order of time, the lowest replica first on a tie.
    /// (Nobody ends within a leap, and an arrival cuts it.)
    pub fn closed<S: RequestSource>(&mut self, source: &mut S) {
        let mut latest = (Time::ZERO, 0);
        loop {
            let arrival = source.peek().unwrap_or(Time::NEVER);
            let next = self.fleet.next_event();
            let change = self.next_change();
            if arrival == Time::NEVER && (self.is_idle() || next.0.min(change) == Time::NEVER) {
                return self.fleet.advance_all(Time::NEVER, &mut self.relay);
            }
            let known = if change <= arrival.min(next.0) {
                self.change(change);
                change
            } else if arrival <= next.0 {
                let request = source.next().expect("peeked");
                if arrival == latest.0 {
                    // It comes from the event just run, after those of lower replicas at the same time, leapt over or not.
                    self.fleet.cut_lower_leaps(latest.1, Time(arrival.0 + 1), &mut self.relay);
                }
                self.arrive(request);
                arrival
            } else {
                self.fleet.event(next.1, &mut self.relay);
                latest = next;
                next.0
            };
            for outcome in self.relay.take_ended() {
                source.ended(&outcome, known);
            }
        }
    }

    /// Asserts that nothing is left: totals per engine core, and what became of the replicas if they changed.
    pub fn finish(mut self) -> (Vec<EngineTotals>, Option<History>) {
        if self.control.is_some() {
            self.reap();
        }
        assert_eq!(self.relay.outcomes, self.arrivals, "every arrival has one outcome");
        let totals = self.fleet.finish();
        let end = totals.iter().map(|t| t.last_end).max().unwrap_or(Time::ZERO).max(self.relay.last_end);
        let history = self.control.map(|mut control| {
            let history = &mut control.history;
            history.serving.iter_mut().filter(|(_, until)| *until == Time::NEVER).for_each(|(_, until)| *until = end);
            history.node_ps = control.pods.nodes.total_ps(end);
            history.counts.retain(|count| count.at < end || count.at == Time::ZERO);
            history.end = end;
            control.history
        });
        let always = || vec![(Time::ZERO, end); self.cluster.config.replicas as usize];
        let serving = history.as_ref().map_or_else(always, |history| history.serving.clone());
        for (replica, (from, until)) in serving.into_iter().enumerate() {
            self.relay.served(replica as u32, from, until, end);
        }
        (totals, history)
    }

    fn is_idle(&self) -> bool {
        self.fleet.is_idle() && self.control.as_ref().is_none_or(Control::is_idle)
    }

    fn arrive(&mut self, request: Request) {
        self.arrivals += 1;
        if request.input_tokens >= self.cluster.engine.max_model_len {
            let at = request.arrival;
            self.relay.outcome(unserved(request, 0, Finish::RejectedContext, at));
            return;
        }
        let now = request.arrival;
        self.send(request, self.arrivals - 1, now);
    }

    /// Gives a request to a replica at `now`, or holds it while there is none. `turn` is its number for routers that count.
    fn send(&mut self, request: Request, turn: u64, now: Time) {
        let cluster = self.cluster;
        if self.fleet.len() == 0 {
            let control = self.control.as_mut().expect("replicas that do not change are there");
            control.history.unrouted += 1;
            control.hold(request, now);
            return;
        }
        let place = router::route(cluster.config.router, cluster.seed, &request, turn, now, &self.fleet);
        let engine = self.fleet.at(place);
        self.fleet.advance(engine, now, &mut self.relay);
        if cluster.engine.max_num_queued_reqs.is_some_and(|most| self.fleet.waiting(engine) >= most) {
            self.relay.outcome(unserved(request, engine as u32, Finish::RejectedQueue, now));
            return;
        }
        let shared = cluster.engine.enable_prefix_caching && !matches!(request.prefix, Prefix::None);
        let keys: Option<Arc<[u64]>> = shared.then(|| self.keys.of(&request, cluster.engine.block_size));
        self.fleet.deliver(engine, request, now, cluster.ingress, keys, &mut self.relay);
    }

    fn next_change(&self) -> Time {
        self.control.as_ref().map_or(Time::NEVER, Control::next)
    }

    /// All that happens to the replicas at `now`.
    fn change(&mut self, now: Time) {
        self.fleet.advance_all(now, &mut self.relay);
        self.reap();
        while let Some(event) = self.control_mut().pop(now) {
            self.happen(event, now);
        }
        self.reap();
        self.autoscale(now);
        self.control_mut().count(now);
    }

    /// The autoscaler looks at the replicas, and may want another number of them.
    fn autoscale(&mut self, now: Time) {
        let Some(mut scaler) = self.control_mut().scaler.take() else { return };
        scaler.discover(now, &self.control_mut().pods.seen());
        if scaler.next() <= now {
            let wanted = self.control_mut().pods.wanted;
            let host = HostTime { ingress: self.cluster.ingress, step: self.cluster.egress };
            let Drive { control, fleet, relay, arrivals, .. } = self;
            let control = control.as_ref().expect("it has an autoscaler");
            let change = scaler.act(now, wanted, &mut Metered { control, fleet, relay, arrivals: *arrivals, host });
            if let Some(change) = change {
                self.scale(change.to, change.why, now);
                scaler.discover(now, &self.control_mut().pods.seen());
            }
        }
        self.control_mut().scaler = Some(scaler);
    }

    fn happen(&mut self, event: Event, now: Time) {
        match event {
            Event::Failure(index) => {
                let failing = self.control_mut().config.failures[index].what;
                self.fail(failing, now);
            }
            Event::Scheduled(index) => {
                let to = self.control_mut().config.schedule[index].replicas;
                self.scale(to, "schedule".to_owned(), now);
            }
            Event::ZoneBack(zone) => {
                let control = self.control_mut();
                control.pods.nodes.restore(zone, now);
                for (pod, ready) in control.pods.place_all(now) {
                    control.schedule(ready, Event::Ready(pod));
                }
            }
            Event::Ready(pod) => self.ready(pod, now),
            Event::GraceOver(pod) => {
                if let State::Draining { engine, .. } = self.control_mut().pods.get(pod).state {
                    let cut = self.take(engine, now);
                    self.control_mut().history.interrupted_by_scaling += cut;
                    self.control_mut().pods.gone(pod, now);
                }
            }
            Event::Retry(index) => {
                let request = self.control_mut().take_retry(index);
                if request.deadline <= now {
                    let at = request.deadline;
                    return self.relay.outcome(unserved(request, 0, Finish::TimedOut, at));
                }
                let turn = request.id;
                self.send(request, turn, now);
            }
            Event::HoldOver(id) => {
                if let Some(request) = self.control_mut().give_up(id, now) {
                    let finish = if request.deadline <= now { Finish::TimedOut } else { Finish::Unavailable };
                    self.relay.outcome(unserved(request, 0, finish, now));
                }
            }
        }
    }

    /// The pod's start is over: it gets requests, those first that waited for one.
    fn ready(&mut self, pod: usize, now: Time) {
        if !self.control_mut().pods.is_due(pod, now) {
            return;
        }
        let engine = self.fleet.start();
        let control = self.control_mut();
        control.history.serving.push((now, Time::NEVER));
        let took = control.pods.ready(pod, now, engine);
        control.history.starts_s.extend(took);
        for (request, _) in std::mem::take(&mut control.held) {
            let turn = request.id;
            self.send(request, turn, now);
        }
    }

    fn fail(&mut self, failing: Failing, now: Time) {
        let pods = &mut self.control_mut().pods;
        match failing {
            Failing::Container(index) | Failing::Node(index) | Failing::Replica(index) => {
                let Some(pod) = pods.ready_at(index) else { return };
                let engine = pods.engine(pod).expect("it is ready");
                let cut = self.take(engine, now);
                let control = self.control_mut();
                control.history.interrupted_by_failure += cut;
                match failing {
                    Failing::Container(_) => {
                        let ready = control.pods.restart(pod, now);
                        control.schedule(ready, Event::Ready(pod));
                    }
                    Failing::Node(_) => control.pods.gone_with_node(pod, now),
                    _ => {
                        control.pods.gone(pod, now);
                        control.pods.wanted -= 1;
                    }
                }
            }
            Failing::Zone { zone, back } => {
                pods.nodes.lose_zone(zone, now, back.unwrap_or(Time::NEVER));
                for pod in self.control_mut().pods.stranded() {
                    if let Some(engine) = self.control_mut().pods.engine(pod) {
                        let cut = self.take(engine, now);
                        self.control_mut().history.interrupted_by_failure += cut;
                    }
                    self.control_mut().pods.gone_with_node(pod, now);
                }
                if let Some(back) = back {
                    self.control_mut().schedule(back, Event::ZoneBack(zone));
                }
            }
        }
        self.reconcile(now);
    }

    /// Makes the number of pods what is wanted.
    fn reconcile(&mut self, now: Time) {
        let Scaled { created, closed } = self.control_mut().pods.reconcile(now);
        let grace = self.control_mut().config.termination_grace;
        for (pod, ready) in created {
            self.control_mut().schedule(ready, Event::Ready(pod));
        }
        for (pod, engine) in closed {
            self.fleet.close(engine);
            self.control_mut().schedule(now + grace, Event::GraceOver(pod));
        }
    }

    /// The wanted number of replicas changes.
    fn scale(&mut self, to: u32, why: String, now: Time) {
        let control = self.control_mut();
        let from = std::mem::replace(&mut control.pods.wanted, to);
        if from == to {
            return;
        }
        control.history.scalings.push(Scaling { at: now, from, to, why });
        self.reconcile(now);
    }

    /// Takes an engine away with all that it has: how many requests that were.
    fn take(&mut self, engine: usize, now: Time) -> u64 {
        let requests = self.fleet.take(engine, now, &mut self.relay);
        let cut = requests.len() as u64;
        self.control_mut().history.serving[engine].1 = now;
        for request in requests {
            if request.deadline <= now {
                let at = request.deadline;
                self.relay.outcome(unserved(request, engine as u32, Finish::TimedOut, at));
            } else if self.control_mut().config.interrupted == Interrupted::Retried {
                self.control_mut().retry(request, now);
            } else {
                self.relay.outcome(unserved(request, engine as u32, Finish::Lost, now));
            }
        }
        cut
    }

    /// Pods that drain and have nothing left, no step in flight either, are gone since then.
    fn reap(&mut self) {
        let mut done: Vec<(Time, usize, usize)> = Vec::new();
        for (pod, since, engine) in self.control_mut().pods.draining() {
            if self.fleet.is_at_rest(engine) {
                done.push((self.fleet.latest_event(engine).max(since), pod, engine));
            }
        }
        done.sort_unstable();
        for (at, pod, engine) in done {
            self.take(engine, at);
            self.control_mut().pods.gone(pod, at);
            self.control_mut().count(at);
        }
    }

    fn control_mut(&mut self) -> &mut Control<'a> {
        self.control.as_mut().expect("only replicas that change need it")
    }
}

/// The outcome of a request that has nothing to show for itself.
fn unserved(request: Request, replica: u32, finish: Finish, ended: Time) -> Outcome {
    Outcome {
        request,
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
    }
}
