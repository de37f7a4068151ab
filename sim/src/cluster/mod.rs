//! Replicas behind a router: the only place that orders time across replicas.
//!
//! # What a router sees
//!
//! A request that arrives at `t` is routed by the state after all engine events at times `< t` and all deliveries before it.
//! Per replica: `requests` = delivered and not ended (in the engine's eyes: a finish counts when applied, an abort when drained);
//! `tokens` = the sum over those of: waiting (or not yet visible): `p + o`; running: `max(c, p + o at its latest admission)`, with
//! `c` as scheduled so far. A rejected request is never delivered. Of a replica with data-parallel ranks all counts are
//! sums over those.
//!
//! * round-robin: arrival `i` (counted over all arrivals, rejected ones included) goes to replica `i mod n`.
//! * random: `Stream::new(seed, Purpose::Route, 0, request id)`, one `random_range(0..n)` (u32).
//! * power-of-two: the same stream; first `a = random_range(0..n)`, then `b = random_range(0..n - 1)`, `b += 1` if `b >= a`; `b`
//!   wins only with strictly fewer requests. With one replica no draw is made.
//! * least-requests, least-tokens: the minimum, ties to the lowest index. Least-tokens compares (tokens, requests).
//! * prefix-affinity: `h = mix(key)` with key = the first layer's content or the first hash; starting from replica `h mod n` and
//!   going round, the first whose `requests + 1 <= ceil(1.25 * (total requests + 1) / n)`, in exact integers (Mirrokni, Thorup,
//!   Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018).
//! * session-affinity: replica `mix(session) mod n`; without a session, least-requests.
//!
//! The context-limit check comes before routing (no replica is chosen, and the replica of the outcome is 0); the queue limit is
//! checked on the chosen replica.

use std::sync::Arc;

use tokentide_models::cost::CostModel;
use tokentide_models::units::{Duration, Time};

use crate::engine::{EngineTotals, Finish, Layout, Observer, Outcome, Settings};
use crate::scenario::{ClusterConfig, EngineConfig};
use crate::workload::{Prefix, Request, RequestSource};

mod fleet;
mod keys;
mod router;

use fleet::Fleet;
use keys::KeyCache;

/// A cluster: what its replicas and router need, and nothing of where requests come from.
pub struct Cluster<'a> {
    /// Replicas and router.
    pub config: &'a ClusterConfig,
    /// The engine's settings.
    pub engine: &'a EngineConfig,
    /// Engine cores of a replica, and their stages.
    pub layout: Layout,
    /// KV blocks of an engine core.
    pub kv_blocks: u32,
    /// Duration of iterations.
    pub cost: &'a dyn CostModel,
    /// Host time from arrival to visibility.
    pub ingress: Duration,
    /// Host time from a step's end to its tokens' visibility.
    pub egress: Duration,
    /// Seed of the router's stream.
    pub seed: u64,
}

/// Passes outcomes on and, if the source waits for them, keeps a copy for it.
struct Relay<'o, O> {
    observer: &'o mut O,
    outcomes: u64,
    feedback: bool,
    ended: Vec<Outcome>,
}

impl<O: Observer> Observer for Relay<'_, O> {
    fn outcome(&mut self, outcome: Outcome) {
        self.outcomes += 1;
        if self.feedback {
            self.ended.push(outcome.clone());
        }
        self.observer.outcome(outcome);
    }

    fn wants_steps(&self) -> bool {
        self.observer.wants_steps()
    }

    fn step(&mut self, step: &crate::engine::StepView<'_>) {
        self.observer.step(step);
    }

    fn gaps(&mut self, class: u16, gaps: crate::engine::Gaps) {
        self.observer.gaps(class, gaps);
    }

    fn batch(&mut self, shape: &tokentide_models::cost::BatchShape, steps: u64) {
        self.observer.batch(shape, steps);
    }

    fn levels(&mut self, replica: u32, from: Time, to: Time, levels: &crate::engine::Levels) {
        self.observer.levels(replica, from, to, levels);
    }
}

