//! What a request experiences alone: the best that any number of replicas can give, and what a replica can carry at most.

use super::trial::{self, ClassTarget};
use crate::report::Summary;
use crate::run::RunError;
use crate::scenario::{Arrivals, Horizon, Scenario};
use crate::workload::trace::TraceRow;
use tokentide_models::units::Time;

/// Requests of such a run.
const REQUESTS: u64 = 2_000;
/// Requests per second, all classes, with which it is tried first.
const RATE: f64 = 0.01;
/// Load over the knee at which requests do not meet.
const ALONE: f64 = 0.002;
/// A trace comes this much slower.
const TRACE: f64 = 0.05;
/// Standard deviations of an attainment below its percentile that are no accident.
const SIGMAS: f64 = 4.0;

/// What was found.
pub struct Lone {
    /// Figures of requests that are alone.
    pub summary: Summary,
    /// Hash of the trace, if one was replayed.
    pub trace: Option<String>,
    /// A target that no number of replicas can meet, and its attainment.
    pub out_of_reach: Option<(ClassTarget, f64)>,
}

/// Runs one replica with hardly any load.
///
/// # Errors
/// If the trace cannot be read.
pub fn run(scenario: &Scenario, rows: Option<&[TraceRow]>, targets: &[ClassTarget]) -> Result<Lone, RunError> {
    let rate: f64 = scenario.classes.iter().filter_map(|class| class.arrivals.as_ref()).map(highest).sum();
    let mut factor = if scenario.trace.is_some() { TRACE } else { (RATE / rate).min(1.0) };
    let alone = |factor: f64| {
        let horizon = Horizon { duration: None, requests: Some(REQUESTS) };
        let thin = Scenario { horizon, warmup: Time::ZERO, ..scenario.with_replicas(1).with_load(factor) };
        trial::run(&thin, rows, scenario.seed, targets, None)
    };
    let mut trial = alone(factor)?;
    let open = scenario.trace.is_none() && scenario.classes.iter().all(|class| !class.waits_for_answers());
    if open && trial.summary.capacity.load > ALONE {
        factor *= ALONE / trial.summary.capacity.load;
        trial = alone(factor)?;
    }
    let hopeless = |(target, attainment): (&ClassTarget, &Option<f64>)| {
        let (n, q) = (trial.requests[target.class], target.target.quantile);
        let attainment = (*attainment)?;
        let noise = SIGMAS * (q * (1.0 - q) / n.max(1) as f64).sqrt();
        (open && attainment + noise < q).then(|| (target.clone(), attainment))
    };
    let out_of_reach = targets.iter().zip(&trial.attainment).find_map(hopeless);
    Ok(Lone { out_of_reach, summary: trial.summary, trace: trial.trace })
}

/// Requests per second; of clients, as many as leave one per class.
fn highest(arrivals: &Arrivals) -> f64 {
    match arrivals {
        Arrivals::Open { rate, .. } => rate.highest(),
        Arrivals::Closed { concurrency, .. } => f64::from(*concurrency) * RATE,
    }
}
