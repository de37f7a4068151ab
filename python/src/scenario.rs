//! A scenario as Python sees it: immutable, and edited by overrides.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyMapping;
use tokentide_sim::scenario::{self, Loaded};
use tokentide_sweep::sweep::Base;

use crate::error::scenario_error;
use crate::value;

/// What to simulate. Immutable: `with_` makes a changed copy.
#[pyclass(frozen, module = "tokentide")]
pub(crate) struct Scenario {
    /// The text as loaded, which overrides are applied to anew by each edit.
    text: String,
    /// For messages.
    filename: String,
    /// Paths in the scenario are relative to it.
    base_dir: PathBuf,
    /// All so far, in order: (path, TOML).
    overrides: Vec<(String, String)>,
    /// What they mean.
    pub(crate) resolved: scenario::Scenario,
}

impl Scenario {
    /// As what a sweep varies.
    pub(crate) fn base(&self) -> Base {
        Base {
            text: self.text.clone(),
            filename: self.filename.clone(),
            folder: self.base_dir.clone(),
            overrides: self.overrides.clone(),
        }
    }

    fn resolve(
        py: Python<'_>,
        text: String,
        filename: String,
        base_dir: PathBuf,
        overrides: Vec<(String, String)>,
    ) -> PyResult<Scenario> {
        match scenario::parse(&text, &filename, &base_dir, &overrides) {
            Ok(Loaded { scenario: resolved, .. }) => Ok(Scenario { text, filename, base_dir, overrides, resolved }),
            Err(errors) => Err(scenario_error(py, errors)),
        }
    }
}

/// Text, filename, folder and changes.
type Restored = (String, String, PathBuf, Vec<(String, String)>);

/// A pickled scenario.
#[pyfunction]
#[pyo3(name = "_restore")]
pub(crate) fn restore(
    py: Python<'_>,
    text: String,
    filename: String,
    base_dir: PathBuf,
    overrides: Vec<(String, String)>,
) -> PyResult<Scenario> {
    Scenario::resolve(py, text, filename, base_dir, overrides)
}

#[pymethods]
impl Scenario {
    /// Reads a scenario file (TOML), with changes as of `with_`.
    ///
    /// Raises ScenarioError with everything that is wrong with it.
    #[staticmethod]
    #[pyo3(signature = (path, set = None))]
    fn load(py: Python<'_>, path: PathBuf, set: Option<&Bound<'_, PyMapping>>) -> PyResult<Scenario> {
        let overrides = value::overrides(set)?;
        let loaded = scenario::load_with(&path, &overrides).map_err(|errors| scenario_error(py, errors))?;
        Ok(Scenario {
            text: loaded.text.to_string(),
            filename: path.display().to_string(),
            base_dir: path.parent().unwrap_or(Path::new(".")).to_owned(),
            overrides,
            resolved: loaded.scenario,
        })
    }

    /// Reads a scenario from its text (TOML). `filename` is for messages and the default name; paths in the scenario are relative
    /// to `base_dir`, by default the working directory.
    ///
    /// Raises ScenarioError with everything that is wrong with it.
    #[staticmethod]
    #[pyo3(signature = (text, set = None, *, filename = "scenario.toml", base_dir = None))]
    fn parse(
        py: Python<'_>,
        text: String,
        set: Option<&Bound<'_, PyMapping>>,
        filename: &str,
        base_dir: Option<PathBuf>,
    ) -> PyResult<Scenario> {
        let base_dir = base_dir.unwrap_or_else(|| PathBuf::from("."));
        Scenario::resolve(py, text, filename.to_owned(), base_dir, value::overrides(set)?)
    }

    /// Makes a scenario of a dict with the keys of a scenario file. Paths in it are relative to `base_dir`, by default the working
    /// directory.
    ///
    /// Raises ScenarioError with everything that is wrong with it.
    #[staticmethod]
    #[pyo3(signature = (scenario, *, base_dir = None))]
    fn from_dict(py: Python<'_>, scenario: &Bound<'_, PyMapping>, base_dir: Option<PathBuf>) -> PyResult<Scenario> {
        let base_dir = base_dir.unwrap_or_else(|| PathBuf::from("."));
        Scenario::resolve(py, value::document(scenario)?, "scenario.toml".to_owned(), base_dir, Vec::new())
    }

    /// What pickle keeps: the text and the changes. Paths must mean the same where it is read.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Restored)> {
        let restore = py.import("tokentide._tokentide")?.getattr("_restore")?;
        let folder = std::path::absolute(&self.base_dir).unwrap_or_else(|_| self.base_dir.clone());
        Ok((restore, (self.text.clone(), self.filename.clone(), folder, self.overrides.clone())))
    }

    /// A copy with values changed: `{"class.rag.prompt.retrieved.top_k": 12}`. Paths are those of the command line's `--set`,
    /// classes are addressed by name; values are bools, numbers, texts, lists and dicts.
    ///
    /// Raises ScenarioError if the changed scenario is wrong, TypeError for values that a scenario cannot hold.
    fn with_(&self, py: Python<'_>, set: &Bound<'_, PyMapping>) -> PyResult<Scenario> {
        let mut overrides = self.overrides.clone();
        overrides.extend(value::overrides(Some(set))?);
        Scenario::resolve(py, self.text.clone(), self.filename.clone(), self.base_dir.clone(), overrides)
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.resolved.name
    }

    /// Seed of every random stream.
    #[getter]
    fn seed(&self) -> u64 {
        self.resolved.seed
    }

    /// Identity of what was typed, changes included and the seed left out: 16 hex digits.
    #[getter]
    fn hash(&self) -> &str {
        &self.resolved.hash
    }

    /// Names of the workload classes.
    #[getter]
    fn classes(&self) -> Vec<&str> {
        self.resolved.classes.iter().map(|class| class.name.as_str()).collect()
    }

    /// Assumptions made, values clamped, approximations.
    #[getter]
    fn notes(&self) -> Vec<&str> {
        self.resolved.notes.iter().map(String::as_str).collect()
    }

    /// The text as loaded, without changes.
    #[getter]
    fn text(&self) -> &str {
        &self.text
    }

    /// The changes, in order, as (path, TOML).
    #[getter]
    fn overrides(&self) -> Vec<(String, String)> {
        self.overrides.clone()
    }

    fn __repr__(&self) -> String {
        let changes: String = self.overrides.iter().map(|(path, value)| format!(", {path}={value}")).collect();
        format!("Scenario({:?}{changes})", self.resolved.name)
    }
}
