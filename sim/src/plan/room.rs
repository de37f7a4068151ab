//! Headroom: how much more load the answer bears, and which target breaks first.

use serde::Serialize;

use super::size::Bench;
use super::trial::Trial;
use crate::run::RunError;

/// More load than this many times the scenario's is not tried.
const FACTOR_MAX: f64 = 16.0;

/// How much load a number of replicas bears.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Room {
    /// Load at which the first target breaks, over the scenario's, less 1; `None` if none breaks at 16 times the load.
    pub headroom: Option<f64>,
    /// What breaks first: class and target, or `stability`.
    pub breaks_first: Option<String>,
    /// At the highest load that still meets every target, per replica [requests/s].
    pub requests_per_s_per_replica: f64,
    /// The same in output tokens [tokens/s].
    pub output_tokens_per_s_per_replica: f64,
    /// That load over the knee.
    pub load_at_limit: f64,
}

/// Raises the load on `n` replicas until a target breaks, by one seed, to `precision` of the load.
///
/// # Errors
/// If the trace cannot be read.
pub fn room(bench: &mut Bench<'_>, n: u32, precision: f64) -> Result<Room, RunError> {
    let own = bench.first(n)?;
    let bench = &*bench;
    let scenario = bench.scenario.with_replicas(n);
    let at = |factor: f64| bench.trial(&scenario.with_load(factor), scenario.seed, 1);
    if !own.met(&bench.targets) {
        return Ok(described(bench, n, Some(0.0), &own, Some(&own)));
    }
    let load = own.summary.capacity.load;
    let guess = if load > 0.0 { (0.97 / load).clamp(1.0 + precision, FACTOR_MAX) } else { 2.0 };
    let (mut low, mut best, mut high, mut broken) = (1.0, own, None, None);
    let mut factor = guess;
    loop {
        let trial = at(factor)?;
        match trial.met(&bench.targets) {
            true => (low, best) = (factor, trial),
            false => (high, broken) = (Some(factor), Some(trial)),
        }
        factor = match high {
            Some(high) if high - low <= precision * low => return Ok(described(bench, n, Some(low - 1.0), &best, broken.as_ref())),
            Some(high) => 0.5 * (low + high),
            None if low >= FACTOR_MAX => return Ok(described(bench, n, None, &best, None)),
            None => (low * 1.3).min(FACTOR_MAX),
        };
    }
}

fn described(bench: &Bench<'_>, n: u32, headroom: Option<f64>, best: &Trial, broken: Option<&Trial>) -> Room {
    let first = |trial: &Trial| match trial.weakest(&bench.targets).map(|i| &bench.targets[i]) {
        Some(target) if !trial.unstable => format!("{} {}", target.class_name, target.name),
        _ => "stability".to_owned(),
    };
    let capacity = &best.summary.capacity;
    let per_request = match best.summary.requests.completed {
        0 => 0.0,
        completed => best.summary.output_tokens as f64 / completed as f64,
    };
    let each = capacity.offered_requests_per_s / f64::from(n);
    Room {
        headroom,
        breaks_first: broken.map(first),
        requests_per_s_per_replica: each,
        output_tokens_per_s_per_replica: each * per_request,
        load_at_limit: capacity.load,
    }
}
