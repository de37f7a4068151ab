//! The two engines behind one trait, so that every test is written once and run on both.

use tokentide_sim::cluster::{Cluster, History};
use tokentide_sim::engine::{EngineTotals, Observer};
use tokentide_sim::workload::RequestSource;

use crate::reference;

/// What an engine says at the end.
pub type Ran = (Vec<EngineTotals>, Option<History>);

/// Something that runs a cluster.
pub trait Engine: Sync {
    /// Runs all requests of `source` to their end. Totals per engine core, and what became of replicas that can change.
    fn run_all<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Ran;

    /// The same, the totals only.
    fn run<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Vec<EngineTotals> {
        self.run_all(cluster, source, observer).0
    }
}

/// The obvious engine of this crate.
pub struct Reference;

/// The engine of `tokentide-sim`.
pub struct Fast;

impl Engine for Reference {
    fn run_all<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Ran {
        reference::run(cluster, source, observer)
    }
}

impl Engine for Fast {
    fn run_all<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Ran {
        cluster.run(source, observer)
    }
}
