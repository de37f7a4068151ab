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
//! ready, in order of the times at which they became it, and `n` their number. Each start is a new engine with an empty cache;
//! those there from the start have engines 0, 1 and so on, and the replica of an outcome is the number of its engine.
//!
//! **Order.** What happens to replicas at `t` comes before arrivals and engine events at `t`. It is the first of: a failure, an
//! entry of the schedule (both in the order given), a zone that is there again (the lowest first), a start that is over, a grace
//! that is over (both in order of creation), a request that is sent again (in order of interruption), a held request whose time is
//! up (by id); and so on until nothing more is to happen at `t`, what the one brought about included. Then replicas that drain and
//! have nothing left go, and the autoscaler decides. When no request is left and none will come, nothing happens to replicas any
//! more, and steps in flight end.
//!
//! **Number.** There should be as many replicas as at the start, or as was decided last; one less after each that failed for good.
//! When that number changes, or something has failed, replicas are created until those that are not to go are as many, or are to
//! go: first those that are not ready, the one created last before the others, which are gone at once; then those that became ready
//! last, and of several the one created last, which drain.
//!
//! **Drain.** A replica that drains gets no further requests. It is gone at its first engine event, or at the time when it was to
//! go, after which it has no request and no step in flight; at the end of its grace it is gone with those that it has.
//!
//! **Failures** hit the ready replica of an index in order of creation, if there is one: its container, which starts again on the
//! same node; its node, which is lost; or itself for good, which leaves its node free. A zone takes all of its nodes with it, and
//! the replicas on them, whether they are ready, start or drain, in order of creation. It is there again when all of its outages
//! are over.
//!
//! **Interrupted requests** are those that a replica has in the engine's eyes when it goes away: what they had computed is lost.
//! All of them count as interrupted. In order of id: one whose client has given up by then ends at its deadline; others are lost,
//! or sent again after 0.5 s (or at their deadline, to end there). That is an arrival like any other (round-robin counts by id),
//! but with the request's own arrival time and deadline, so that TTFT and end to end include it all. The steps that were in flight
//! stay in the replica's totals.
//!
//! **Holding.** A request that finds no replica ready is held until one is or for `hold`, or until its deadline. As soon as one is
//! ready, all held requests are sent in the order in which they came to be held. One that is held again waits `hold` anew.
//!
//! **Nodes.** A replica takes a node of its own when it is created: of those that are free the one that can be used soonest, then
//! the one made first. If none is free, one is made, in the zone with the fewest nodes of those that are there, the lowest on a
//! tie; while no zone is there, replicas wait for one, and are then put on nodes in order of creation. At the start nodes for all
//! replicas are made by that rule, then the warm ones. A node is free when its replica is gone, even if it is still being made; it
//! can be used when that is over. Warm nodes are never given back, whichever replica used them; others are when they have been free
//! for `node_keep`, before anything else at that time.
//!
//! **Starts.** A start goes through its phases from those of the node on, if that is made; else, once the node can be used, from
//! those of the pod on; when a container starts again, through those of the container. Phase `i` takes what the stream
//! `(seed, Purpose::Startup, i, replica + starts * 2^32)` draws, `replica` being its number in order of creation and `starts` how
//! often it has started before (once, if it was there at the start). A node is there after its phases.

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

/// Host time from a request's arrival at a replica until the engine can see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Of every request, whatever else arrives.
    pub request: Duration,
    /// Tokenisation, per token of the prompt: a replica's prompts wait for one another.
    pub prompt_token: Duration,
}

impl Ingress {
    /// The same for every request, whatever its prompt.
    pub fn fixed(request: Duration) -> Ingress {
        Ingress { request, prompt_token: Duration::ZERO }
    }

    /// Of a prompt that waits for no other.
    pub fn alone(self, prompt_tokens: u32) -> Duration {
        self.request + self.prompt_token * u64::from(prompt_tokens)
    }
}

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
    pub ingress: Ingress,
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
