//! One row per request, kept in memory and handed out as columns. Names, units and nulls are those of the command line's
//! `--records` (`tokentide explain records`); `python/tests/test_requests.py` holds the two lists to each other.

use pyo3::IntoPyObject;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Outcome};
use tokentide_sim::scenario::{Scenario, Source};

/// What is kept of an outcome: about 150 bytes, without the identities of its text.
struct Row {
    id: u64,
    arrival: Time,
    class: u16,
    tenant: u16,
    route: u16,
    session: Option<(u64, u32)>,
    replica: Option<u32>,
    input_tokens: u32,
    output_tokens: u32,
    max_tokens: Option<u32>,
    cached_tokens: u32,
    sources: Option<[u32; 8]>,
    scheduled: Option<Time>,
    first_token: Option<Time>,
    ended: Time,
    finish: Finish,
    preemptions: u32,
}

impl Row {
    fn new(outcome: &Outcome) -> Row {
        let request = &outcome.request;
        Row {
            id: request.id,
            arrival: request.arrival,
            class: request.class,
            tenant: request.tenant,
            route: request.route,
            session: request.session,
            // Rejection for the context limit comes before routing.
            replica: (outcome.finish != Finish::RejectedContext).then_some(outcome.replica),
            input_tokens: request.input_tokens,
            output_tokens: outcome.output_tokens,
            max_tokens: (request.max_tokens != u32::MAX).then_some(request.max_tokens),
            cached_tokens: outcome.cached_tokens,
            sources: request.sources.iter().any(|&tokens| tokens > 0).then_some(request.sources),
            scheduled: outcome.scheduled,
            first_token: outcome.first_token,
            ended: outcome.ended,
            finish: outcome.finish,
            preemptions: outcome.preemptions,
        }
    }

    /// From arrival to `time` [ms].
    fn ms(&self, time: Time) -> f64 {
        time.since(self.arrival).as_millis_f64()
    }

    /// (e2e - ttft) / (output - 1) [ms]; none for one token and unless completed.
    fn tpot_ms(&self) -> Option<f64> {
        let first = self.first_token.filter(|_| self.finish.completed() && self.output_tokens > 1)?;
        Some(self.ended.since(first).as_millis_f64() / f64::from(self.output_tokens - 1))
    }
}

/// The requests of a run.
pub(crate) struct Records {
    rows: Vec<Row>,
    model: String,
    model_version: Option<String>,
    deployment: String,
    classes: Vec<String>,
    /// Names that tenants and routes index.
    strings: Vec<String>,
}

impl Records {
    pub(crate) fn new(scenario: &Scenario) -> Records {
        Records {
            rows: Vec::new(),
            model: scenario.deployment.model.name.clone(),
            model_version: scenario.model_version.clone(),
            deployment: scenario.deployment_name(),
            classes: scenario.classes.iter().map(|class| class.name.clone()).collect(),
            strings: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, outcome: &Outcome, strings: &[String]) {
        if self.strings.len() != strings.len() {
            self.strings = strings.to_vec();
        }
        self.rows.push(Row::new(outcome));
    }

    /// Puts the rows, which come by their ends, into the order of arrival.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.id);
    }

    /// A list per column, all of one length.
    pub(crate) fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let columns = Columns { rows: &self.rows, dict: PyDict::new(py) };
        let name = |table: &[String], index: u16| table.get(usize::from(index)).cloned();
        columns.add("id", |r| r.id)?;
        columns.add("arrival_s", |r| r.arrival.as_secs_f64())?;
        columns.add("class", |r| name(&self.classes, r.class))?;
        columns.add("tenant", |r| name(&self.strings, r.tenant))?;
        columns.add("route", |r| name(&self.strings, r.route))?;
        columns.add("session", |r| r.session.map(|(session, _)| session))?;
        columns.add("turn", |r| r.session.map(|(_, turn)| turn))?;
        columns.add("model", |_| self.model.as_str())?;
        columns.add("model_version", |_| self.model_version.as_deref())?;
        columns.add("deployment", |_| self.deployment.as_str())?;
        columns.add("replica", |r| r.replica)?;
        columns.add("input_tokens", |r| r.input_tokens)?;
        columns.add("output_tokens", |r| r.output_tokens)?;
        columns.add("total_tokens", |r| u64::from(r.input_tokens) + u64::from(r.output_tokens))?;
        columns.add("max_tokens", |r| r.max_tokens)?;
        columns.add("cached_tokens", |r| r.cached_tokens)?;
        for (i, source) in Source::ALL.into_iter().enumerate() {
            columns.add(&format!("in_{}", source.name()), |r| r.sources.map(|tokens| tokens[i]))?;
        }
        columns.add("queue_ms", |r| r.scheduled.map(|time| r.ms(time)))?;
        columns.add("ttft_ms", |r| r.first_token.map(|time| r.ms(time)))?;
        columns.add("tpot_ms", Row::tpot_ms)?;
        columns.add("e2e_ms", |r| r.finish.completed().then(|| r.ms(r.ended)))?;
        columns.add("finish_reason", |r| r.finish.name())?;
        columns.add("preemptions", |r| r.preemptions)?;
        Ok(columns.dict)
    }
}

/// Columns in the making.
struct Columns<'a, 'py> {
    rows: &'a [Row],
    dict: Bound<'py, PyDict>,
}

impl<'a, 'py> Columns<'a, 'py> {
    fn add<T: IntoPyObject<'py>>(&self, name: &str, value: impl Fn(&'a Row) -> T) -> PyResult<()> {
        let values = PyList::new(self.dict.py(), self.rows.iter().map(value))?;
        self.dict.set_item(name, values)
    }
}
