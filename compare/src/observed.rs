//! What one simulated run showed, for each selection of its requests.

use std::cell::Cell;

use tokentide_sim::engine::{Latencies, Outcome};
use tokentide_sim::metrics::Histogram;
use tokentide_sim::report::{Quantiles, Report};
use tokentide_sim::run::{RunError, replicate};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::trace::TraceRow;

use crate::metric::{Figure, Metric, Stat};
use crate::selection::{Filter, Selection};

/// Latencies of a selection's requests.
#[derive(Clone)]
struct Group {
    requests: u64,
    completed: u64,
    ttft: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    queue: Histogram,
}

impl Group {
    fn new() -> Group {
        let times = Histogram::of_times;
        Group { requests: 0, completed: 0, ttft: times(), tpot: times(), e2e: times(), queue: times() }
    }

    fn add(&mut self, outcome: &Outcome, latencies: &Latencies) {
        self.requests += 1;
        self.completed += u64::from(outcome.finish.completed());
        for (histogram, value) in [
            (&mut self.ttft, latencies.ttft),
            (&mut self.tpot, latencies.tpot),
            (&mut self.e2e, latencies.e2e),
            (&mut self.queue, latencies.queue),
        ] {
            value.into_iter().for_each(|value| histogram.add(value));
        }
    }

    /// A statistic [ms]; infinite where it lies among requests that never got so far.
    fn value(&self, metric: Metric, stat: Stat) -> Option<f64> {
        let (histogram, total) = match metric {
            Metric::Ttft => (&self.ttft, self.requests),
            Metric::E2e => (&self.e2e, self.requests),
            Metric::Queue => (&self.queue, self.requests),
            // Answers of one token have none.
            Metric::Tpot => (&self.tpot, self.tpot.count() + self.requests - self.completed),
            _ => return None,
        };
        if total == 0 {
            return None;
        }
        let ps = match (stat, stat.quantile()) {
            (_, Some(q)) => Some(histogram.quantile_of(q, total).unwrap_or(f64::INFINITY)),
            (Stat::Max, _) if histogram.count() < total => Some(f64::INFINITY),
            (Stat::Max, _) => histogram.max().map(|v| v as f64),
            (Stat::Mean, _) => histogram.mean(),
            _ => None,
        };
        ps.map(|ps| ps * 1e-9)
    }
}

/// A run.
#[derive(Clone)]
pub struct Observed {
    groups: Vec<Group>,
    /// Gaps between tokens, of the selections that are all requests or a class; times as they were simulated [ms].
    gaps: Vec<Option<Quantiles>>,
    /// The whole report.
    pub report: Report,
    /// Every step took this many times as long as the report says.
    factor: f64,
}

impl Observed {
    /// Runs `scenario` by `seed`, as if every step took `factor` times as long.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub fn run(
        scenario: &Scenario,
        rows: Option<&[TraceRow]>,
        seed: u64,
        factor: f64,
        selections: &[(Selection, Filter)],
    ) -> Result<Observed, RunError> {
        let slower;
        let scenario = if factor == 1.0 {
            scenario
        } else {
            slower = scenario.with_cost_factor(factor);
            &slower
        };
        let mut groups = vec![Group::new(); selections.len()];
        let mut keep = |outcome: &Outcome, labels: &[String]| {
            if outcome.request.arrival >= scenario.warmup {
                let latencies = Latencies::of(outcome);
                for ((_, filter), group) in selections.iter().zip(&mut groups) {
                    if filter.admits(&outcome.request, labels) {
                        group.add(outcome, &latencies);
                    }
                }
            }
        };
        let report = replicate(scenario, rows, seed, &Cell::new(false), &|_| {}, Some(&mut keep))?;
        let gaps = |(selection, _): &(Selection, Filter)| match selection {
            all if all.is_all() => Some(report.summary.itl_ms),
            Selection { class: Some(class), tenant: None, route: None, input_bucket: None } => {
                report.classes.iter().find(|c| c.name == *class).and_then(|c| c.itl_ms)
            }
            _ => None,
        };
        Ok(Observed { groups, gaps: selections.iter().map(gaps).collect(), report, factor })
    }

    /// More work arrived than could be done: there are no latencies of a steady state.
    pub fn overloaded(&self) -> bool {
        self.report.summary.capacity.state == "overloaded"
    }

    /// A simulated figure of a selection, in the metric's unit; `None` where there is nothing to take it of. A latency of an
    /// overloaded run is infinite: it grows for as long as the load goes on, and what a run of some length shows is that length.
    pub fn value(&self, figure: &Figure, selection: usize) -> Option<f64> {
        let (metric, stat) = (figure.of.metric, figure.stat);
        let summary = &self.report.summary;
        // Times were measured on a clock that ran `factor` times as fast; rates are per second of that clock.
        let (slower, per_second) = (self.factor, 1.0 / self.factor);
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        if figure.is_latency() {
            let raw = if metric == Metric::Itl {
                self.gaps[selection].and_then(|gaps| of_quantiles(&gaps, stat))
            } else {
                self.groups[selection].value(metric, stat)
            };
            return raw.map(|ms| if self.overloaded() { f64::INFINITY } else { ms * slower });
        }
        match metric {
            Metric::KvUse if stat == Stat::Max => Some(summary.kv_use_peak),
            Metric::KvUse => Some(summary.kv_use_mean),
            Metric::Utilisation => Some(summary.utilisation),
            Metric::WaitingTokens => Some(summary.waiting_tokens_peak as f64),
            Metric::WaitingRequests => Some(summary.waiting_requests_peak as f64),
            Metric::Preemptions => Some(summary.preemptions as f64),
            Metric::PrefixHits => share(summary.cached_tokens as f64, summary.input_tokens as f64),
            Metric::OutputRate => Some(summary.output_tokens_per_s * per_second),
            Metric::Slo => summary.slo.attainment,
            Metric::Goodput => summary.slo.goodput_requests_per_s.map(|rate| rate * per_second),
            Metric::Failed => share((summary.requests.total - summary.requests.completed) as f64, summary.requests.total as f64),
            Metric::Cost if stat == Stat::PerMillionOutputTokens => {
                summary.cost.usd_per_million_output_tokens.map(|usd| usd * slower)
            }
            Metric::Cost if stat == Stat::PerThousandRequests => summary.cost.usd_per_thousand_requests.map(|usd| usd * slower),
            _ => None,
        }
    }
}

/// A statistic of quantiles that were taken before.
pub fn of_quantiles(quantiles: &Quantiles, stat: Stat) -> Option<f64> {
    match stat {
        Stat::P50 => quantiles.p50,
        Stat::P90 => quantiles.p90,
        Stat::P95 => quantiles.p95,
        Stat::P99 => quantiles.p99,
        Stat::Mean => quantiles.mean,
        Stat::Max => quantiles.max,
        _ => None,
    }
}
