//! The one sentence: what changed, why, and what it does.

use tokentide_models::show;

use crate::metric::Unit;
use crate::report::{Row, ScenarioComparison, SettingChange, SourceRow};
use crate::show::{change, side, value};

/// A source that brings less of a prompt's change than this is not its cause [share].
const CAUSE: f64 = 0.2;
/// Whole blocks leave up to this share of a change over.
const ROUNDING: f64 = 0.05;
/// A latency that grows by less than this hardly moves [share].
const FREE: f64 = 0.1;
/// Changes of settings that are named.
const NAMED: usize = 3;

/// The sentence of a scenario.
pub fn headline(scenario: &ScenarioComparison) -> String {
    let changed: Vec<&Row> = scenario.rows.iter().filter(|row| row.changed).collect();
    let settings = named(&scenario.changes);
    if changed.is_empty() {
        return match settings.is_empty() {
            true => "No change.".to_owned(),
            false => format!("No figure changes beyond noise ({settings})."),
        };
    }
    let mut sentences = vec![tokens(scenario, &changed, &settings)];
    sentences.extend(effects(scenario, &changed));
    sentences.join(" ")
}

/// What happens to the tokens, and why.
fn tokens(scenario: &ScenarioComparison, changed: &[&Row], settings: &str) -> String {
    let because = |cause: Option<String>| match (cause, settings.is_empty()) {
        (Some(cause), true) => format!(" because {cause}"),
        (Some(cause), false) => format!(" because {cause} ({settings})"),
        (None, true) => String::new(),
        (None, false) => format!(" ({settings})"),
    };
    let most = |metric: &str| {
        let rows = changed.iter().filter(|row| row.metric == metric);
        rows.max_by(|a, b| weight(a).total_cmp(&weight(b))).copied()
    };
    let whose = |row: &Row| if row.only.is_empty() { "request".to_owned() } else { format!("request of {}", row.only) };
    if let (Some(input), Some(output), None) = (most("input_tokens.mean"), most("output_tokens.mean"), most("requests"))
        && let Some(all) = scenario.rows.iter().find(|row| row.metric == "total_tokens.sum")
        && let (Some(requests), Some(times)) = (requests(scenario), all.change)
    {
        let ratio = |row: &Row| row.change.map_or(show::NONE.to_owned(), change);
        return format!(
            "The same {} requests bring {} tokens: {} -> {} (input {}, output {}){}.",
            show::exact_rounded(requests),
            if times >= 1.0 { format!("{} the", change(times)) } else { change(times) },
            all.base.map_or(show::NONE.to_owned(), show::exact_rounded),
            all.head.map_or(show::NONE.to_owned(), show::exact_rounded),
            ratio(input),
            ratio(output),
            because(None)
        );
    }
    if let Some(row) = most("input_tokens.mean") {
        let cause = cause(&scenario.sources, row);
        return format!("Input tokens per {} {}{}{}.", whose(row), moved(row), because(cause), cached(scenario, row));
    }
    if let Some(row) = most("output_tokens.mean") {
        return format!("Output tokens per {} {}{}.", whose(row), moved(row), because(None));
    }
    if let Some(row) = most("requests") {
        return format!("Requests{} {}{}.", of(row), moved(row), because(None));
    }
    format!("Every request has the tokens that it had{}.", because(None))
}

/// Requests of a run, all classes.
fn requests(scenario: &ScenarioComparison) -> Option<f64> {
    scenario.rows.iter().filter(|row| row.metric == "requests").map(|row| row.head).sum()
}

fn of(row: &Row) -> String {
    if row.only.is_empty() { String::new() } else { format!(" of {}", row.only) }
}

fn weight(row: &Row) -> f64 {
    row.difference.map_or(0.0, f64::abs)
}

/// `rise 5,512 -> 9,512 (+73 %)`.
fn moved(row: &Row) -> String {
    let verb = if row.difference.is_some_and(|d| d < 0.0) { "fall" } else { "rise" };
    let share = row.change.map(|c| format!(" ({})", change(c))).unwrap_or_default();
    let value = |v: Option<f64>| v.map_or(show::NONE.to_owned(), |v| value(row.unit, v));
    format!("{verb} {} -> {}{share}", value(row.base), value(row.head))
}

/// The sources that brought most of it.
fn cause(sources: &[SourceRow], row: &Row) -> Option<String> {
    let all = row.difference?;
    let class = row.only.strip_prefix("class ").unwrap_or_default();
    let mut mine: Vec<&SourceRow> = sources.iter().filter(|s| s.class.is_empty() || s.class == class).collect();
    mine.retain(|s| (s.head - s.base) / all >= CAUSE);
    mine.sort_by(|a, b| (b.head - b.base).abs().total_cmp(&(a.head - a.base).abs()));
    let text = |s: &&SourceRow| {
        let how = match s.base > 0.0 {
            true if s.head > s.base => format!("grew {}", times(s.head / s.base)),
            true if s.head > 0.0 => format!("shrank to {}", show::percent(s.head / s.base)),
            true => "is gone".to_owned(),
            false => format!("came in with {}", show::exact_rounded(s.head)),
        };
        format!("`{}` {how}", s.source)
    };
    let texts: Vec<String> = mine.iter().take(2).map(text).collect();
    (!texts.is_empty()).then(|| texts.join(" and "))
}

