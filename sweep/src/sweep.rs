//! A base and a design, and running one point.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokentide_models::hash::fnv1a_hex;
use tokentide_sim::run::replicate;
use tokentide_sim::scenario::{self, Scenario, ScenarioErrors};
use tokentide_sim::workload::trace::TraceRow;
use toml::Value;

use crate::columns::Columns;
use crate::design::Design;
use crate::point::{Params, PointId, Seeds, canonical};
use crate::row::{PointRows, Ran, Row};

/// Values of a setting that are tried before anything is run.
const PROBES: usize = 64;

/// The scenario that is varied.
#[derive(Clone, Debug)]
pub struct Base {
    /// TOML.
    pub text: String,
    /// For messages, and the default name.
    pub filename: String,
    /// Paths in the scenario are relative to it.
    pub folder: PathBuf,
    /// Changes that every point has: path and TOML.
    pub overrides: Vec<(String, String)>,
}

/// The rows of a trace, which many points may share.
pub type Rows = Arc<Vec<TraceRow>>;

/// What is needed from outside: this crate reads no tables, and does not know what typed paths are relative to.
pub trait Surroundings: Send + Sync {
    /// The rows of a scenario's trace, if it is of a kind that [`replicate`] does not read itself.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn rows(&self, scenario: &Scenario) -> Result<Option<Rows>, String>;

    /// A value of a setting as the TOML of an override.
    ///
    /// # Errors
    /// Why it has none.
    fn toml(&self, path: &str, value: &Value) -> Result<String, String>;
}

/// What must be equal in results that are put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the program.
    pub version: String,
    /// Hash of the scenario that is varied.
    pub base: String,
    /// Hash of its cost profile.
    pub profile: String,
    /// Where seeds come from, such as `derived from 42`.
    pub seeds: String,
}

/// Why there is no sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The scenario that is varied is wrong.
    #[error("{0}")]
    Base(ScenarioErrors),
    /// No value of a setting can be used, so it is not a point that fails but the setting.
    #[error("no value of `{path}` can be used: {errors}")]
    Setting {
        /// Its path, or those of listed points.
        path: String,
        /// Why not the first.
        errors: ScenarioErrors,
    },
    /// A value has no TOML.
    #[error("{0}")]
    Value(String),
}

/// Points of one scenario.
pub struct Sweep {
    base: Base,
    design: Design,
    replications: u32,
    seeds: Seeds,
    seed: u64,
    columns: Columns,
    identity: Identity,
    surroundings: Box<dyn Surroundings>,
}

