//! What came of a sweep.

use serde_json::Value as Json;

use super::style::{self, paint};
use super::table::{clip, table, wrap};
use super::units::{NONE, count, exact, percent, time, usd};
use crate::commands::sweep::results::{PointSummary, Summary};

/// Longest value of a setting that is shown whole.
const VALUE: usize = 24;
/// Characters of a number that are shown.
const DIGITS: usize = 8;

/// The summary, styled; ends with a line feed.
pub fn summary(summary: &Summary, width: usize) -> String {
    let width = width.clamp(80, 100);
    let runs = match summary.replications {
        1 => String::new(),
        n => format!(", {} runs each", exact(u64::from(n))),
    };
    let shard = summary.shard.as_ref().map(|shard| format!(" of shard {shard}")).unwrap_or_default();
    let before = match summary.before {
        0 => String::new(),
        n => format!(", {} of them there before", exact(n)),
    };
    let place = summary.output.as_ref().map(|path| format!(" in {path}")).unwrap_or_default();
    let mut lines = vec![format!("{}{shard}{runs}{place}{before}", points(summary.points)), String::new()];
    let names = short_names(&summary.settings);
    let mut header: Vec<&str> = names.iter().map(String::as_str).collect();
    header.extend(["load", "TTFT p95", "TPOT p95", "out tok/s", "USD/h", "SLO", ""]);
    let rows: Vec<Vec<String>> = summary.shown.iter().map(row).collect();
    for (i, line) in table(&header, &rows, names.len()).into_iter().enumerate() {
        lines.push(if i == 0 { paint(style::DIM, &line) } else { line });
    }
    let more = summary.points - (summary.shown.len() as u64).min(summary.points);
    if more > 0 {
        let rest = if summary.output.is_some() { "" } else { "; -o FILE.parquet keeps all" };
        lines.push(paint(style::DIM, &format!("... and {} more{rest}", points(more))));
    }
    let any = |is: fn(&PointSummary) -> bool| summary.shown.iter().any(is);
    let mut say = |text: String, style| lines.extend(wrap(&text, width).into_iter().map(|line| paint(style, &line)));
    say(String::new(), style::DIM);
    if any(|point| point.state.as_deref() == Some("overloaded")) {
        say("unstable: more work arrives than can be done, so that latency grows with the length of the run".into(), style::DIM);
    }
    if any(|point| point.error.is_none() && !point.measured) {
        say("uncalibrated or out of the ranges measured: see the columns calibrated and out_of_range".into(), style::WARN);
    }
    for (why, times) in &summary.errors {
        say(format!("{} failed: {why}", points(*times)), style::BAD);
    }
    if summary.errors_of_other_kinds > 0 {
        say(format!("and {} more kinds of errors", summary.errors_of_other_kinds), style::BAD);
    }
    while lines.last().is_some_and(|line| line.is_empty() || *line == paint(style::DIM, "")) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn points(n: u64) -> String {
    format!("{} {}", exact(n), if n == 1 { "point" } else { "points" })
}

fn row(point: &PointSummary) -> Vec<String> {
    let value = |value: &Json| clip(&setting(value), VALUE);
    let mut row: Vec<String> = point.params.iter().map(value).collect();
    if point.error.is_some() {
        row.extend([NONE; 6].map(str::to_owned));
        row.push("failed".to_owned());
        return row;
    }
    let unstable = point.state.as_deref() == Some("overloaded");
    let latency = |ms: Option<f64>| match unstable {
        true => "unstable".to_owned(),
        false => ms.map_or(NONE.to_owned(), time),
    };
    let or_none = |value: Option<f64>, show: fn(f64) -> String| value.map_or(NONE.to_owned(), show);
    row.extend([
        or_none(point.load, percent),
        latency(point.ttft_p95_ms),
        latency(point.tpot_p95_ms),
        or_none(point.output_tokens_per_s, count),
        or_none(point.usd_per_hour, usd),
        match point.slo_met {
            None => NONE.to_owned(),
            Some(1.0) => "met".to_owned(),
            Some(0.0) => "missed".to_owned(),
            Some(share) => format!("met in {} of runs", percent(share)),
        },
        if point.measured { String::new() } else { "!".to_owned() },
    ]);
    row
}

/// A drawn number has more digits than anyone reads; the table keeps them.
fn setting(value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value.as_f64() {
        Some(number) if value.is_f64() && text.len() > DIGITS => {
            let whole = number.abs().log10().floor().max(0.0) as usize;
            format!("{number:.*}", DIGITS.saturating_sub(whole + 3))
        }
        _ => text,
    }
}

/// The last key of each path, and more of those that share it.
pub fn short_names(paths: &[String]) -> Vec<String> {
    let tail = |path: &str, keys: usize| {
        let parts: Vec<&str> = path.split('.').collect();
        parts[parts.len().saturating_sub(keys)..].join(".")
    };
    let unique = |path: &String| {
        let mut keys = 1;
        while keys < path.split('.').count() && paths.iter().any(|other| other != path && tail(other, keys) == tail(path, keys)) {
            keys += 1;
        }
        tail(path, keys)
    };
    paths.iter().map(unique).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let paths =
            ["class.rag.prompt.retrieved.top_k", "class.a.arrivals.rate", "class.b.arrivals.rate", "seed"].map(String::from);
        assert_eq!(short_names(&paths), ["top_k", "a.arrivals.rate", "b.arrivals.rate", "seed"]);
    }

    #[test]
    fn drawn_numbers_are_cut_and_typed_ones_are_not() {
        let shown = [20.38675640316237, 1256.9631771114393, 0.125, 0.01234567890123].map(|x| setting(&Json::from(x)));
        assert_eq!(shown, ["20.3868", "1256.96", "0.125", "0.01235"]);
        assert_eq!([setting(&Json::from(12)), setting(&Json::from("h200-sxm"))], ["12", "h200-sxm"]);
    }

    fn point(value: i64) -> PointSummary {
        PointSummary {
            params: vec![Json::from(value)],
            error: None,
            state: Some("stable".to_owned()),
            load: Some(0.5),
            ttft_p95_ms: Some(100.0),
            tpot_p95_ms: Some(20.0),
            output_tokens_per_s: Some(1000.0),
            usd_per_hour: Some(3.0),
            slo_met: Some(1.0),
            measured: true,
        }
    }

    #[test]
    fn no_latency_stands_where_there_is_none() {
        let overloaded = PointSummary { state: Some("overloaded".to_owned()), load: Some(1.2), slo_met: Some(0.0), ..point(1) };
        let failed = PointSummary { error: Some("too big".to_owned()), state: None, ..point(2) };
        let estimated = PointSummary { measured: false, slo_met: Some(0.5), ..point(3) };
        let text = summary(
            &Summary {
                settings: vec!["cluster.replicas".to_owned()],
                points: 5,
                replications: 2,
                run: 5,
                before: 0,
                failed: 1,
                errors: vec![("too big".to_owned(), 1)],
                errors_of_other_kinds: 0,
                output: None,
                shard: None,
                shown: vec![point(0), overloaded, failed, estimated],
            },
            100,
        );
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "5 points, 2 runs each",
                "",
                "replicas   load  TTFT p95  TPOT p95  out tok/s  USD/h                  SLO",
                "0          50 %    100 ms   20.0 ms      1,000  $3.00                  met",
                "1         120 %  unstable  unstable      1,000  $3.00               missed",
                "2             -         -         -          -      -                    -  failed",
                "3          50 %    100 ms   20.0 ms      1,000  $3.00  met in 50 % of runs       !",
                "... and 1 point more; -o FILE.parquet keeps all",
                "",
                "unstable: more work arrives than can be done, so that latency grows with the length of the run",
                "uncalibrated or out of the ranges measured: see the columns calibrated and out_of_range",
                "1 point failed: too big",
            ],
            "{text}"
        );
    }
}
