//! The two engines behind one trait, so that every test is written once and run on both.

use tokentide_sim::cluster::Cluster;
use tokentide_sim::engine::{EngineTotals, Observer};
use tokentide_sim::workload::RequestSource;

use crate::reference;

/// Something that runs a cluster.
pub trait Engine: Sync {
    /// Runs all requests of `source` to their end. Totals per replica.
    fn run<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Vec<EngineTotals>;
}

/// The obvious engine of this crate.
pub struct Reference;

/// The engine of `tokentide-sim`.
pub struct Fast;

impl Engine for Reference {
    fn run<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Vec<EngineTotals> {
        reference::run(cluster, source, observer)
    }
}

impl Engine for Fast {
    fn run<S: RequestSource, O: Observer>(&self, cluster: &Cluster<'_>, source: &mut S, observer: &mut O) -> Vec<EngineTotals> {
        cluster.run(source, observer).0
    }
}
