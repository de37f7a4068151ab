//! Sweeps: points, where their results are kept, and running them here or elsewhere.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};
use tokentide_sim::scenario::Scenario as Resolved;
use tokentide_sweep::axis::{Axis, Values};
use tokentide_sweep::design::Design;
use tokentide_sweep::drive::{Standing, Store, drive};
use tokentide_sweep::journal::{from_line, to_line};
use tokentide_sweep::point::{Params, PointId, Seeds};
use tokentide_sweep::row::PointRows;
use tokentide_sweep::sample::{Method, Sample};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::{Rows, Surroundings, Sweep, SweepError};
use tokentide_tables::{SweepStore, SweepTableError, TableFormat, TraceCache};
use toml::Value;

use crate::detached::detached;
use crate::error::scenario_error;
use crate::frame::Frame;
use crate::run::threads_of;
use crate::scenario::Scenario;
use crate::value;

/// A scenario and points.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Spec(Sweep);

/// Values are what Python says they are.
#[derive(Default)]
struct Plain(TraceCache);

impl Surroundings for Plain {
    fn rows(&self, scenario: &Resolved) -> Result<Option<Rows>, String> {
        self.0.rows(scenario).map_err(|error| error.to_string())
    }

    fn toml(&self, _: &str, value: &Value) -> Result<String, String> {
        Ok(value.to_string())
    }
}

/// How points are drawn: method, number, seed, and over what.
type Drawn<'py> = (String, u32, u64, Bound<'py, PyMapping>);

#[pymethods]
impl Spec {
    #[new]
    fn new(
        py: Python<'_>,
        scenario: &Scenario,
        grid: &Bound<'_, PyMapping>,
        points: Vec<Bound<'_, PyMapping>>,
        sample: Option<Drawn<'_>>,
        replications: u32,
        seeds: &str,
    ) -> PyResult<Spec> {
        if !(1..=10_000).contains(&replications) {
            return Err(PyValueError::new_err("replications must be 1 to 10000"));
        }
        let wrong = |why: String| PyValueError::new_err(why);
        let seeds = Seeds::parse(seeds).ok_or_else(|| wrong(format!("seeds are \"derived\" or \"common\", not {seeds:?}")))?;
        let list = points.iter().map(params).collect::<PyResult<Vec<Params>>>()?;
        let sample = sample.as_ref().map(drawn).transpose()?;
        let design = Design::new(&axes(grid)?, list, sample.as_ref()).map_err(wrong)?;
        let sweep = Sweep::new(scenario.base(), design, replications, seeds, Box::new(Plain::default()));
        sweep.map(Spec).map_err(|error| match error {
            SweepError::Base(errors) | SweepError::Setting { errors, .. } => scenario_error(py, errors),
            SweepError::Value(message) => PyValueError::new_err(message),
        })
    }

    /// Number of points.
    fn __len__(&self) -> usize {
        usize::try_from(self.0.design().points()).unwrap_or(usize::MAX)
    }

    /// Paths of what is varied.
    #[getter]
    fn settings(&self) -> Vec<String> {
        self.0.design().paths().iter().map(|(path, _)| path.clone()).collect()
    }

    /// Runs some points, by their indices, on this thread. Gives a line of JSON for each.
    fn run_points<'py>(&self, py: Python<'py>, indices: Vec<u64>) -> PyResult<Bound<'py, PyBytes>> {
        let Spec(sweep) = self;
        if let Some(index) = indices.iter().find(|index| **index >= sweep.design().points()) {
            return Err(PyValueError::new_err(format!("there is no point {index}")));
        }
        let work = |cancelled: &AtomicBool| -> Result<String, serde_json::Error> {
            let mut lines = String::new();
            for rows in indices.iter().filter_map(|index| sweep.run(*index, Vec::new(), cancelled)) {
                lines += &(to_line(&rows)? + "\n");
            }
            Ok(lines)
        };
        let lines = detached(py, work, &mut |_| Ok(()))?.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(PyBytes::new(py, lines.as_bytes()))
    }
}

/// Where the results of a sweep are kept while it runs.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Kept {
    spec: Py<Spec>,
    /// None once it is closed.
    store: Mutex<Option<SweepStore>>,
}

#[pymethods]
impl Kept {
    #[new]
    fn new(py: Python<'_>, spec: Py<Spec>, out: Option<PathBuf>, fresh: bool, retry_failed: bool) -> PyResult<Kept> {
        let store = {
            if let Some(out) = &out {
                TableFormat::of(out).map_err(|error| PyValueError::new_err(error.to_string()))?;
            }
            let Spec(sweep) = spec.get();
            py.detach(|| SweepStore::open(out.as_deref(), sweep, fresh, retry_failed)).map_err(unusable)?
        };
        Ok(Kept { spec, store: Mutex::new(Some(store)) })
    }

    /// Indices of the points that are still to be run.
    fn todo(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        let Spec(sweep) = self.spec.get();
        self.with(py, |store| {
            let mut todo = Vec::new();
            for index in 0..sweep.design().points() {
                let have = store.have(PointId::of(&sweep.design().point(index))).map_err(|error| unusable(error.into()))?;
                if have.len() < sweep.replications() as usize {
                    todo.push(index);
                }
            }
            Ok(todo)
        })
    }

