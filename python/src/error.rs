//! Errors of the crates behind as Python exceptions.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokentide_sim::run::RunError;
use tokentide_sim::scenario::{self, ScenarioErrors};
use tokentide_tables::TableError;

pyo3::create_exception!(
    tokentide,
    ScenarioError,
    PyValueError,
    "What is wrong with a scenario, one line per problem: `file:line:column: message (help)`.\n\n\
     `problems` is the same as a list of dicts with the keys file, line, column, message and help; line and column count from 1\n\
     and are None where a problem has no place."
);

/// Where the scenario crate says that a problem lies in an override.
const OVERRIDE: &str = "--set";

/// The exception for everything that is wrong with a scenario.
pub(crate) fn scenario_error(py: Python<'_>, errors: ScenarioErrors) -> PyErr {
    // Here nobody typed `--set`: the override itself says better where to look.
    let errors = errors.0.into_iter().map(|error| match error.file.as_str() {
        OVERRIDE => scenario::ScenarioError { file: error.text.lines().collect::<Vec<_>>().join(" "), ..error },
        _ => error,
    });
    let errors = ScenarioErrors(errors.collect());
    let exception = ScenarioError::new_err(errors.to_string());
    match problems(py, &errors).and_then(|list| exception.value(py).setattr("problems", list)) {
        Ok(()) => exception,
        Err(failure) => failure,
    }
}

/// Each problem as a dict.
fn problems<'py>(py: Python<'py>, errors: &ScenarioErrors) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for error in &errors.0 {
        let place = error.line_column();
        let problem = PyDict::new(py);
        problem.set_item("file", &error.file)?;
        problem.set_item("line", place.map(|(line, _)| line))?;
        problem.set_item("column", place.map(|(_, column)| column))?;
        problem.set_item("message", &error.message)?;
        problem.set_item("help", error.help.as_deref())?;
        list.append(problem)?;
    }
    Ok(list)
}

/// The exception for a run that could not be made.
pub(crate) fn run_error(py: Python<'_>, error: RunError) -> PyErr {
    match error {
        RunError::Trace(error) => one_problem(py, error.to_string(), Some(error.file.display().to_string()), error.line),
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

/// The exception for a trace that could not be read as a table.
pub(crate) fn table_error(py: Python<'_>, error: &TableError) -> PyErr {
    one_problem(py, error.to_string(), None, None)
}

fn one_problem(py: Python<'_>, message: String, file: Option<String>, line: Option<u64>) -> PyErr {
    let exception = ScenarioError::new_err(message.clone());
    let problem = PyDict::new(py);
    let filled = problem
        .set_item("file", file)
        .and_then(|()| problem.set_item("line", line))
        .and_then(|()| problem.set_item("column", py.None()))
        .and_then(|()| problem.set_item("message", message))
        .and_then(|()| problem.set_item("help", py.None()))
        .and_then(|()| exception.value(py).setattr("problems", PyList::new(py, [problem])?));
    filled.map_or_else(|failure| failure, |()| exception)
}