impl Sweep {
    /// Looks at the base and at some values of each setting; runs nothing.
    ///
    /// # Errors
    /// If the base is wrong, other than that its model does not go on its GPUs, or no value of a setting can be used.
    pub fn new(
        base: Base,
        design: Design,
        replications: u32,
        seeds: Seeds,
        surroundings: Box<dyn Surroundings>,
    ) -> Result<Sweep, SweepError> {
        let resolved = match resolve(&base, &[]) {
            Ok(scenario) => Some(scenario),
            Err(errors) if errors.0.iter().all(|error| error.unfit) => None,
            Err(errors) => return Err(SweepError::Base(errors)),
        };
        let mut seen: Vec<Scenario> = resolved.iter().cloned().collect();
        for (path, points) in design.probes(PROBES) {
            let mut first = None;
            let before = seen.len();
            for params in &points {
                let overrides = typed(params, &*surroundings).map_err(SweepError::Value)?;
                match resolve(&base, &overrides) {
                    Ok(scenario) => seen.push(scenario),
                    Err(errors) if errors.0.iter().all(|error| error.unfit) => first = first.or(Some((errors, true))),
                    Err(errors) => first = first.or(Some((errors, false))),
                }
            }
            // Beside other settings, a value that does not fit alone may.
            if let (true, Some((errors, false))) = (seen.len() == before, first) {
                return Err(SweepError::Setting { path, errors });
            }
        }
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            base: resolved.as_ref().map_or_else(|| fnv1a_hex(&format!("{}{:?}", base.text, base.overrides)), |s| s.hash.clone()),
            profile: resolved.as_ref().map(|s| s.cost_info.hash.clone()).unwrap_or_default(),
            seeds: format!("{} from {}", seeds.name(), seen.first().map_or(0, |s| s.seed)),
        };
        let seed = seen.first().map_or(0, |s| s.seed);
        let columns = Columns::of(&seen.iter().collect::<Vec<_>>());
        Ok(Sweep { base, design, replications, seeds, seed, columns, identity, surroundings })
    }

    /// Which points there are.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// Runs of each point.
    pub fn replications(&self) -> u32 {
        self.replications
    }

    /// The figures that are kept.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What must be equal in results that are put together.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Hash of the points and their replications: what shards of one sweep have in common.
    pub fn design_hash(&self) -> String {
        fnv1a_hex(&format!("{} x {}", self.design.hash(), self.replications))
    }

    /// Runs the replications of a point that are not in `have`. None if `cancelled` was set meanwhile. What goes wrong is in the
    /// rows, never an error: the sweep goes on.
    pub fn run(&self, index: u64, have: Vec<Row>, cancelled: &AtomicBool) -> Option<PointRows> {
        let params = self.design.point(index);
        let point = PointId::of(&params);
        let scenario = self.scenario(&params);
        let mut rows = have;
        for replication in 0..self.replications {
            if rows.iter().any(|row| row.replication == replication) {
                continue;
            }
            let seed = self.seeds.seed(self.seed, point, replication);
            let result = match &scenario {
                Ok((scenario, trace)) => self.once(scenario, trace.as_ref().map(|rows| rows.as_slice()), seed, cancelled)?,
                Err(why) => Err(why.clone()),
            };
            rows.push(Row { replication, seed, result });
        }
        rows.sort_unstable_by_key(|row| row.replication);
        Some(PointRows { point, rows })
    }

    fn scenario(&self, params: &Params) -> Result<(Scenario, Option<Rows>), String> {
        let overrides = typed(params, &*self.surroundings)?;
        let scenario = resolve(&self.base, &overrides).map_err(|errors| errors.to_string().replace('\n', "; "))?;
        let rows = self.surroundings.rows(&scenario)?;
        Ok((scenario, rows))
    }

    /// One run. None if it was cancelled.
    fn once(
        &self,
        scenario: &Scenario,
        rows: Option<&[TraceRow]>,
        seed: u64,
        cancelled: &AtomicBool,
    ) -> Option<Result<Ran, String>> {
        let stop = Cell::new(false);
        let watch = |_: f64| stop.set(cancelled.load(Ordering::Relaxed));
        // A run that trips over one of the engine's assertions is a bug to be told, and no reason to lose the others.
        let run = catch_unwind(AssertUnwindSafe(|| replicate(scenario, rows, seed, &stop, &watch, None)));
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        Some(match run {
            Ok(Ok(report)) => Ok(Ran::of(report, &self.columns)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                Err(format!("a bug in tokentide: {}", words.unwrap_or("no message")))
            }
        })
    }
}

/// The settings of a point as overrides.
fn typed(params: &Params, surroundings: &dyn Surroundings) -> Result<Vec<(String, String)>, String> {
    params.iter().map(|(path, value)| Ok((path.clone(), surroundings.toml(path, value)?))).collect()
}

fn resolve(base: &Base, more: &[(String, String)]) -> Result<Scenario, ScenarioErrors> {
    let overrides: Vec<(String, String)> = base.overrides.iter().chain(more).cloned().collect();
    scenario::parse(&base.text, &base.filename, &base.folder, &overrides).map(|loaded| loaded.scenario)
}

/// A value in a column of texts: a text as it is, else its JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => canonical(other).to_string(),
    }
}
