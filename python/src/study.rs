//! Plans and comparisons: what `tokentide plan`, `diff` and `check` say.

use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMapping;
use serde::Serialize;
use tokentide_compare::changes::settings;
use tokentide_compare::project::{Project, read_budgets};
use tokentide_compare::side::{Settings as CompareSettings, Subject};
use tokentide_compare::{CompareError, Pair, Question, Replications, compare as compare_sides};
use tokentide_sim::plan::options::{Choice, OptionsError, combinations, prepared};
use tokentide_sim::plan::{Candidate, Questions, Settings, plan as plan_options};
use tokentide_sim::scenario::{self, ScenarioError, ScenarioErrors, SloTarget};
use tokentide_tables::trace_rows;

use crate::detached::detached;
use crate::error::{run_error, scenario_error, table_error};
use crate::frame::{Frame, refused};
use crate::run::threads_of;
use crate::scenario::Scenario;
use crate::tidy::tidy;
use crate::value;

/// A report as JSON, of which lists can be had as tables.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Study {
    value: serde_json::Value,
    pretty: String,
}

impl Study {
    pub(crate) fn of(report: &impl Serialize) -> PyResult<Study> {
        let wrong = |error: serde_json::Error| PyValueError::new_err(format!("cannot write JSON: {error}"));
        let pretty = serde_json::to_string_pretty(report).map_err(wrong)?;
        Ok(Study { value: serde_json::to_value(report).map_err(wrong)?, pretty })
    }
}

#[pymethods]
impl Study {
    /// As the command line prints it, or in one line.
    fn to_json(&self, pretty: bool) -> String {
        if pretty { self.pretty.clone() } else { self.value.to_string() }
    }

    /// A row per object of the list at this pointer, such as `/options`.
    fn rows(&self, pointer: &str) -> PyResult<Frame> {
        let list = self.value.pointer(pointer).and_then(|value| value.as_array());
        let list = list.ok_or_else(|| PyValueError::new_err(format!("there is no list at {pointer}")))?;
        Ok(tidy(list).map_err(refused)?.into())
    }
}

/// How a plan is made: confidence, error of the model (shares), most replicas, most seeds, zones.
type Limits = (f64, f64, u32, u32, Option<u32>);

/// Sizes every combination of `options` for the targets `slo`, texts such as `ttft_p95=800ms`.
#[pyfunction]
pub(crate) fn plan(
    py: Python<'_>,
    scenario: &Scenario,
    slo: Vec<String>,
    options: &Bound<'_, PyMapping>,
    limits: Limits,
    threads: Option<usize>,
) -> PyResult<Study> {
    let (confidence, model_error, replicas_max, seeds_max, zones) = limits;
    certain(confidence, model_error)?;
    within("max_replicas must be 1 to 10000", (1..=10_000).contains(&replicas_max))?;
    within("max_seeds must be 2 to 1000", (2..=1000).contains(&seeds_max))?;
    within("zones must be 2 to 1000", zones.is_none_or(|zones| (2..=1000).contains(&zones)))?;
    let slo = slo.iter().map(|text| SloTarget::from_str(text)).collect::<Result<Vec<_>, _>>().map_err(PyValueError::new_err)?;
    let candidates = candidates(py, scenario, &slo, options)?;
    let rows = candidates.iter().find_map(|candidate| candidate.scenario.as_ref().ok());
    let rows = rows.map(trace_rows).transpose().map_err(|error| table_error(py, &error))?.flatten();
    let defaults = Settings::default();
    let seeds_min = defaults.seeds_min.min(seeds_max);
    let settings = Settings { confidence, replicas_max, seeds_min, seeds_max, model_error, zones, ..defaults };
    let pool = pool(threads)?;
    let work = |cancelled: &AtomicBool| {
        let stop = crate::run::stopper(cancelled);
        pool.install(|| plan_options(&candidates, rows.as_deref(), &settings, &Questions::default(), &stop))
    };
    let plan = detached(py, work, &mut |_| Ok(()))?.map_err(|error| run_error(py, error))?;
    Study::of(&plan)
}

fn within(what: &str, holds: bool) -> PyResult<()> {
    if holds { Ok(()) } else { Err(PyValueError::new_err(what.to_owned())) }
}

/// Whether these are shares that mean something.
fn certain(confidence: f64, model_error: f64) -> PyResult<()> {
    within("confidence must be 0.5 to 0.999", (0.5..=0.999).contains(&confidence))?;
    within("model_error is a share, 0 to 0.9", (0.0..=0.9).contains(&model_error))
}

