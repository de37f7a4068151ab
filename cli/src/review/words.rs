//! Phrases that the formats share.

use tokentide_compare::metric::Unit;
use tokentide_compare::report::{CheckReport, Comparison, Row, ScenarioComparison, SourceRow};
use tokentide_compare::show;
use tokentide_compare::verdict::Verdict;
use tokentide_models::show::{NONE, exact_rounded, percent};

/// Verdicts from the worst to the best, and how several of each are called.
const VERDICTS: [(Verdict, &str); 6] = [
    (Verdict::Fail, "failed"),
    (Verdict::Warn, "over a warning level"),
    (Verdict::Fragile, "fragile"),
    (Verdict::Inconclusive, "inconclusive"),
    (Verdict::Skipped, "skipped"),
    (Verdict::Pass, "passed"),
];

/// `1 check failed, 1 fragile, 6 passed`.
pub fn tally(comparison: &Comparison) -> String {
    let count = |verdict: Verdict| comparison.checks.iter().filter(|check| check.verdict == verdict).count();
    let counts: Vec<(usize, &str)> = VERDICTS.iter().map(|(v, word)| (count(*v), *word)).filter(|(n, _)| *n > 0).collect();
    let text = |(i, (n, word)): (usize, &(usize, &str))| match (i, n) {
        (0, 1) => format!("1 check {word}"),
        (0, n) => format!("{n} checks {word}"),
        _ => format!("{n} {word}"),
    };
    counts.iter().enumerate().map(text).collect::<Vec<_>>().join(", ")
}

/// Checks, the worst first.
pub fn by_verdict(comparison: &Comparison) -> Vec<&CheckReport> {
    let mut checks: Vec<&CheckReport> = comparison.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    checks
}

/// Whether a side has no steady state.
pub fn overloaded(scenario: &ScenarioComparison) -> [bool; 2] {
    let is = |side: &Option<tokentide_compare::report::SideReport>| {
        side.as_ref().and_then(|side| side.state.as_deref()) == Some("overloaded")
    };
    [is(&scenario.base), is(&scenario.head)]
}

/// What a row is of, such as `TTFT p95, class rag`.
pub fn of(row: &Row) -> String {
    if row.only.is_empty() { row.label.clone() } else { format!("{}, {}", row.label, row.only) }
}

/// The rows of a scenario that are worth reading: what changed, or all of them. That a latency is not steady is said once.
pub fn worth_reading(scenario: &ScenarioComparison, all: bool) -> Vec<&Row> {
    let states = overloaded(scenario);
    let unsteady = |row: &Row| {
        let latency = row.unit == Unit::Milliseconds;
        latency && (row.base.is_none() && states[0] || row.head.is_none() && states[1])
    };
    let worth = |row: &&Row| all || (row.changed && (row.metric == "ttft.p95" || !unsteady(row)));
    scenario.rows.iter().filter(worth).collect()
}

/// What token counts rest on.
pub fn counted(comparison: &Comparison) -> &'static str {
    let sides = comparison.scenarios.iter().flat_map(|s| [&s.base, &s.head]).flatten();
    let approximate = sides.filter_map(|side| side.fingerprint.tokenizer.as_deref()).any(|id| id.contains("characters per token"));
    if approximate { "token counts have no noise, but those of prompt files are approximate" } else { "token counts are exact" }
}

/// A confidence, such as `99 %`.
pub fn confidence(share: f64) -> String {
    format!("{} %", tokentide_models::show::digits(share * 100.0).trim_end_matches('0').trim_end_matches('.'))
}

/// Base, head and change of a row.
pub fn cells(row: &Row, overloaded: [bool; 2]) -> [String; 3] {
    [
        show::side(row.unit, row.base, overloaded[0]),
        show::side(row.unit, row.head, overloaded[1]),
        if row.difference == Some(0.0) { "=".to_owned() } else { show::row_change(row) },
    ]
}

