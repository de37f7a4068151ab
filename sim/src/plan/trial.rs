//! One run, as far as targets are concerned: which were reached, and whether the run was stable.

use std::cell::Cell;
use std::ops::Range;

use crate::engine::{Latencies, Outcome};
use crate::metrics::target_name;
use crate::report::Summary;
use crate::run::{RunError, replicate};
use crate::scenario::{Scenario, SloTarget};
use crate::workload::trace::TraceRow;

/// A target, and whose it is.
#[derive(Clone, Debug)]
pub struct ClassTarget {
    /// Index of the class.
    pub class: usize,
    /// Name of the class.
    pub class_name: String,
    /// Such as `ttft_p95`.
    pub name: String,
    /// Percentile and limit.
    pub target: SloTarget,
}

/// All targets of a scenario, class by class.
pub fn targets(scenario: &Scenario) -> Vec<ClassTarget> {
    let of_class = |(class, c): (usize, &crate::scenario::Class)| {
        let name = c.name.clone();
        let each = c.slo.targets.iter().map(move |target| ClassTarget {
            class,
            class_name: name.clone(),
            name: target_name(target),
            target: *target,
        });
        each.collect::<Vec<_>>()
    };
    scenario.classes.iter().enumerate().flat_map(of_class).collect()
}

/// When a run has seen enough: known arrivals per class, and how many times the misses that a target bears end the run.
#[derive(Clone, Copy)]
pub struct Limit<'a> {
    /// Requests per class that will be counted, or more.
    pub arrivals: &'a [u64],
    /// 1: as soon as the target can no longer be met. More: the attainment found is further below it.
    pub times: u64,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Trial {
    /// By target, the share of the class's requests within the limit; of a stopped run the most that it can be. `None` without
    /// requests.
    pub attainment: Vec<Option<f64>>,
    /// By class, requests counted.
    pub requests: Vec<u64>,
    /// It ended before its time: some target was missed.
    pub stopped: bool,
    /// More work arrived than could be done.
    pub unstable: bool,
    /// Figures; void if it was stopped.
    pub summary: Summary,
    /// Hash of the trace, if one was replayed.
    pub trace: Option<String>,
}

impl Trial {
    /// Whether every target is met, and the run is stable.
    pub fn met(&self, targets: &[ClassTarget]) -> bool {
        let reached = |(attainment, t): (&Option<f64>, &ClassTarget)| attainment.is_none_or(|a| a >= t.target.quantile);
        !self.stopped && !self.unstable && self.attainment.iter().zip(targets).all(reached)
    }

    /// The target that is furthest below its percentile, as a share of what it may miss; of a run that meets all, the closest one.
    pub fn weakest(&self, targets: &[ClassTarget]) -> Option<usize> {
        let slack = |i: usize| Some((self.attainment[i]? - targets[i].target.quantile) / (1.0 - targets[i].target.quantile));
        let each = (0..targets.len()).filter_map(|i| Some((i, slack(i)?)));
        each.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
    }
}

/// Most requests of `total` that may miss a target of percentile `quantile`.
pub fn allowed_misses(total: u64, quantile: f64) -> u64 {
    let enough = |within: u64| within as f64 / total as f64 >= quantile;
    let mut within = (quantile * total as f64).floor() as u64;
    while within < total && !enough(within) {
        within += 1;
    }
    while within > 0 && enough(within - 1) {
        within -= 1;
    }
    total - within
}

/// Misses per target and requests per class so far.
struct Tally<'a> {
    targets: &'a [ClassTarget],
    /// Of each class, its targets.
    of_class: Vec<Range<usize>>,
    requests: Vec<u64>,
    misses: Vec<u64>,
    /// Misses of a target that end the run.
    most: Option<Vec<u64>>,
}

impl<'a> Tally<'a> {
    fn new(targets: &'a [ClassTarget], classes: usize, limit: Option<Limit<'_>>) -> Tally<'a> {
        let start = |class: usize| targets.partition_point(|t| t.class < class);
        let most = limit.map(|limit| {
            let most = |t: &ClassTarget| allowed_misses(limit.arrivals[t.class], t.target.quantile).max(1) * limit.times;
            targets.iter().map(most).collect()
        });
        Tally {
            targets,
            of_class: (0..classes).map(|class| start(class)..start(class + 1)).collect(),
            requests: vec![0; classes],
            misses: vec![0; targets.len()],
            most,
        }
    }

    /// Counts an outcome; whether the run has seen enough.
    fn count(&mut self, outcome: &Outcome) -> bool {
        let class = usize::from(outcome.request.class);
        let latencies = Latencies::of(outcome);
        self.requests[class] += 1;
        let mut enough = false;
        for i in self.of_class[class].clone() {
            if !self.targets[i].target.is_met(outcome, &latencies) {
                self.misses[i] += 1;
                enough |= self.most.as_ref().is_some_and(|most| self.misses[i] > most[i]);
            }
        }
        enough
    }
}

/// Runs `scenario` with `seed`, to its end or to `limit`.
///
/// # Errors
/// If the trace cannot be read.
pub fn run(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    seed: u64,
    targets: &[ClassTarget],
    limit: Option<Limit<'_>>,
) -> Result<Trial, RunError> {
    let stop = Cell::new(false);
    let mut tally = Tally::new(targets, scenario.classes.len().max(1), limit);
    let mut count = |outcome: &Outcome, _: &[String]| {
        if outcome.request.arrival >= scenario.warmup && tally.count(outcome) {
            stop.set(true);
        }
    };
    let report = replicate(scenario, rows, seed, &stop, &|_| {}, Some(&mut count))?;
    let stopped = stop.get();
    let attainment = |(t, misses): (&ClassTarget, &u64)| {
        let seen = tally.requests[t.class];
        let total = limit.filter(|_| stopped).map_or(seen, |limit| limit.arrivals[t.class].max(seen));
        (total > 0).then(|| (total - misses) as f64 / total as f64)
    };
    Ok(Trial {
        attainment: targets.iter().zip(&tally.misses).map(attainment).collect(),
        requests: tally.requests.clone(),
        stopped,
        unstable: !stopped && report.summary.capacity.state == "overloaded",
        summary: report.summary,
        trace: report.fingerprint.trace,
    })
}
