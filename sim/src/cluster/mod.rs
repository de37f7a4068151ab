//! Replicas behind a router: the only place that orders time across replicas.
//!
//! # What a router sees
//!
//! A request that arrives at `t` is routed by the state after all engine events at times `< t` and all deliveries before it.
//! Per replica: `requests` = delivered and not ended (in the engine's eyes: a finish counts when applied, an abort when drained);
//! `tokens` = the sum over those of: waiting (or not yet visible): `p + o`; running: `max(c, p + o at its latest admission)`, with `c` as scheduled
//! so far. A rejected request is never delivered.
//!
//! * round-robin: arrival `i` (counted over all arrivals, rejected ones included) goes to replica `i mod n`.
//! * random: `Stream::new(seed, Purpose::Route, 0, request id)`, one `random_range(0..n)` (u32).
//! * power-of-two: the same stream; first `a = random_range(0..n)`, then `b = random_range(0..n - 1)`, `b += 1` if `b >= a`; `b` wins only with
//!   strictly fewer requests. With one replica no draw is made.
//! * least-requests, least-tokens: the minimum, ties to the lowest index. Least-tokens compares (tokens, requests).
//! * prefix-affinity: `h = mix(key)` with key = the first layer's content or the first hash; starting from replica `h mod n` and going
//!   round, the first whose `requests + 1 <= ceil(1.25 * (total requests + 1) / n)`, in exact integers (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018).
//! * session-affinity: replica `mix(session) mod n`; without a session, least-requests.
//!
//! The context-limit check comes before routing (no replica is chosen, and the replica of the outcome is 0); the queue limit is checked on the chosen replica.

use tokentide_models::cost::CostModel;
use tokentide_models::units::{Duration, Time};

use crate::engine::{EngineTotals, Observer};
use crate::scenario::{ClusterConfig, EngineConfig};
use crate::workload::RequestSource;

/// A cluster: what its replicas and router need, and nothing of where requests come from.
pub struct Cluster<'a> {
    /// Replicas and router.
    pub config: &'a ClusterConfig,
    /// The engine's settings.
    pub engine: &'a EngineConfig,
    /// KV blocks of a replica.
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
    /// Runs all requests of `source` to their end. Totals per replica.
    pub fn run<S: RequestSource, O: Observer>(&self, _source: &mut S, _observer: &mut O) -> Vec<EngineTotals> {
        let _ = Time::ZERO;
        todo!()
    }
}
