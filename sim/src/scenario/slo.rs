//! Whether a request keeps its class's targets.

use tokentide_models::units::Duration;

use super::{Class, Slo, SloMetric, SloTarget};
use crate::engine::{Latencies, Outcome};

/// The tightest limit that any class has on a figure.
pub fn tightest(classes: &[Class], metric: SloMetric) -> Option<Duration> {
    let targets = classes.iter().flat_map(|class| &class.slo.targets).filter(|target| target.metric == metric);
    targets.map(|target| target.limit).min()
}

impl SloTarget {
    /// Whether a request of these latencies is within the limit.
    pub fn is_met(&self, outcome: &Outcome, latencies: &Latencies) -> bool {
        let value = match self.metric {
            SloMetric::Ttft => latencies.ttft,
            SloMetric::E2e => latencies.e2e,
            SloMetric::Queue => latencies.queue,
            // A completed answer of one token has no gap that could be too long.
            SloMetric::Tpot => latencies.tpot.or(outcome.finish.completed().then_some(0)),
        };
        value.is_some_and(|value| value <= self.limit.0)
    }
}

impl Slo {
    /// Whether a request was completed within every limit; `None` without targets.
    pub fn is_met(&self, outcome: &Outcome) -> Option<bool> {
        let latencies = Latencies::of(outcome);
        let met = || outcome.finish.completed() && self.targets.iter().all(|target| target.is_met(outcome, &latencies));
        (!self.targets.is_empty()).then(met)
    }
}
