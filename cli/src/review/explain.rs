//! The arithmetic behind one check.

use tokentide_compare::assertion::Against;
use tokentide_compare::metric::Stage;
use tokentide_compare::report::{CheckReport, Comparison};
use tokentide_compare::show;
use tokentide_models::show::{NONE, exact, percent};

use super::words::{confidence, doubt, model_error, subject};
use crate::exit::Failure;
use crate::suggest::closest;
use crate::text::table::table;

/// In words and tables, for each scenario that the check is about.
///
/// # Errors
/// If there is no such check.
pub fn explain(comparison: &Comparison, id: &str) -> Result<String, Failure> {
    let checks: Vec<&CheckReport> = comparison.checks.iter().filter(|check| check.id == id).collect();
    if checks.is_empty() {
        let ids: std::collections::BTreeSet<&str> = comparison.checks.iter().map(|check| check.id.as_str()).collect();
        let help = match closest(id, ids.iter().copied()) {
            Some(best) => format!("did you mean `{best}`?"),
            None => format!("there are {}", ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure::with_help(format!("there is no check `{id}`"), help));
    }
    Ok(checks.into_iter().map(|check| one(check, comparison)).collect::<Vec<_>>().join("\n"))
}

fn one(check: &CheckReport, comparison: &Comparison) -> String {
    let mut lines = vec![format!("{} ({}): {}", check.id, check.scenario, check.verdict.name())];
    lines.push(format!("  {} at {}:{}", subject(check, comparison), check.place.file, check.place.line));
    lines.push(format!("  measured of {} requests of the head, {}", exact(check.requests), source(check.stage)));
    if let Some(reason) = &check.reason {
        lines.push(format!("  {reason}"));
    }
    if check.stage == Stage::Simulated || check.stage == Stage::Bound {
        lines.push(String::new());
        lines.extend(by_seed(check, comparison).into_iter().map(|line| format!("  {line}")));
    }
    lines.push(String::new());
    let held = |value: Option<f64>| value.map_or("no steady value".to_owned(), |v| show::held(check.against, check.unit, v));
    let what = match check.against {
        Against::Value => "value of the head",
        Against::Difference => "head less base",
        Against::Change => "head over base, less 1",
    };
    lines.push(format!("  {what}: {}, to be {}", held(check.value), show::limit(check)));
    if check.stage >= Stage::Bound {
        let interval = match (check.low, check.high) {
            (Some(low), Some(high)) => format!("{} .. {}", held(Some(low)), held(Some(high))),
            _ => "unknown".to_owned(),
        };
        let how = if check.stage == Stage::Sized { "known bounds" } else { "interval (Student's t over the seeds)" };
        lines.push(format!("  {how}, {}: {interval}", confidence(comparison.confidence)));
        let error = model_error(comparison, check);
        lines.push(format!("  if every step is {} faster: {}; slower: {}", percent(error), held(check.faster), held(check.slower)));
    }
    let doubt = doubt(check, model_error(comparison, check));
    if !doubt.is_empty() {
        lines.push(format!("  {}: {doubt}", check.verdict.name()));
    }
    lines.join("\n") + "\n"
}

fn source(stage: Stage) -> &'static str {
    match stage {
        Stage::Tokens => "counted: exact over the requests drawn",
        Stage::Bound => "an analytic bound from their means, no simulation",
        Stage::Simulated => "simulated",
        Stage::Sized => "by a search for the least number of replicas",
    }
}

fn by_seed(check: &CheckReport, comparison: &Comparison) -> Vec<String> {
    let scenario = comparison.scenarios.iter().find(|s| s.name == check.scenario);
    let seeds = scenario.and_then(|s| s.head.as_ref()).map(|side| side.fingerprint.seeds.clone()).unwrap_or_default();
    let value = |values: &[Option<f64>], i: usize| values.get(i).copied().flatten();
    let shown = |v: Option<f64>| v.map_or(NONE.to_owned(), |v| show::value(check.unit, v));
    let rows: Vec<Vec<String>> = (0..check.head_by_seed.len())
        .map(|i| {
            let (base, head) = (value(&check.base_by_seed, i), value(&check.head_by_seed, i));
            let by = tokentide_compare::estimate::compared(check.against, base, head);
            let by = if by.is_nan() { NONE.to_owned() } else { show::held(check.against, check.unit, by) };
            vec![seeds.get(i).map_or(NONE.to_owned(), u64::to_string), shown(base), shown(head), by]
        })
        .collect();
    table(&["seed", "base", "head", "held against the limit"], &rows, 0)
}
