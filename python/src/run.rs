//! Running a scenario.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

use polars::prelude::DataFrame;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::Value;
use tokentide_charts::{By, run_chart};
use tokentide_sim::report::Report;
use tokentide_sim::run::{RunError, RunOptions, simulate as run_scenario};
use tokentide_sim::scenario;
use tokentide_tables::{Labels, RecordTable, TableError, trace_rows};

use crate::detached::detached;
use crate::error::{run_error, table_error};
use crate::frame::{Frame, refused};
use crate::scenario::Scenario;
use crate::tidy::{over_time, tidy};

/// A finished run.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Run {
    report: Report,
    records: Option<DataFrame>,
}

#[pymethods]
impl Run {
    /// The report as JSON, in one line or, as the command line prints it, `pretty`.
    fn to_json(&self, pretty: bool) -> PyResult<String> {
        let text = if pretty { serde_json::to_string_pretty(&self.report) } else { serde_json::to_string(&self.report) };
        text.map_err(|error| PyValueError::new_err(format!("cannot write JSON: {error}")))
    }

    /// A row per request; None if they were not kept.
    fn requests(&self) -> Option<Frame> {
        self.records.clone().map(Frame::from)
    }

    /// A row per bin of the timeline.
    fn timeline(&self) -> PyResult<Frame> {
        Ok(over_time(&json(&self.report.timeline)?).map_err(refused)?.into())
    }

    /// A chart as JSON: see [`run_chart`].
    fn chart(&self, name: &str, by: &str) -> PyResult<String> {
        let wrong = |what: String| PyValueError::new_err(what);
        let by = By::parse(by).ok_or_else(|| wrong(format!("by is \"all\", \"class\" or \"input_bucket\", not {by:?}")))?;
        let report = self.report.to_be_drawn().map_err(|error| wrong(error.to_string()))?;
        Ok(run_chart(&report, name, by).map_err(|error| wrong(error.to_string()))?.spec.to_string())
    }

    /// A row per group: `classes`, `buckets`, `output_buckets` or `replicas`.
    fn groups(&self, which: &str) -> PyResult<Frame> {
        let groups = match which {
            "classes" => json(&self.report.classes),
            "buckets" => json(&self.report.buckets),
            "output_buckets" => json(&self.report.output_buckets),
            "replicas" => json(&self.report.replicas),
            other => return Err(PyValueError::new_err(format!("there are no {other} in a report"))),
        }?;
        Ok(tidy(groups.as_array().map(Vec::as_slice).unwrap_or_default()).map_err(refused)?.into())
    }
}

fn json(part: &impl serde::Serialize) -> PyResult<Value> {
    serde_json::to_value(part).map_err(|error| PyValueError::new_err(format!("cannot write JSON: {error}")))
}

/// Runs `scenario` with the GIL released. `seed` replaces the scenario's own.
#[pyfunction]
pub(crate) fn simulate(
    py: Python<'_>,
    scenario: &Scenario,
    seed: Option<u64>,
    replications: u32,
    threads: Option<usize>,
    records: bool,
) -> PyResult<Run> {
    if replications == 0 {
        return Err(PyValueError::new_err("replications must be at least 1"));
    }
    let options = RunOptions { replications, threads: threads_of(threads)? };
    let resolved = &scenario.resolved;
    let seeded = scenario::Scenario { seed: seed.unwrap_or(resolved.seed), ..resolved.clone() };
    let work = |cancelled: &AtomicBool| -> Result<Result<_, RunError>, TableError> {
        let rows = trace_rows(&seeded)?;
        let progress = stopper(cancelled);
        let mut table = records.then(|| RecordTable::new(Labels::of(&seeded)));
        let mut push = |outcome: &_, strings: &[String]| {
            if let Some(table) = &mut table {
                table.push(outcome, strings);
            }
        };
        let report = run_scenario(&seeded, rows.as_deref(), options, &progress, records.then_some(&mut push));
        Ok(report.map(|report| (report, table)))
    };
    match detached(py, work, &mut |_| Ok(()))? {
        Err(error) => Err(table_error(py, &error)),
        Ok(Err(error)) => Err(run_error(py, error)),
        Ok(Ok((report, table))) => {
            let records = table.map(RecordTable::frame).transpose().map_err(refused)?;
            Ok(Run { report, records })
        }
    }
}

/// A progress function that ends the run once it is cancelled. Unwinding, which starts no panic message, is the one way out of a
/// run: it reports its progress and asks nothing back.
pub(crate) fn stopper(cancelled: &AtomicBool) -> impl Fn(f64) + Sync + '_ {
    |_| {
        if cancelled.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Cancelled));
        }
    }
}

/// What a cancelled run unwinds with.
struct Cancelled;

/// Workers: at least one, if they are given.
pub(crate) fn threads_of(threads: Option<usize>) -> PyResult<Option<usize>> {
    match threads {
        Some(0) => Err(PyValueError::new_err("threads must be at least 1; None is one per core")),
        threads => Ok(threads),
    }
}
