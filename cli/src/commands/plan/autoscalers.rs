//! `--autoscaler`: several of them on the same requests, side by side.

use serde::Serialize;
use tokentide_sim::report::{Fingerprint, Fleet, Report};
use tokentide_sim::run::RunOptions;

use crate::args::Global;
use crate::engine::{self, Input};
use crate::exit::Failure;
use crate::progress::Progress;

/// An autoscaler as typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    /// A policy and its target, if one was given.
    Policy(String, Option<f64>),
    /// A manifest.
    File(String),
    /// None: the replicas stay.
    Fixed(u32),
}

/// `rps=4.5`, `kv`, `keda.yaml`, `fixed=4`
pub fn typed(text: &str) -> Result<Typed, String> {
    if text.ends_with(".yaml") || text.ends_with(".yml") || text.contains('/') {
        return Ok(Typed::File(text.to_owned()));
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    let wrong = |value: &str| format!("\"{value}\" is not a number above 0");
    if name == "fixed" {
        let n = value.and_then(|value| value.parse().ok()).filter(|n| *n > 0);
        return n.map(Typed::Fixed).ok_or_else(|| "expected fixed=REPLICAS, such as fixed=4".to_owned());
    }
    let target = value.map(|value| value.parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| wrong(value)));
    Ok(Typed::Policy(name.to_owned(), target.transpose()?))
}

/// Several autoscalers on the same requests.
#[derive(Serialize)]
pub struct Comparison {
    /// Version of this format.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// One for each autoscaler, in the order given.
    pub rows: Vec<Row>,
    /// Assumptions that the reader must know.
    pub notes: Vec<String>,
}

/// What one of them came to.
#[derive(Serialize)]
pub struct Row {
    /// As typed.
    pub autoscaler: String,
    /// What became of the replicas.
    pub fleet: Fleet,
    /// Share of requests that met all limits of their class, 0 to 1; `None` without targets.
    pub attainment: Option<f64>,
    /// Whether every target is met; `None` without targets.
    pub met: Option<bool>,
    /// 95th percentile of the time to first token over all requests [ms].
    pub ttft_p95_ms: Option<f64>,
    /// Requests without their whole answer.
    pub failed: u64,
    /// Requests.
    pub requests: u64,
    /// More work arrived than could be done, over the run: its latencies grow with its length.
    pub unstable: bool,
    /// What makes two results comparable.
    pub fingerprint: Fingerprint,
}

/// Simulates the scenario under each.
///
/// # Errors
/// If one cannot be read, or has no bounds.
pub fn compare(input: &Input, all: &[(String, Typed)], global: &Global) -> Result<Comparison, Failure> {
    let bounds = bounds(input)?;
    let mut comparison = Comparison { schema_version: 1, scenario: String::new(), rows: Vec::new(), notes: Vec::new() };
    for (name, typed) in all {
        let input = Input { set: [input.set.clone(), settings(typed, bounds)?].concat(), ..input.clone() };
        let loaded = engine::load(&input)?;
        let progress = Progress::new(name, global.no_progress || global.quiet);
        let options = RunOptions { replications: 1, threads: global.threads.map(std::num::NonZeroUsize::get) };
        let report = engine::simulate(&loaded, options, progress, None, None)?;
        comparison.scenario.clone_from(&report.scenario);
        for note in &report.notes {
            if !comparison.notes.contains(note) {
                comparison.notes.push(note.clone());
            }
        }
        comparison.rows.push(row(name, report));
    }
    Ok(comparison)
}

fn row(name: &str, report: Report) -> Row {
    let Report { summary, fleet, fingerprint, .. } = report;
    Row {
        autoscaler: name.to_owned(),
        fleet: fleet.unwrap_or_default(),
        attainment: summary.slo.attainment,
        met: summary.slo.met,
        ttft_p95_ms: summary.ttft_ms.p95,
        failed: summary.requests.total - summary.requests.completed,
        requests: summary.requests.total,
        unstable: summary.capacity.state == "overloaded",
        fingerprint,
    }
}

/// Fewest and most replicas of the scenario's own autoscaler.
fn bounds(input: &Input) -> Result<Option<(u32, u32)>, Failure> {
    let scenario = engine::load(input)?.scenario;
    let own = scenario.cluster.dynamics.and_then(|dynamics| dynamics.autoscaler);
    Ok(own.map(|autoscaler| (autoscaler.hpa.min_replicas, autoscaler.hpa.max_replicas)))
}

/// The settings that make the scenario's autoscaler this one.
fn settings(typed: &Typed, bounds: Option<(u32, u32)>) -> Result<Vec<(String, String)>, Failure> {
    let value = |key: &str, value: String| (key.to_owned(), value);
    Ok(match typed {
        Typed::File(path) => {
            let absolute = std::path::absolute(path).map_err(|e| Failure::message(format!("cannot find `{path}`: {e}")))?;
            let path = toml::Value::String(absolute.display().to_string());
            vec![value("autoscaler", format!("{{ file = {path} }}"))]
        }
        // Bounds that leave no choice.
        Typed::Fixed(n) => {
            vec![engine::autoscaler("inflight", Some(1.0), (*n, *n)), value("cluster.replicas", n.to_string())]
        }
        Typed::Policy(name, target) => {
            let Some(bounds) = bounds else {
                return Err(Failure::with_help(
                    format!("between how many replicas may `{name}` choose?"),
                    "give the scenario an [autoscaler] with min_replicas and max_replicas",
                ));
            };
            vec![engine::autoscaler(name, *target, bounds)]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_is_a_policy_a_file_or_none() {
        assert_eq!(typed("rps=4.5"), Ok(Typed::Policy("rps".to_owned(), Some(4.5))));
        assert_eq!(typed("kv"), Ok(Typed::Policy("kv".to_owned(), None)));
        assert_eq!(typed("deploy/keda.yaml"), Ok(Typed::File("deploy/keda.yaml".to_owned())));
        assert_eq!(typed("fixed=4"), Ok(Typed::Fixed(4)));
        for wrong in ["rps=fast", "rps=-1", "fixed", "fixed=0"] {
            assert!(typed(wrong).is_err(), "{wrong}");
        }
    }
}
