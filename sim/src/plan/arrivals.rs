//! How many requests a run will count, known before it is run: then a run can end as soon as it has missed too often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokentide_models::hash::fnv1a_hex;
use tokentide_models::units::Time;

use crate::run::RunError;
use crate::scenario::Scenario;
use crate::workload::RequestSource;
use crate::workload::generator::Generator;
use crate::workload::trace::{TraceRow, TraceSource};

/// A workload, by the hash of all it depends on, and a seed.
type Key = (String, u64);

/// Requests counted by class, of workloads and seeds that were asked for before: the same for every option and number of replicas.
#[derive(Default)]
pub struct ArrivalCounts {
    known: Mutex<HashMap<Key, Arc<[u64]>>>,
}

impl ArrivalCounts {
    /// Requests per class that arrive at or after the warm-up's end and are served; `None` where they depend on the engine, as
    /// those of sessions and closed loops do.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub fn of(&self, scenario: &Scenario, rows: Option<&[TraceRow]>, seed: u64) -> Result<Option<Arc<[u64]>>, RunError> {
        if scenario.trace.is_none() && scenario.classes.iter().any(|class| class.waits_for_answers()) {
            return Ok(None);
        }
        let key = (identity(scenario), seed);
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(&key) {
            return Ok(Some(found.clone()));
        }
        let Some(counts) = count(&Scenario { seed, ..scenario.clone() }, rows)? else { return Ok(None) };
        let counts: Arc<[u64]> = counts.into();
        lock().insert(key, counts.clone());
        Ok(Some(counts))
    }
}

/// All that arrivals depend on, but for the seed.
fn identity(scenario: &Scenario) -> String {
    let Scenario { classes, horizon, warmup, serves, trace, .. } = scenario;
    fnv1a_hex(&format!("{classes:?} {horizon:?} {warmup:?} {serves:?} {trace:?}"))
}

fn count(scenario: &Scenario, rows: Option<&[TraceRow]>) -> Result<Option<Vec<u64>>, RunError> {
    let Some(config) = &scenario.trace else {
        return Ok(Some(sum(scenario, &mut Generator::new(scenario))));
    };
    let mut source = match rows {
        Some(rows) => TraceSource::from_rows(rows.iter().cloned(), config, scenario)?,
        None => TraceSource::open(config, scenario)?,
    };
    if source.feedback() {
        return Ok(None);
    }
    let counts = sum(scenario, &mut source);
    match source.failure() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(Some(counts)),
    }
}

fn sum(scenario: &Scenario, source: &mut impl RequestSource) -> Vec<u64> {
    let mut counts = vec![0; scenario.classes.len().max(1)];
    while let Some(request) = source.next() {
        if request.arrival >= scenario.warmup && request.arrival < Time::NEVER && scenario.serves.admits(&request) {
            counts[usize::from(request.class)] += 1;
        }
    }
    counts
}
