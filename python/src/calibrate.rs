//! Cost profiles fitted to what was measured of a server: `tokentide calibrate fit`.

use std::path::{Path, PathBuf};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyMapping;
use tokentide_calibrate::error::CalibrateError;
use tokentide_calibrate::kernels::StepKernels;
use tokentide_calibrate::live::{BenchmarkRequest, Fitted, fit_logs, log_of};
use tokentide_calibrate::observation::Observations;
use tokentide_calibrate::probe::clock::today;
use tokentide_sim::validate::deploy::{scenario_with, unpriced};
use tokentide_sim::validate::measured::MeasuredRequest;
use tokentide_sim::validate::measured::read_runs;

use crate::error::{run_error, scenario_error};
use crate::study::Study;
use crate::value;

/// Fits a profile of the server in a scenario file to logs of a probe, or benchmarks with the times of their tokens. Gives the
/// report and the profile as TOML.
#[pyfunction]
pub(crate) fn fit_server(
    py: Python<'_>,
    files: Vec<PathBuf>,
    server: PathBuf,
    changes: &Bound<'_, PyMapping>,
    kernels: Option<PathBuf>,
) -> PyResult<(Study, String)> {
    let unreadable = |error: std::io::Error| PyOSError::new_err(format!("cannot read `{}`: {error}", server.display()));
    let text = std::fs::read_to_string(&server).map_err(unreadable)?;
    let changes = unpriced(&value::overrides(Some(changes))?);
    let folder = server.parent().unwrap_or(Path::new("."));
    let scenario = scenario_with(&text, &server.display().to_string(), folder, &changes);
    let scenario = scenario.map_err(|errors| scenario_error(py, errors))?;
    let logs = files.iter().map(|path| read(py, path).map(|log| (path.clone(), log))).collect::<PyResult<Vec<_>>>()?;
    if logs.is_empty() {
        return Err(PyValueError::new_err("there is nothing to fit to: give logs of a probe, or benchmarks"));
    }
    let kernels = kernels.as_deref().map(StepKernels::read).transpose().map_err(wrong)?;
    let fitted = py.detach(|| fit_logs(&logs, kernels.as_ref(), scenario.deployment.clone(), today()));
    let Fitted { fit, report } = fitted.map_err(wrong)?;
    let profile = fit.profile.to_toml().map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((Study::of(&report)?, profile))
}

fn read(py: Python<'_>, path: &Path) -> PyResult<Observations> {
    if Observations::is_log(path) {
        return Observations::read(path).map_err(wrong);
    }
    let runs = read_runs(path, None).map_err(|error| run_error(py, error.into()))?;
    let runs: Vec<Vec<BenchmarkRequest>> = runs.into_iter().map(|run| run.requests.into_iter().map(request).collect()).collect();
    log_of(&runs).ok_or_else(|| {
        PyValueError::new_err(format!("{} has no times of single tokens: engine steps cannot be told from it", path.display()))
    })
}

fn request(r: MeasuredRequest) -> BenchmarkRequest {
    let MeasuredRequest { arrival_s, input_tokens, output_tokens, ttft_ms, itl_ms, .. } = r;
    BenchmarkRequest { arrival_s, input: input_tokens, output: output_tokens, ttft_ms, itl_ms }
}

fn wrong(error: CalibrateError) -> PyErr {
    match error {
        CalibrateError::Open { .. } => PyOSError::new_err(error.to_string()),
        other => PyValueError::new_err(other.to_string()),
    }
}