fn times(ratio: f64) -> String {
    format!("{}x", show::digits(ratio).trim_end_matches('0').trim_end_matches('.'))
}

/// What the prefix cache makes of it.
fn cached(scenario: &ScenarioComparison, input: &Row) -> String {
    let prefill = scenario.rows.iter().find(|row| row.metric == "prefill_tokens.mean" && row.only == input.only);
    let Some((prefill, more)) = prefill.and_then(|row| Some((row, row.difference?))) else { return String::new() };
    let all = input.difference.unwrap_or_default();
    if all > 0.0 && more < 0.2 * all {
        let left =
            if more < ROUNDING * all { "all of it".to_owned() } else { format!("all but {} of it", show::exact_rounded(more)) };
        let free = if nearly_free(scenario) { ", so it is nearly free" } else { ", but every answer's steps read it" };
        return format!("; the prefix cache takes {left}{free}");
    }
    let (Some(base), Some(head), Some(share)) = (prefill.base, prefill.head, prefill.change) else { return String::new() };
    if prefill.base == input.base && prefill.head == input.head {
        return String::new();
    }
    format!(
        "; to compute after the prefix cache: {} -> {} ({})",
        value(Unit::Tokens, base),
        value(Unit::Tokens, head),
        change(share)
    )
}

/// Whether what was added costs next to nothing: no replica more, and latencies that hardly move.
fn nearly_free(scenario: &ScenarioComparison) -> bool {
    scenario.rows.iter().filter(|row| row.changed).all(|row| match row.unit {
        Unit::Milliseconds => row.change.is_some_and(|c| c.abs() < FREE),
        _ => !["replicas.required", "cost.month"].contains(&row.metric.as_str()),
    })
}

/// What it does: latency that changed most, replicas, money.
fn effects(scenario: &ScenarioComparison, changed: &[&Row]) -> Vec<String> {
    let overloaded = |of: &Option<crate::report::SideReport>| of.as_ref().and_then(|s| s.state.as_deref()) == Some("overloaded");
    let (was, is) = (overloaded(&scenario.base), overloaded(&scenario.head));
    let find = |metric: &str| changed.iter().find(|row| row.metric == metric).copied();
    let mut parts = Vec::new();
    if is != was {
        let load = scenario.rows.iter().find(|row| row.metric == "load").and_then(|row| row.head);
        let load = load.map(|load| format!(" (load {})", show::percent(load))).unwrap_or_default();
        parts.push(if is {
            format!("The replicas configured cannot carry it{load}")
        } else {
            format!("The replicas configured carry it{load}")
        });
    } else {
        let latencies = ["ttft.p95", "tpot.p95"].iter().flat_map(|m| changed.iter().filter(move |row| row.metric == **m));
        let most = latencies.max_by(|a, b| a.change.unwrap_or(0.0).abs().total_cmp(&b.change.unwrap_or(0.0).abs()));
        parts.extend(most.map(|row| {
            let arrow = format!("{} -> {}", side(row.unit, row.base, was), side(row.unit, row.head, is));
            format!("{}{}: {arrow}", row.label, of(row))
        }));
    }
    let arrow = |row: &Row| {
        let show = |v: Option<f64>| v.map_or("none suffices".to_owned(), |v| value(row.unit, v));
        format!("{} -> {}", show(row.base), show(row.head))
    };
    let replicas = find("replicas.required").map(|row| format!("Replicas for the SLO: {}", arrow(row)));
    let cost = find("cost.month").map(|row| format!("{} a month", arrow(row)));
    match (replicas, cost) {
        (Some(replicas), Some(cost)) => parts.push(format!("{replicas} ({cost})")),
        (replicas, cost) => parts.extend(replicas.or(cost.map(|cost| format!("GPUs for the SLO: {cost}")))),
    }
    parts.into_iter().map(|part| part + ".").collect()
}

/// The settings that changed: `class.rag.prompt.retrieved.top_k 4 -> 12`.
fn named(changes: &[SettingChange]) -> String {
    let text = |c: &SettingChange| {
        let show = |v: &Option<String>| v.as_deref().map_or("unset".to_owned(), short);
        format!("{} {} -> {}", c.path, show(&c.base), show(&c.head))
    };
    let mut texts: Vec<String> = changes.iter().take(NAMED).map(text).collect();
    if changes.len() > NAMED {
        texts.push(format!("{} more", changes.len() - NAMED));
    }
    texts.join(", ")
}

/// A value that fits into a sentence.
fn short(text: &str) -> String {
    match text.chars().count() {
        0..=40 => text.to_owned(),
        _ => text.chars().take(39).collect::<String>() + "…",
    }
}