    /// Keeps what [`Spec::run_points`] gave.
    fn keep(&self, py: Python<'_>, lines: &[u8]) -> PyResult<()> {
        let text = std::str::from_utf8(lines).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let rows: Vec<PointRows> = text.lines().map(from_line).collect::<Result<_, _>>().map_err(PyValueError::new_err)?;
        self.with(py, |store| rows.into_iter().try_for_each(|rows| store.keep(rows)).map_err(|error| unusable(error.into())))
    }

    /// Runs all that is to be run, on all cores. `progress` is called with the points that are there and those that failed now.
    fn run(&self, py: Python<'_>, threads: Option<usize>, progress: Bound<'_, PyAny>) -> PyResult<()> {
        let threads = threads_of(threads)?.unwrap_or(0);
        let Spec(sweep) = self.spec.get();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| PyRuntimeError::new_err(format!("cannot start threads: {error}")))?;
        let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut show = |standing: Standing| {
            done.store(standing.before + standing.run, Ordering::Relaxed);
            failed.store(standing.failed, Ordering::Relaxed);
        };
        let progress = progress.unbind();
        let tell = |py: Python<'_>| -> PyResult<()> {
            progress.call1(py, (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))).map(|_| ())
        };
        let work = |cancelled: &AtomicBool| {
            let mut store = self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let Some(store) = store.as_mut() else { return Ok(None) };
            pool.install(|| drive(sweep, Shard::WHOLE, store, cancelled, &mut show)).map(Some)
        };
        let ended = detached(py, work, &mut |py| tell(py))?;
        ended.map_err(|error| unusable(error.into()))?.ok_or_else(closed)?;
        tell(py)
    }

    /// Writes the table, if there is to be one, and gives it.
    fn finish(&self, py: Python<'_>) -> PyResult<Frame> {
        let Spec(sweep) = self.spec.get();
        let store = self.take().ok_or_else(closed)?;
        Ok(py.detach(|| store.into_frame(sweep)).map_err(unusable)?.into())
    }

    /// Lets go of the files; what is done stays in them.
    fn close(&self) {
        drop(self.take());
    }
}

impl Kept {
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut SweepStore) -> PyResult<T> + Send) -> PyResult<T> {
        py.detach(|| {
            let mut store = self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(store.as_mut().ok_or_else(closed)?)
        })
    }

    fn take(&self) -> Option<SweepStore> {
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

fn closed() -> PyErr {
    PyRuntimeError::new_err("this sweep is finished")
}

fn unusable(error: SweepTableError) -> PyErr {
    match error.is_of_another() {
        true => PyValueError::new_err(format!("{error} (write to another file, or start anew with fresh=True)")),
        false => PyOSError::new_err(error.to_string()),
    }
}

/// A setting per key: a list of values, or a text as of `--grid` such as `1..8`.
fn axes(grid: &Bound<'_, PyMapping>) -> PyResult<Vec<Axis>> {
    let axis = |(path, value): (String, Value)| match value {
        Value::Array(list) => Ok(Axis { path, values: Values::List(list) }),
        Value::String(text) => Axis::parse(&format!("{path}={text}")).map_err(PyValueError::new_err),
        _ => Err(PyValueError::new_err(format!("`{path}`: expected a list of values, or a range such as \"1..8\""))),
    };
    value::settings(grid)?.into_iter().map(axis).collect()
}

fn params(point: &Bound<'_, PyMapping>) -> PyResult<Params> {
    value::settings(point)
}

fn drawn((method, points, seed, over): &Drawn<'_>) -> PyResult<Sample> {
    let method = Method::parse(method)
        .ok_or_else(|| PyValueError::new_err(format!("points are drawn by \"lhs\" or \"random\", not {method:?}")))?;
    Ok(Sample { method, points: *points, seed: *seed, over: axes(over)? })
}

/// A chart of a sweep's table, an object of columns in JSON: `kind` is `heatmap`, `line`, `scatter` or `pareto`, `columns` what it
/// is of, in its order.
#[pyfunction]
pub(crate) fn sweep_chart(table: &str, kind: &str, columns: Vec<String>) -> PyResult<String> {
    let table: serde_json::Value = serde_json::from_str(table).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let chart = match (kind, columns.as_slice()) {
        ("heatmap", [x, y, figure]) => tokentide_charts::heatmap(&table, x, y, figure),
        ("line", [x, figure, colour @ ..]) => tokentide_charts::line(&table, x, figure, colour.first().copied()),
        ("scatter", [x, figure, colour @ ..]) => tokentide_charts::scatter(&table, x, figure, colour.first().copied()),
        ("pareto", [cost, latency]) => tokentide_charts::pareto(&table, cost, latency),
        _ => return Err(PyValueError::new_err(format!("a sweep has no chart `{kind}` of {} columns", columns.len()))),
    };
    Ok(chart.map_err(|error| PyValueError::new_err(error.to_string()))?.spec.to_string())
}
