//! The answer on a faster and on a slower server: does it depend on what is not known about its speed?

use serde::Serialize;

use super::size::{Bench, least};
use crate::run::RunError;
use crate::scenario::Scenario;

/// The least replicas over the band of the model's error, by one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// Error that was assumed, as a share of a step's time, both ways.
    pub model_error: f64,
    /// Least replicas if every step is that much faster; `None` if no count meets the targets.
    pub faster: Option<u32>,
    /// Least replicas if every step is that much slower; `None` if no count meets the targets.
    pub slower: Option<u32>,
}

/// Searches from `n`, the answer, on.
///
/// # Errors
/// If the trace cannot be read.
pub fn band(bench: &Bench<'_>, n: u32, model_error: f64) -> Result<Band, RunError> {
    let most = bench.settings.replicas_max;
    let search = |factor: f64| -> Result<Option<u32>, RunError> {
        let other: Scenario = bench.scenario.with_cost_factor(factor);
        let start = (f64::from(n) * factor).round().clamp(1.0, f64::from(most)) as u32;
        least(start, most, |n| Ok(bench.trial(&other.with_replicas(n), other.seed, 1)?.met(&bench.targets)))
    };
    Ok(Band { model_error, faster: search(1.0 - model_error)?, slower: search(1.0 + model_error)? })
}

/// The error that a profile states of its own curve on average [share]: the largest `N % mean` of its line.
pub fn stated_error(line: &str) -> Option<f64> {
    let before = line.split(" % mean").filter_map(|part| part.rsplit(' ').next()?.parse::<f64>().ok());
    let pieces = line.matches(" % mean").count();
    before.take(pieces).reduce(f64::max).map(|percent| percent / 100.0)
}
