//! `[cluster]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::DistributionFile;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;
use crate::scenario::{Interrupted, Router, When};

/// Replicas behind a router, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// How many replicas; 1 by default. With an autoscaler, at the start.
    #[schemars(range(min = 1))]
    pub replicas: Option<At<u32>>,
    /// Who gets a request; "round-robin" by default.
    pub router: Option<At<Router>>,
    /// Zones that replicas are spread over; 1 by default.
    #[schemars(range(min = 1))]
    pub zones: Option<At<u32>>,
    /// Nodes, each as large as a replica, that wait for replicas and are always paid for; 0 by default.
    pub warm_nodes: Option<At<u32>>,
    /// How long any other node is kept, and paid for, after its replica is gone; "10m" by default.
    pub node_keep: Option<At<TimeSpan>>,
    /// How long a replica that is scaled down may take for the requests that it has; "30s" by default, as in Kubernetes
    /// (`terminationGracePeriodSeconds`).
    pub termination_grace: Option<At<TimeSpan>>,
    /// How long the gateway holds a request while no replica is ready, before it is refused; "30s" by default.
    pub hold: Option<At<TimeSpan>>,
    /// What becomes of requests whose replica goes away under them; "lost" by default.
    pub interrupted: Option<At<Interrupted>>,
    /// What a new replica goes through before it serves, in order.
    pub startup: Option<At<Vec<At<PhaseFile>>>>,
    /// What fails, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<At<FailureFile>>,
    /// How many replicas there should be at which time, as a scheduled scaler sets them; not with an [autoscaler].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<At<ScheduleFile>>,
    /// Whom this cluster serves, as one pool of several; everybody by default. The other requests are left out of the run.
    pub serves: Option<At<ServesFile>>,
}

/// A number of replicas by the clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFile {
    /// From when on, from the start of the run.
    #[schemars(required)]
    pub at: Option<At<TimeSpan>>,
    /// How many replicas there should be.
    #[schemars(required)]
    pub replicas: Option<At<u32>>,
}

/// A phase of a replica's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhaseFile {
    /// Its name, such as "weights".
    #[schemars(required)]
    pub phase: Option<At<String>>,
    /// When it is gone through.
    #[schemars(required)]
    pub when: Option<At<When>>,
    /// How long it takes: a time such as "60s", or a distribution such as { median = "60s", p95 = "90s" }.
    #[schemars(required)]
    pub time: Option<At<DistributionFile<TimeSpan>>>,
}

/// Something that fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureFile {
    /// When, from the start of the run.
    #[schemars(required)]
    pub at: Option<At<TimeSpan>>,
    /// What fails.
    #[schemars(required)]
    pub what: Option<At<FailingFile>>,
    /// Which one, from 0: of the ready replicas in order of their creation, or of the zones; 0 by default.
    pub index: Option<At<u32>>,
    /// When a zone is there again, from the start of the run; never by default.
    pub back: Option<At<TimeSpan>>,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailingFile {
    /// The engine of a replica crashes; its container starts again in its place.
    Container,
    /// The node of a replica is lost; the replica starts elsewhere.
    Node,
    /// A replica is lost and not replaced.
    Replica,
    /// A zone with all its nodes is lost; their replicas start in other zones.
    Zone,
}

/// Whom a pool serves: requests that meet all that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServesFile {
    /// Prompts of at least this many tokens.
    pub input_min: Option<At<u32>>,
    /// Prompts of at most this many tokens.
    pub input_max: Option<At<u32>>,
    /// Requests of these classes.
    pub classes: Option<At<Vec<String>>>,
}
