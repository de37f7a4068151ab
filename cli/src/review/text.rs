//! For a terminal.

use clap::builder::styling::Style;
use tokentide_compare::report::{CheckReport, Comparison, Presence, Row, ScenarioComparison};
use tokentide_compare::verdict::Verdict;
use tokentide_models::show::exact_rounded;

use super::How;
use super::words::{by_verdict, cells, confidence, counted, interval, moved, of, overloaded, said, subject, tally, worth_reading};
use crate::text::style::{BAD, DIM, GOOD, HEADING, WARN, paint};
use crate::text::table::{table, wrap};

/// Styled text; ends with a line feed.
pub fn text(comparison: &Comparison, how: &How) -> String {
    let mut lines = Vec::new();
    let base = comparison.base.as_deref().unwrap_or("no base");
    lines.push(paint(DIM, &format!("{base} -> {}", comparison.head)));
    if how.checks {
        let worst = comparison.checks.iter().map(|check| check.verdict).max();
        lines.push(paint(style(worst.unwrap_or(Verdict::Pass)), &tally(comparison)));
    }
    lines.extend(wrap(&comparison.headline, how.width).iter().map(|line| paint(HEADING, line)));
    if how.checks {
        lines.push(String::new());
        lines.extend(checks(comparison, how));
    }
    for scenario in &comparison.scenarios {
        lines.push(String::new());
        lines.extend(of_scenario(scenario, comparison, how));
    }
    lines.push(String::new());
    lines.extend(notes(comparison, how));
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => GOOD,
        Verdict::Skipped => DIM,
        Verdict::Inconclusive | Verdict::Fragile | Verdict::Warn => WARN,
        Verdict::Fail => BAD,
    }
}

fn checks(comparison: &Comparison, how: &How) -> Vec<String> {
    let mut lines = Vec::new();
    for check in by_verdict(comparison) {
        let (name, subject) = (check.verdict.name(), subject(check, comparison));
        let id = if check.id.starts_with(&check.assert) { String::new() } else { format!("{}: ", check.id) };
        lines.push(format!("{}  {id}{subject}", paint(style(check.verdict), &format!("{name:<12}"))));
        lines.extend(wrap(&said(check, comparison), how.width.saturating_sub(14)).iter().map(|line| format!("{:14}{line}", "")));
    }
    lines
}

fn of_scenario(scenario: &ScenarioComparison, comparison: &Comparison, how: &How) -> Vec<String> {
    let mut lines = vec![paint(HEADING, &scenario.name)];
    let told = comparison.headline.contains(&scenario.headline) && scenario.headline.len() > 20;
    if (comparison.scenarios.len() > 1 && !told) || scenario.presence != Presence::Both {
        lines.extend(wrap(&scenario.headline, how.width - 2).iter().map(|line| format!("  {line}")));
    }
    for change in &scenario.changes {
        let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "unset".to_owned());
        lines.push(format!("  {}  {} -> {}", change.path, value(&change.base), value(&change.head)));
    }
    let overloaded = overloaded(scenario);
    let compared = scenario.presence == Presence::Both;
    let shown: Vec<&Row> = worth_reading(scenario, how.all || !compared);
    if !shown.is_empty() {
        let header = if compared { vec!["", "base", "head", "change", "interval"] } else { vec!["", "head"] };
        let row = |row: &&Row| {
            let [base, head, change] = cells(row, overloaded);
            if compared { vec![of(row), base, head, change, interval(row)] } else { vec![of(row), head] }
        };
        lines.push(String::new());
        lines.extend(table(&header, &shown.iter().map(row).collect::<Vec<_>>(), 1).into_iter().map(|line| format!("  {line}")));
    }
    let rest = scenario.rows.iter().filter(|row| !row.changed).count();
    if compared && rest > 0 && !how.all {
        lines.push(paint(DIM, &format!("  {rest} figures did not change beyond noise (--all shows them)")));
    }
    lines.extend(sources(scenario, how));
    lines
}

fn sources(scenario: &ScenarioComparison, how: &How) -> Vec<String> {
    let any = scenario.sources.iter().any(|s| (s.head - s.base).abs() >= 0.5);
    if scenario.sources.is_empty() || !(any || how.all) {
        return Vec::new();
    }
    let rows: Vec<Vec<String>> = scenario
        .sources
        .iter()
        .filter(|s| how.all || scenario.sources.iter().any(|o| o.class == s.class && (o.head - o.base).abs() >= 0.5))
        .map(|s| vec![s.class.clone(), s.source.clone(), exact_rounded(s.base), exact_rounded(s.head), moved(s)])
        .collect();
    let mut lines = vec![String::new(), "  prompt tokens per request, by source".to_owned()];
    lines.extend(table(&["", "", "base", "head", "change"], &rows, 2).into_iter().map(|line| format!("  {line}")));
    lines
}

fn notes(comparison: &Comparison, how: &How) -> Vec<String> {
    let mut notes = comparison.notes.clone();
    for scenario in &comparison.scenarios {
        for (name, side) in [("base", &scenario.base), ("head", &scenario.head)] {
            let Some(side) = side else { continue };
            if side.state.as_deref() == Some("overloaded") {
                notes.push(format!(
                    "{}: the {name} is overloaded: latencies grow for as long as the load goes on, so there is none to compare",
                    scenario.name
                ));
            }
            notes.extend(side.out_of_range.iter().map(|text| format!("{}, {name}: {text}", scenario.name)));
        }
        let said = scenario.head.iter().flat_map(|side| &side.notes);
        notes.extend(
            said.map(|note| if comparison.scenarios.len() > 1 { format!("{}: {note}", scenario.name) } else { note.clone() }),
        );
    }
    let simulated = comparison.scenarios.iter().filter_map(|s| s.head.as_ref()).any(|side| side.state.is_some());
    if simulated && comparison.base.is_some() {
        notes.push(format!(
            "{} paired runs of each side on the same requests; intervals of {}; {}",
            comparison.replications,
            confidence(comparison.confidence),
            counted(comparison)
        ));
    }
    let mut lines = Vec::new();
    for note in notes {
        for (i, line) in wrap(&note, how.width.saturating_sub(6)).iter().enumerate() {
            lines.push(paint(DIM, &format!("{}{line}", if i == 0 { "note: " } else { "      " })));
        }
    }
    lines
}

/// One line of a check, without style.
pub fn line(check: &CheckReport, comparison: &Comparison) -> String {
    format!("{}: {}", subject(check, comparison), said(check, comparison))
}
