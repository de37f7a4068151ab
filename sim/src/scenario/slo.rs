//! Whether a request keeps its class's targets.

use tokentide_models::units::Duration;

use super::duration::parse_duration;
use super::{Class, Slo, SloMetric, SloTarget};
use crate::engine::{Latencies, Outcome};

/// The tightest limit that any class has on a figure.
pub fn tightest(classes: &[Class], metric: SloMetric) -> Option<Duration> {
    let targets = classes.iter().flat_map(|class| &class.slo.targets).filter(|target| target.metric == metric);
    targets.map(|target| target.limit).min()
}

impl std::str::FromStr for SloTarget {
    type Err = String;

    /// `ttft_p95=800ms`
    fn from_str(text: &str) -> Result<SloTarget, String> {
        let expected = "expected FIGURE_pPERCENT=TIME, such as ttft_p95=800ms";
        let (figure, limit) = text.split_once('=').ok_or(expected)?;
        let (metric, percent) = figure.trim().rsplit_once("_p").ok_or(expected)?;
        let metric = match metric {
            "ttft" => SloMetric::Ttft,
            "tpot" => SloMetric::Tpot,
            "e2e" => SloMetric::E2e,
            "queue" => SloMetric::Queue,
            other => return Err(format!("`{other}` is no figure of a target: expected ttft, tpot, e2e or queue")),
        };
        let percent: f64 = percent.parse().map_err(|_| expected.to_owned())?;
        if !(percent > 0.0 && percent < 100.0) {
            return Err(format!("a percentile is above 0 and below 100, not {percent}"));
        }
        let limit = parse_duration(limit.trim())?;
        if limit.0 == 0 {
            return Err("a target must be longer than 0".to_owned());
        }
        Ok(SloTarget { metric, quantile: percent / 100.0, limit })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_in_scenarios() {
        let read: SloTarget = "ttft_p95=800ms".parse().unwrap();
        assert_eq!((read.metric, read.limit), (SloMetric::Ttft, Duration::from_millis_f64(800.0)));
        assert!((read.quantile - 0.95).abs() < 1e-12);
        assert!(("e2e_p99.9 = 30s".parse::<SloTarget>().unwrap().quantile - 0.999).abs() < 1e-12);
        for wrong in ["ttft", "ttft_p95", "ttft=1s", "ttft_p95=1", "itl_p95=1s", "ttft_p100=1s", "ttft_p0=1s", "ttft_p95=0s"] {
            assert!(wrong.parse::<SloTarget>().is_err(), "{wrong}");
        }
    }
}