/// Every combination, ready to be planned, or why it cannot run.
fn candidates(py: Python<'_>, scenario: &Scenario, slo: &[SloTarget], options: &Bound<'_, PyMapping>) -> PyResult<Vec<Candidate>> {
    let wrong = |error: OptionsError| PyValueError::new_err(error.to_string());
    let mut axes = Vec::new();
    for (path, values) in value::settings(options)? {
        let values = values.as_array().cloned().unwrap_or_else(|| vec![values]);
        axes.push(values.iter().map(|value| Choice { path: path.clone(), value: value.to_string() }).collect());
    }
    let base = scenario.base();
    let (mut candidates, mut misfit) = (Vec::new(), None);
    for combination in combinations(&axes).map_err(wrong)? {
        let name = combination.iter().map(Choice::name).collect::<Vec<_>>().join(" ");
        let chosen = combination.into_iter().map(|choice| (choice.path, choice.value));
        let overrides: Vec<(String, String)> = base.overrides.iter().cloned().chain(chosen).collect();
        let scenario = match scenario::parse(&base.text, &base.filename, &base.folder, &overrides) {
            Ok(loaded) => Ok(prepared(loaded.scenario, slo).map_err(wrong)?),
            Err(errors) if errors.0.iter().all(|error| error.unfit) => {
                let reason = errors.0.first().map(|error| error.message.clone()).unwrap_or_default();
                misfit = misfit.or(Some(errors));
                Err(reason)
            }
            Err(errors) => return Err(scenario_error(py, errors)),
        };
        candidates.push(Candidate { name, scenario });
    }
    match misfit {
        Some(errors) if candidates.iter().all(|candidate| candidate.scenario.is_err()) => Err(scenario_error(py, errors)),
        _ => Ok(candidates),
    }
}

/// How sides are compared: replications (none: as many as the intervals need), confidence, error of the model (shares), whether
/// only tokens are.
type How = (Option<u32>, f64, f64, bool);

/// Compares two scenarios; with `budgets`, dicts with the keys of `[[check]]`, also judges them and the head's own.
#[pyfunction]
pub(crate) fn compare(
    py: Python<'_>,
    base: Option<&Scenario>,
    head: &Scenario,
    budgets: Option<Vec<Bound<'_, PyMapping>>>,
    how: How,
    threads: Option<usize>,
) -> PyResult<Study> {
    let (replications, confidence, model_error, tokens_only) = how;
    certain(confidence, model_error)?;
    let enough = replications.is_none_or(|runs| (2..=1000).contains(&runs));
    within("replications must be 2 to 1000, or \"auto\": one run tells nothing of chance", enough)?;
    let text = value::document_of_lists("check", budgets.as_deref().unwrap_or_default())?;
    let project = Project::parse(&text, "budgets").map_err(|errors| scenario_error(py, errors))?;
    let pairs = [pair(py, base, head)?];
    if budgets.is_some() && project.budgets.is_empty() && pairs[0].budgets.is_empty() {
        return Err(PyValueError::new_err(
            "there is nothing to check: no budgets are given, and the scenario has none; such as \"input_tokens.p95 <= +10%\"",
        ));
    }
    let words = |side: &Scenario| side.base().filename;
    let same = base.is_some_and(|base| words(base) == words(head) && base.base().overrides.is_empty());
    let question = Question {
        base: base.map(|base| if same { format!("{} as it is", words(base)) } else { words(base) }),
        head: words(head),
        pairs: &pairs,
        budgets: if budgets.is_some() { &project.budgets } else { &[] },
        own_budgets: budgets.is_some(),
        replications: replications.map_or(Replications::Auto, Replications::Fixed),
        settings: CompareSettings { confidence, model_error, replicas_max: Settings::default().replicas_max },
        everything: budgets.is_none(),
        tokens_only,
    };
    let pool = pool(threads)?;
    let work = |cancelled: &AtomicBool| {
        let stop = crate::run::stopper(cancelled);
        pool.install(|| compare_sides(&question, &stop))
    };
    match detached(py, work, &mut |_| Ok(()))? {
        Ok(comparison) => Study::of(&comparison),
        Err(CompareError::Run(error)) => Err(run_error(py, error)),
        Err(CompareError::Budgets(idle)) => {
            let errors = idle.into_iter().map(|(budget, error)| ScenarioError {
                text: if budget.place.file == "budgets" { text.as_str().into() } else { head.base().text.into() },
                file: budget.place.file,
                span: error.span,
                message: format!("check `{}`: {}", budget.id, error.message),
                help: error.help,
                unfit: false,
            });
            Err(scenario_error(py, ScenarioErrors(errors.collect())))
        }
    }
}

fn pair(py: Python<'_>, base: Option<&Scenario>, head: &Scenario) -> PyResult<Pair> {
    let of = head.base();
    let loaded = scenario::parse(&of.text, &of.filename, &of.folder, &of.overrides).map_err(|errors| scenario_error(py, errors))?;
    let own = read_budgets(&loaded.file.check, &of.filename, &of.text).map_err(|errors| scenario_error(py, errors))?;
    let name = head.resolved.name.clone();
    let budgets = own.into_iter().map(|budget| tokentide_compare::budget::Budget { scenario: Some(name.clone()), ..budget });
    Ok(Pair {
        name: name.clone(),
        base: base.map(|base| subject(py, base)).transpose()?,
        head: Some(subject(py, head)?),
        budgets: budgets.collect(),
    })
}

fn subject(py: Python<'_>, of: &Scenario) -> PyResult<Subject> {
    let rows = trace_rows(&of.resolved).map_err(|error| table_error(py, &error))?;
    let base = of.base();
    Ok(Subject { scenario: of.resolved.clone(), rows, typed: settings(&base.text, &base.overrides) })
}

fn pool(threads: Option<usize>) -> PyResult<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads_of(threads)?.unwrap_or(0)).build();
    pool.map_err(|error| PyValueError::new_err(format!("cannot start threads: {error}")))
}
