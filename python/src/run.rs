//! Running a scenario without holding up Python.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokentide_sim::report::Report;
use tokentide_sim::run::{self, RunError, RunOptions};
use tokentide_sim::scenario;

use crate::error::run_error;
use crate::records::Records;
use crate::scenario::Scenario;

/// How often a run looks for Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// A finished run.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Run {
    report: Report,
    records: Option<Records>,
}

#[pymethods]
impl Run {
    /// The report as JSON, in one line or, as the command line prints it, `pretty`.
    fn to_json(&self, pretty: bool) -> PyResult<String> {
        let text = if pretty { serde_json::to_string_pretty(&self.report) } else { serde_json::to_string(&self.report) };
        text.map_err(|error| PyValueError::new_err(format!("cannot write JSON: {error}")))
    }

    /// A list per column in the order of arrival; None if the requests were not kept.
    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.records.as_ref().map(|records| records.columns(py)).transpose()
    }
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
    if threads == Some(0) {
        return Err(PyValueError::new_err("threads must be at least 1; None is one per core"));
    }
    let resolved = &scenario.resolved;
    let seeded = scenario::Scenario { seed: seed.unwrap_or(resolved.seed), ..resolved.clone() };
    let mut records = records.then(|| Records::new(&seeded));
    let report = py.detach(|| interruptible(&seeded, RunOptions { replications, threads }, records.as_mut()))?;
    match report {
        Ok(report) => Ok(Run { report, records }),
        Err(error) => Err(run_error(py, error)),
    }
}

/// The run on a thread of its own, while this one, which may be Python's main thread, answers signals.
///
/// # Errors
/// What a signal handler raised (KeyboardInterrupt); inside, what the run itself says.
fn interruptible(
    scenario: &scenario::Scenario,
    options: RunOptions,
    records: Option<&mut Records>,
) -> PyResult<Result<Report, RunError>> {
    let cancelled = AtomicBool::new(false);
    // Unwinding, which starts no panic message, is the one way out of a run: it reports its progress and asks nothing back.
    let progress = |_: f64| {
        if cancelled.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Cancelled));
        }
    };
    let (running, ended) = channel::<()>();
    thread::scope(|scope| {
        let progress = &progress;
        let worker = scope.spawn(move || {
            // Dropped at the end, however it comes.
            let _running = running;
            let Some(records) = records else { return run::simulate(scenario, None, options, progress, None) };
            let mut push = |outcome: &_, strings: &[String]| records.push(outcome, strings);
            let report = run::simulate(scenario, None, options, progress, Some(&mut push));
            records.sort();
            report
        });
        let mut interrupt = None;
        while ended.recv_timeout(SIGNALS_EVERY) == Err(RecvTimeoutError::Timeout) {
            if let Err(raised) = Python::attach(|py| py.check_signals()) {
                cancelled.store(true, Ordering::Relaxed);
                interrupt = Some(raised);
            }
        }
        match (worker.join(), interrupt) {
            (_, Some(raised)) => Err(raised),
            (Ok(report), None) => Ok(report),
            (Err(panic), None) => resume_unwind(panic),
        }
    })
}

/// What a cancelled run unwinds with.
struct Cancelled;
