//! What changes the replicas while they serve: failures, an autoscaler, and how long a new replica takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokentide_autoscale::Autoscaler;
use tokentide_models::units::{Duration, Time};

use super::{Distribution, Slo};

/// Replicas that come and go. Without it they are there from the start to the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamics {
    /// What a replica goes through before it serves, in order.
    pub startup: Vec<Phase>,
    /// Nodes that wait for replicas from the start on, and are never given back, whichever replica used them.
    pub warm_nodes: u32,
    /// How long any other node without a replica is kept.
    pub node_keep: Duration,
    /// How long a replica that is to go may take for the requests that it has (`terminationGracePeriodSeconds`).
    pub termination_grace: Duration,
    /// Zones that nodes are spread over.
    pub zones: u32,
    /// What becomes of requests whose replica goes away under them.
    pub interrupted: Interrupted,
    /// How long the gateway holds a request while no replica is ready.
    pub hold: Duration,
    /// What fails, and when.
    pub failures: Vec<Failure>,
    /// How many replicas there should be from a time on, in order; not with an autoscaler.
    pub schedule: Vec<Scheduled>,
    /// Who decides how many replicas there are; `None`: always as many as at the start, or as the schedule says.
    pub autoscaler: Option<Autoscaler>,
    /// Targets by class, for metrics that an autoscaler reads.
    pub slos: Vec<Slo>,
}

impl Dynamics {
    /// Whether anything changes the replicas.
    pub fn changes(&self) -> bool {
        self.autoscaler.is_some() || !self.failures.is_empty() || !self.schedule.is_empty()
    }
}

/// A phase of a replica's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it is gone through.
    pub when: When,
    /// How long it takes [s].
    pub time: Distribution,
}

/// When a phase of the start is gone through. (The order is that of a start.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// No node is free, so that one is made.
    Node,
    /// A replica is put on a node: the first time, not when its container starts again.
    Pod,
    /// A container starts.
    Container,
}

/// What becomes of a request whose replica goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interrupted {
    /// It is lost.
    Lost,
    /// Its client sends it again, and waits for the whole answer.
    Retried,
}

/// Something that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Time,
    /// What.
    pub what: Failing,
}

/// A number of replicas by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// From when on.
    pub at: Time,
    /// How many.
    pub replicas: u32,
}

/// What fails, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The engine of the ready replica of this index, counted in order of creation; its container starts again in its place.
    Container(u32),
    /// The node of the ready replica of this index; another replica is started elsewhere.
    Node(u32),
    /// The replica of this index goes for good: there is one less from then on.
    Replica(u32),
    /// All nodes of this zone; their replicas are started elsewhere, or when the zone is there again.
    Zone {
        /// From 0.
        zone: u32,
        /// When it is there again, if ever, and if no other outage of it goes on.
        back: Option<Time>,
    },
}