impl Cluster<'_> {
    /// Runs all requests of `source` to their end. Totals per engine core: the ranks of replica 0 in order, those of replica 1,
    /// and so on.
    pub fn run<S: RequestSource, O: Observer>(&self, source: &mut S, observer: &mut O) -> Vec<EngineTotals> {
        assert!(self.config.replicas > 0 && self.engine.max_num_seqs <= self.engine.max_num_batched_tokens);
        let Cluster { engine, layout, kv_blocks, cost, egress, .. } = *self;
        let settings = Settings { engine, layout, kv_blocks, cost, egress };
        let mut fleet = Fleet::new(settings, self.config.replicas);
        let mut relay = Relay { observer, outcomes: 0, feedback: source.feedback(), ended: Vec::new() };
        let arrivals = match relay.feedback {
            true => self.run_closed(source, &mut relay, &mut fleet),
            false => self.run_open(source, &mut relay, &mut fleet),
        };
        assert_eq!(relay.outcomes, arrivals, "every arrival has one outcome");
        fleet.finish()
    }

    /// Arrivals do not depend on the engine: each one only has to find the replicas that its router reads at its time. Returns
    /// their number.
    fn run_open<S: RequestSource, O: Observer>(&self, source: &mut S, relay: &mut Relay<'_, O>, fleet: &mut Fleet<'_>) -> u64 {
        let reads = router::reads(self.config.router);
        let mut keys = KeyCache::default();
        let (mut count, mut now) = (0, Time::ZERO);
        while let Some(request) = source.next() {
            assert!(request.arrival >= now, "arrivals go back in time");
            now = request.arrival;
            if reads {
                (0..fleet.len()).for_each(|i| fleet.advance(i, now, relay));
            }
            self.arrive(request, count, relay, fleet, &mut keys);
            count += 1;
        }
        (0..fleet.len()).for_each(|i| fleet.advance(i, Time::NEVER, relay));
        count
    }

    /// Every end can bring an arrival, so events of all replicas are run in order of time, the lowest replica first on a tie.
    /// (Nobody ends within a leap, and an arrival cuts it.) Returns the number of arrivals.
    fn run_closed<S: RequestSource, O: Observer>(&self, source: &mut S, relay: &mut Relay<'_, O>, fleet: &mut Fleet<'_>) -> u64 {
        let mut keys = KeyCache::default();
        let mut count = 0;
        let mut latest = (Time::ZERO, 0);
        loop {
            let arrival = source.peek().unwrap_or(Time::NEVER);
            let next = fleet.next_event();
            let known = if arrival <= next.0 {
                if arrival == Time::NEVER {
                    return count;
                }
                let request = source.next().expect("peeked");
                if arrival == latest.0 {
                    // It comes from the event just run, after those of lower replicas at the same time, leapt over or not.
                    (0..latest.1).for_each(|i| fleet.cut_leap(i, Time(arrival.0 + 1), relay));
                    fleet.cut_lower_leaps(latest.1, Time(arrival.0 + 1), relay);
                }
                self.arrive(request, count, relay, fleet, &mut keys);
                count += 1;
                arrival
            } else {
                fleet.event(next.1, relay);
                latest = next;
                next.0
            };
            for outcome in std::mem::take(&mut relay.ended) {
                source.ended(&outcome, known);
            }
        }
    }

    fn arrive<O: Observer>(
        &self,
        request: Request,
        count: u64,
        relay: &mut Relay<'_, O>,
        fleet: &mut Fleet<'_>,
        keys: &mut KeyCache,
    ) {
        let now = request.arrival;
        if request.input_tokens >= self.engine.max_model_len {
            relay.outcome(rejected(request, 0, Finish::RejectedContext));
            return;
        }
        let chosen = router::route(self.config.router, self.seed, &request, count, fleet);
        fleet.advance(chosen, now, relay);
        if self.engine.max_num_queued_reqs.is_some_and(|most| fleet.waiting(chosen) >= most) {
            relay.outcome(rejected(request, chosen as u32, Finish::RejectedQueue));
            return;
        }
        let shared = self.engine.enable_prefix_caching && !matches!(request.prefix, Prefix::None);
        let keys: Option<Arc<[u64]>> = if shared { Some(keys.of(&request, self.engine.block_size)) } else { None };
        fleet.deliver(chosen, request, now + self.ingress, keys, relay);
    }
}

fn rejected(request: Request, replica: u32, finish: Finish) -> Outcome {
    Outcome {
        ended: request.arrival,
        request,
        replica,
        finish,
        scheduled: None,
        first_token: None,
        output_tokens: 0,
        cached_tokens: 0,
        preemptions: 0,
    }
}
