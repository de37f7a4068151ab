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
//!
//! # Replicas that change
//!
//! With [`Dynamics`](crate::scenario::Dynamics) replicas fail, start, drain and are scaled. What is above then means those that are
//! ready, in order of their start, and `n` their number at the time; each start is a new engine with an empty cache, and the
//! replica of an outcome is the number of its engine. What happens to replicas at `t` comes before arrivals and engine events at
//! `t` (`control.rs` has the order among itself).
//!
//! * A replica that goes away under its requests loses what they had computed. They are lost, or sent again after 0.5 s: to be
//!   routed like a new arrival (round-robin counts by id), with their own arrival time, so that TTFT and end to end include it all.
//! * A replica that is to go gets no further requests, and goes when it has none, or at the end of its grace with those it has.
//! * With no replica ready a request is held, in order, until one is or its time is up.

use tokentide_models::cost::CostModel;
use tokentide_models::units::Duration;

use crate::engine::{EngineTotals, Layout, Observer, Settings};
use crate::scenario::{ClusterConfig, EngineConfig};
use crate::workload::RequestSource;

mod control;
mod drive;
mod fleet;
mod history;
mod keys;
mod meter;
mod metered;
mod nodes;
mod pods;
mod relay;
mod router;

pub use history::{Count, History, Scaling};

use drive::Drive;
use meter::Meter;
use relay::Relay;

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

impl Cluster<'_> {
    /// Runs all requests of `source` to their end. Totals per engine core: the ranks of replica 0 in order, those of replica 1,
    /// and so on; and what became of the replicas, if they change.
    pub fn run<S: RequestSource, O: Observer>(&self, source: &mut S, observer: &mut O) -> (Vec<EngineTotals>, Option<History>) {
        assert!(self.engine.max_num_seqs <= self.engine.max_num_batched_tokens);
        assert!(self.config.replicas > 0 || self.config.dynamics.is_some());
        let feedback = source.feedback();
        let dynamics = self.config.dynamics.as_deref().filter(|dynamics| dynamics.autoscaler.is_some());
        let meter = dynamics.map(|dynamics| Meter::new(&dynamics.slos));
        let mut drive = Drive::new(self, Relay::new(observer, feedback, meter));
        match feedback {
            true => drive.closed(source),
            false => drive.open(source),
        }
        drive.finish()
    }

    fn settings(&self) -> Settings<'_> {
        let Cluster { engine, layout, kv_blocks, cost, egress, .. } = *self;
        Settings { engine, layout, kv_blocks, cost, egress }
    }
}