/// The interval of a row's difference; empty where there is none.
pub fn interval(row: &Row) -> String {
    match (row.low, row.high) {
        // The runs of a trace are all the same, but for rounding.
        (Some(low), Some(high)) if high - low > 1e-9 * high.abs().max(low.abs()) => {
            format!("{} .. {}", show::difference(row.unit, low), show::difference(row.unit, high))
        }
        _ => String::new(),
    }
}

/// What a check found, such as `912 ms, more than 800 ms`; relative ones say both.
pub fn found(check: &CheckReport) -> String {
    let unsteady =
        if check.unit == Unit::Milliseconds { "overloaded: it grows for as long as the load goes on" } else { "none suffices" };
    let held = |value: Option<f64>| value.map_or(unsteady.to_owned(), |v| show::held(check.against, check.unit, v));
    let sides = match (check.base, check.head) {
        (Some(base), Some(head)) => {
            format!("{} -> {}", show::value(check.unit, base), show::value(check.unit, head))
        }
        (None, Some(head)) => show::value(check.unit, head),
        _ => NONE.to_owned(),
    };
    match (check.verdict, check.against) {
        (Verdict::Skipped, _) => check.reason.clone().unwrap_or_default(),
        (_, tokentide_compare::assertion::Against::Value) => held(check.value),
        _ => format!("{} ({sides})", held(check.value)),
    }
}

/// Why the verdict is not simply pass or fail; empty if it is.
pub fn doubt(check: &CheckReport, model_error: f64) -> String {
    let held = |value: f64| show::held(check.against, check.unit, value);
    let end = |value: Option<f64>| value.map_or("no steady value".to_owned(), held);
    match check.verdict {
        Verdict::Inconclusive => match (check.low, check.high, &check.reason) {
            (_, _, Some(reason)) => reason.clone(),
            (Some(low), Some(high), None) => {
                format!("the interval {} .. {} straddles the limit: more --replications settle it", held(low), held(high))
            }
            _ => "what is known does not settle it".to_owned(),
        },
        Verdict::Fragile => format!(
            "{} if every step is {} faster, {} if it is slower: a profile of your own server settles it (tokentide calibrate)",
            end(check.faster),
            percent(model_error),
            end(check.slower)
        ),
        _ => String::new(),
    }
}

/// What a check found, and why that does not settle it.
pub fn said(check: &CheckReport, comparison: &Comparison) -> String {
    let doubt = doubt(check, model_error(comparison, check));
    if doubt.is_empty() { found(check) } else { format!("{}; {doubt}", found(check)) }
}

/// By how much a source changed; `=` below half a token.
pub fn moved(source: &SourceRow) -> String {
    let by = source.head - source.base;
    if by.abs() < 0.5 { "=".to_owned() } else { format!("{}{}", if by < 0.0 { "" } else { "+" }, exact_rounded(by)) }
}

/// Error assumed of the scenario that a check is about.
pub fn model_error(comparison: &Comparison, check: &CheckReport) -> f64 {
    let scenario = comparison.scenarios.iter().find(|s| s.name == check.scenario);
    scenario.and_then(|s| s.head.as_ref()).map_or(0.0, |side| side.model_error)
}

/// Replicas tried and whether they do: `1 no, 2 yes`.
pub fn curve(curve: &[(u32, f64)]) -> String {
    let text = |(n, margin): &(u32, f64)| format!("{n} {}", if *margin >= 0.0 { "yes" } else { "no" });
    curve.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// What a check is of: its metric and whose requests, and the scenario where there are several.
pub fn subject(check: &CheckReport, comparison: &Comparison) -> String {
    let mut text = check.assert.clone();
    if !check.only.is_empty() {
        text += &format!(" [{}]", check.only);
    }
    if comparison.scenarios.len() > 1 {
        text += &format!(" in {}", check.scenario);
    }
    text
}
