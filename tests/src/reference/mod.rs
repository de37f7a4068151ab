//! The reference engine: the semantics of [`tokentide_sim::engine`] and [`tokentide_sim::cluster`], written the obvious way.
//!
//! Every running request is walked in every step, every block is a numbered thing in a list, and time moves from one event to
//! the next. Nothing is aggregated and nothing is skipped, so there is little here that could be wrong in an interesting way:
//! where the fast engine differs from this one, the fast engine is suspected first. Written from the semantics' text alone.
//!
//! [`pool`] -> [`live`] -> [`scheduler`] -> [`replica`] -> [`group`] -> [`cluster`], beside which [`changes`] has what happens to
//! replicas, [`pods`] and [`nodes`]. The invariants of each are asserted after every event.

pub mod batchwise;
pub mod changes;
pub mod cluster;
pub mod group;
pub mod live;
pub mod nodes;
pub mod pods;
pub mod pool;
pub mod replica;
pub mod routing;
pub mod scheduler;

pub use cluster::{run, run_counted};

/// How often the rare paths were taken: shows that a swarm of configurations is not blind to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests preempted.
    pub preemptions: u64,
    /// Priority victims whose tokens of the same step were taken back.
    pub unscheduled: u64,
    /// Priority victims that stood in front of the request in need without being scheduled in the step.
    pub shifted: u64,
    /// Blocks found in the prefix cache at admissions.
    pub hits: u64,
    /// Blocks that lost their key because they were taken.
    pub evictions: u64,
    /// Chunks that did not complete their request's known tokens.
    pub partial: u64,
    /// Steps in which the head of the waiting queue was blocked by the admission gate or for want of budget without chunking.
    pub blocked: u64,
    /// Tokens discarded because the answer had stopped one step before.
    pub discarded: u64,
    /// Tokens given to a request that had been preempted since.
    pub given_to_preempted: u64,
    /// Requests that ended while they were waiting after a preemption.
    pub ended_waiting: u64,
    /// Decisions that preempted and scheduled nothing.
    pub empty_preempting: u64,
    /// Requests aborted by the engine at their deadline.
    pub aborts: u64,
    /// Requests whose engine side finished although the client had given up.
    pub finished_late: u64,
    /// Steps that a rank in lockstep spent without work.
    pub dummies: u64,
    /// Running requests that were passed over since their token was in flight in another stage.
    pub in_other_batches: u64,
    /// Preempted requests at the head of the queue whose token was in flight in another stage.
    pub awaited: u64,
    /// What happened to replicas.
    pub changes: Changes,
}

/// How often rare things happened to replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Failures that hit a replica: of its container, of its node, for good.
    pub failed: [u64; 3],
    /// Replicas lost with their zone.
    pub with_zone: u64,
    /// Replicas put on a node when a zone was there again.
    pub placed_late: u64,
    /// Replicas that went before they were ever ready.
    pub never_ready: u64,
    /// Replicas that were to go and were done: at once, and after a while.
    pub drained: [u64; 2],
    /// Replicas whose grace was over before they were done.
    pub cut_off: u64,
    /// Interrupted requests whose client had given up before.
    pub interrupted_late: u64,
    /// Requests sent again that found a replica.
    pub retried_served: u64,
    /// Requests whose client gave up before it could send again.
    pub retried_late: u64,
    /// Requests sent again that found none.
    pub held_again: u64,
    /// Held requests that got a replica.
    pub held_served: u64,
    /// Held requests that were refused: at once, and after a while.
    pub refused: [u64; 2],
    /// Held requests whose client gave up.
    pub left_held: u64,
    /// Times at which no replica was wanted any more.
    pub to_none: u64,
    /// Replicas put on a node that had carried another.
    pub reused: u64,
    /// Replicas put on a node that was still being made for another.
    pub inherited: u64,
    /// Nodes given back.
    pub given_back: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        self.preemptions += other.preemptions;
        self.unscheduled += other.unscheduled;
        self.shifted += other.shifted;
        self.hits += other.hits;
        self.evictions += other.evictions;
        self.partial += other.partial;
        self.blocked += other.blocked;
        self.discarded += other.discarded;
        self.given_to_preempted += other.given_to_preempted;
        self.ended_waiting += other.ended_waiting;
        self.empty_preempting += other.empty_preempting;
        self.aborts += other.aborts;
        self.finished_late += other.finished_late;
        self.dummies += other.dummies;
        self.in_other_batches += other.in_other_batches;
        self.awaited += other.awaited;
    }
}
