//! What became of the replicas.

use tokentide_models::units::Time;

/// The replicas over a run in which they came and went.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// How many there were, from each time on.
    pub counts: Vec<Count>,
    /// Each change of the wanted number.
    pub scalings: Vec<Scaling>,
    /// When each engine served, in the order of the totals: from its first moment on, until it was gone or the run ended.
    pub serving: Vec<(Time, Time)>,
    /// Time of nodes, from their making until they were given back or the run ended [ps].
    pub node_ps: u128,
    /// Requests whose replica went away under them, by failure.
    pub interrupted_by_failure: u64,
    /// The same, since a replica that was to go was not done in time.
    pub interrupted_by_scaling: u64,
    /// Of both, those that their clients sent again.
    pub retried: u64,
    /// Requests that found no replica ready, and were held or refused.
    pub unrouted: u64,
    /// From the creation of a replica until it was ready [s], of those that became it.
    pub starts_s: Vec<f64>,
    /// When the run ended.
    pub end: Time,
}

/// Numbers of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// From when on.
    pub at: Time,
    /// Wanted.
    pub wanted: u32,
    /// Ready to serve.
    pub ready: u32,
    /// Created and not ready.
    pub starting: u32,
    /// Not to get requests any more, and not gone.
    pub draining: u32,
}

/// A change of the wanted number of replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// When.
    pub at: Time,
    /// From how many.
    pub from: u32,
    /// To how many.
    pub to: u32,
    /// Why.
    pub why: String,
}
