//! The answer: what `--format json` prints, field by field.

use serde::Serialize;

use super::Candidate;
use super::day::Day;
use super::option::{OptionRow, Settings};
use super::pools::SplitRow;
use crate::scenario::Scenario;

/// Version of the format of a plan.
pub const PLAN_SCHEMA_VERSION: u32 = 1;

/// The result of planning.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Version of this format.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Model that is served.
    pub model: String,
    /// How certain, and how far it was looked.
    pub settings: Settings,
    /// Options with an answer first, the cheapest first.
    pub options: Vec<OptionRow>,
    /// Ways to split the workload over two pools.
    pub splits: Vec<SplitRow>,
    /// The rate curve window by window, on the first option.
    pub day: Option<Day>,
    /// What makes two results comparable.
    pub provenance: Provenance,
    /// Assumptions and approximations that the reader must know.
    pub notes: Vec<String>,
}

/// What makes two results comparable.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Hash of each option's scenario, in the order of `options`; empty where it cannot run.
    pub scenarios: Vec<String>,
    /// Hash of each option's cost profile, in the same order.
    pub profiles: Vec<String>,
    /// Hash of the trace's content, if one was replayed.
    pub trace: Option<String>,
    /// What counted prompt files, if there are any.
    pub tokenizer: Option<String>,
    /// The first seed; those after it follow.
    pub seed: Option<u64>,
}

/// Puts the parts together; `order` is that of the options.
pub fn assemble(
    candidates: &[Candidate],
    rows: Vec<OptionRow>,
    order: &[usize],
    splits: Vec<SplitRow>,
    day: Option<Day>,
    settings: &Settings,
) -> Plan {
    let first = candidates.iter().find_map(|candidate| candidate.scenario.as_ref().ok());
    let hash = |&i: &usize| candidates[i].scenario.as_ref().map(|s| s.hash.clone()).unwrap_or_default();
    let profile = |&i: &usize| candidates[i].scenario.as_ref().map(|s| s.cost_info.hash.clone()).unwrap_or_default();
    let mut notes: Vec<String> = Vec::new();
    for &i in order {
        let Ok(scenario) = &candidates[i].scenario else { continue };
        for note in scenario.notes.iter().filter(|_| rows[i].replicas.is_some()) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
    }
    notes.extend(unjudged(candidates, &rows, order));
    notes.extend(assumptions(first, &splits, day.as_ref()));
    Plan {
        schema_version: PLAN_SCHEMA_VERSION,
        scenario: first.map(|s| s.name.clone()).unwrap_or_default(),
        model: first.map(|s| s.deployment.model.name.clone()).unwrap_or_default(),
        settings: settings.clone(),
        options: order.iter().map(|&i| rows[i].clone()).collect(),
        splits,
        day,
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenarios: order.iter().map(hash).collect(),
            profiles: order.iter().map(profile).collect(),
            trace: rows.iter().find_map(|row| row.trace.clone()),
            tokenizer: first.and_then(|s| s.tokenizer.clone()),
            seed: first.map(|s| s.seed),
        },
        notes,
    }
}

/// Classes whose targets nothing was seen of, in the first option with an answer.
fn unjudged(candidates: &[Candidate], rows: &[OptionRow], order: &[usize]) -> Vec<String> {
    let answered = order.iter().find(|&&i| rows[i].replicas.is_some());
    let Some((row, scenario)) = answered.and_then(|&i| Some((&rows[i], candidates[i].scenario.as_ref().ok()?))) else {
        return Vec::new();
    };
    let seen = |name: &str| row.targets.iter().any(|target| target.class == name);
    let unseen = scenario.classes.iter().filter(|class| !class.slo.targets.is_empty() && !seen(&class.name));
    unseen.map(|class| format!("no request of class \"{}\" comes in this time: its targets are not judged", class.name)).collect()
}

fn assumptions(scenario: Option<&Scenario>, splits: &[SplitRow], day: Option<&Day>) -> Vec<String> {
    let mut notes = vec![
        "headroom, what breaks first and the band are of one seed, the same requests throughout; the answer itself is of several"
            .to_owned(),
        "with a replica or a zone down: once the others carry its load; the requests that it takes with it are not counted"
            .to_owned(),
    ];
    if scenario.is_some_and(|s| s.classes.iter().any(|class| class.waits_for_answers())) {
        notes.push("sessions and closed loops wait for answers: fewer replicas also see less load".to_owned());
    }
    if !splits.is_empty() {
        notes.push(
            "a class whose requests go to both pools must meet its targets in each, which asks for more than it does over both"
                .to_owned(),
        );
    }
    if day.is_some() {
        notes.push("following the curve takes replicas that start and stop at once: no autoscaler does".to_owned());
    }
    notes
}
