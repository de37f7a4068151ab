//! The main figures of a result as tables, which read without JavaScript too.

use serde_json::Value;

use crate::Kind;
use crate::spec::{items, number, text};

/// A table of texts.
pub struct Table {
    pub title: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Rows of a sweep that are shown; the file has all.
const SWEEP_ROWS: usize = 200;

pub fn tables(kind: Kind, result: &Value) -> Vec<Table> {
    let tables = match kind {
        Kind::Simulate => vec![figures(result), latencies(result), targets(items(result, "/summary/slo/targets"))],
        Kind::Plan => vec![options(result)],
        Kind::Diff => items(result, "/scenarios").iter().map(rows).chain([checks(result)]).collect(),
        Kind::Sweep => vec![points(result)],
    };
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { title: title.to_owned(), head: head.iter().map(|&name| name.to_owned()).collect(), rows }
}

/// A number to four digits, or as many as it has before the point; a dash where there is none.
pub fn show(cell: &Value) -> String {
    match cell {
        Value::Null => "-".to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(count), _) => count.to_string(),
            (None, Some(x)) if x.fract() == 0.0 => format!("{x:.0}"),
            (None, Some(x)) => {
                let before = x.abs().log10().floor() as i32 + 1;
                format!("{x:.*}", usize::try_from(4 - before).unwrap_or(0).min(6))
            }
            _ => number.to_string(),
        },
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => crate::sweep::said(other),
    }
}

fn at(value: &Value, pointer: &str) -> String {
    show(value.pointer(pointer).unwrap_or(&Value::Null))
}

fn figures(report: &Value) -> Table {
    let figures = [
        ("requests", "/summary/requests/total", ""),
        ("completed", "/summary/requests/completed", ""),
        ("state", "/summary/capacity/state", ""),
        ("load, offered over knee", "/summary/capacity/load", ""),
        ("throughput", "/summary/output_tokens_per_s", "output tokens/s"),
        ("input", "/summary/input_tokens_per_s", "tokens/s"),
        ("KV blocks in use, peak", "/summary/kv_use_peak", "share"),
        ("preemptions", "/summary/preemptions", ""),
        ("service levels met", "/summary/slo/met", ""),
        ("requests within all limits", "/summary/slo/attainment", "share"),
        ("replicas", "/model/replicas", ""),
        ("GPUs", "/summary/cost/gpus", ""),
        ("cost", "/summary/cost/usd_per_hour", "USD/h"),
        ("cost of output", "/summary/cost/usd_per_million_output_tokens", "USD per million tokens"),
    ];
    let row = |(name, path, unit): &(&str, &str, &str)| vec![(*name).to_owned(), at(report, path), (*unit).to_owned()];
    table("Main figures", &["figure", "value", "unit"], figures.iter().map(row).collect())
}

fn latencies(report: &Value) -> Table {
    let mut rows = Vec::new();
    let mut add = |of: String, group: &Value| {
        for (name, key) in
            [("TTFT", "ttft_ms"), ("TPOT", "tpot_ms"), ("ITL", "itl_ms"), ("end to end", "e2e_ms"), ("queue", "queue_ms")]
        {
            if number(group, &format!("/{key}/p50")).is_some() {
                let quantiles = ["mean", "p50", "p90", "p95", "p99", "max"].map(|q| at(group, &format!("/{key}/{q}")));
                rows.push([of.clone(), name.to_owned()].into_iter().chain(quantiles).collect());
            }
        }
    };
    add("all".to_owned(), &report["summary"]);
    let classes = items(report, "/classes");
    for class in classes.iter().filter(|_| classes.len() > 1) {
        add(text(class, "/name").to_owned(), class);
    }
    table("Latency [ms]", &["requests", "figure", "mean", "p50", "p90", "p95", "p99", "max"], rows)
}

fn targets(targets: &[Value]) -> Table {
    let row = |t: &Value| ["/class", "/target", "/limit_ms", "/value_ms", "/attainment", "/met"].map(|path| at(t, path)).to_vec();
    let head = ["class", "target", "limit [ms]", "observed [ms]", "within the limit [share]", "met"];
    table("Service levels", &head, targets.iter().map(row).collect())
}

fn options(plan: &Value) -> Table {
    let row = |option: &Value| {
        let figures = [
            "/verdict",
            "/replicas",
            "/gpus",
            "/usd_per_hour",
            "/usd_per_million_output_tokens",
            "/load",
            "/room/breaks_first",
            "/calibrated",
        ];
        let mut row = vec![crate::plan::name(option).to_owned()];
        row.extend(figures.map(|path| at(option, path)));
        row.push(text(option, "/reason").to_owned());
        row
    };
    let head = [
        "option",
        "verdict",
        "replicas",
        "GPUs",
        "USD/h",
        "USD per million output tokens",
        "load",
        "breaks first",
        "calibrated",
        "why",
    ];
    table("Options", &head, items(plan, "/options").iter().map(row).collect())
}

fn rows(scenario: &Value) -> Table {
    let row = |row: &Value| {
        let values = ["/only", "/unit", "/base", "/head", "/difference", "/low", "/high", "/changed"].map(|path| at(row, path));
        [text(row, "/label").to_owned()].into_iter().chain(values).collect()
    };
    let head = ["figure", "of", "unit", "base", "head", "difference", "low", "high", "changed"];
    let rows = items(scenario, "/rows").iter().map(row).collect();
    table(text(scenario, "/name"), &head, rows)
}

fn checks(comparison: &Value) -> Table {
    let row = |check: &Value| ["/id", "/scenario", "/assert", "/verdict", "/value", "/reason"].map(|path| at(check, path)).to_vec();
    table(
        "Checks",
        &["check", "scenario", "assertion", "verdict", "value", "why"],
        items(comparison, "/checks").iter().map(row).collect(),
    )
}

fn points(sweep: &Value) -> Table {
    let figures = [
        "replication",
        "capacity_state",
        "capacity_load",
        "ttft_ms_p95",
        "tpot_ms_p95",
        "output_tokens_per_s",
        "cost_usd_per_hour",
        "error",
    ];
    let mut columns: Vec<&str> = crate::sweep::settings(sweep).iter().map(|(name, _)| *name).collect();
    columns.extend(figures.iter().filter(|name| sweep.get(**name).is_some()));
    let count = items(sweep, "/point").len();
    // Of an overloaded run a latency says only how long the run was.
    let grows = |i: usize, name: &str| sweep["capacity_state"][i] == "overloaded" && name.contains("_ms_");
    let cell = |i: usize, name: &str| if grows(i, name) { "unstable".to_owned() } else { show(&sweep[name][i]) };
    let row = |i: usize| columns.iter().map(|name| cell(i, name)).collect();
    let title = if count > SWEEP_ROWS { format!("The first {SWEEP_ROWS} of {count} rows") } else { format!("{count} rows") };
    table(&title, &columns, (0..count.min(SWEEP_ROWS)).map(row).collect())
}
