//! Charts of a simulation: its report as JSON, with `distributions` beside the printed fields.

use serde_json::{Value, json};

use crate::spec::{ALARM, WIDTH, doubts, number, spec};
use crate::{Chart, NoChart};

/// How requests are told apart in a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Not at all.
    All,
    /// By class.
    Class,
    /// By input tokens.
    InputBucket,
}

impl By {
    /// From its word.
    pub fn parse(word: &str) -> Option<By> {
        [("all", By::All), ("class", By::Class), ("input_bucket", By::InputBucket)]
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, by)| *by)
    }

    fn kind(self) -> &'static str {
        match self {
            By::All => "all",
            By::Class => "class",
            By::InputBucket => "input tokens",
        }
    }
}

/// A latency that has a distribution: its field, what it is called, and how limits on it begin.
struct Latency {
    name: &'static str,
    field: &'static str,
    title: &'static str,
    target: &'static str,
}

const LATENCIES: [Latency; 5] = [
    Latency { name: "queue_cdf", field: "queue_ms", title: "queue time", target: "queue_" },
    Latency { name: "ttft_cdf", field: "ttft_ms", title: "time to first token", target: "ttft_" },
    Latency { name: "tpot_cdf", field: "tpot_ms", title: "time per output token", target: "tpot_" },
    Latency { name: "itl_cdf", field: "itl_ms", title: "gap between tokens", target: "itl_" },
    Latency { name: "e2e_cdf", field: "e2e_ms", title: "arrival to last token", target: "e2e_" },
];

/// Names of the charts of a run.
pub const CHARTS: [&str; 8] =
    ["ttft_cdf", "tpot_cdf", "itl_cdf", "e2e_cdf", "queue_cdf", "kv_timeline", "throughput_timeline", "tokens_by_source"];

/// One of [`CHARTS`]. `by` tells requests apart in distributions.
///
/// # Errors
/// If there is no such chart, or the run observed nothing of it.
pub fn chart(report: &Value, name: &str, by: By) -> Result<Chart, NoChart> {
    if let Some(latency) = LATENCIES.iter().find(|latency| latency.name == name) {
        return cdf(report, latency, by);
    }
    match name {
        "kv_timeline" => Ok(kv_timeline(report)),
        "throughput_timeline" => Ok(throughput_timeline(report)),
        "tokens_by_source" => tokens_by_source(report),
        other => Err(NoChart(format!("a run has no chart `{other}`: it has {}", CHARTS.join(", ")))),
    }
}

/// The share of requests up to a latency, and the targets it is held to.
fn cdf(report: &Value, latency: &Latency, by: By) -> Result<Chart, NoChart> {
    let mut data = Vec::new();
    for distribution in list(report, "/distributions") {
        if distribution["figure"] == latency.field && distribution["kind"] == by.kind() {
            data.extend(
                list(distribution, "/points")
                    .iter()
                    .map(|point| json!({ "group": distribution["group"], "ms": point[0], "share": point[1] })),
            );
        }
    }
    if data.is_empty() {
        return Err(NoChart(format!("there is no {} to show: nothing was observed", latency.title)));
    }
    let limits: Vec<Value> = list(report, "/summary/slo/targets")
        .iter()
        .filter(|target| target["target"].as_str().is_some_and(|name| name.starts_with(latency.target)))
        .map(|target| {
            let label = format!("{} {}", text(target, "class"), text(target, "target"));
            json!({ "limit": target["limit_ms"], "label": label })
        })
        .collect();
    let line = json!({
        "mark": { "type": "line", "interpolate": "step-after", "clip": true },
        "encoding": {
            "x": { "field": "ms", "type": "quantitative", "title": format!("{} [ms]", latency.title), "scale": { "type": "log" } },
            "y": { "field": "share", "type": "quantitative", "title": "share of requests up to it", "axis": { "format": ".0%" } },
            "color": { "field": "group", "type": "nominal", "title": by.kind(), "sort": null,
                       "legend": if by == By::All { Value::Null } else { json!({}) } },
            "tooltip": [
                { "field": "group", "title": by.kind() },
                { "field": "ms", "format": ".4s", "title": "ms" },
                { "field": "share", "format": ".2%" },
            ],
        },
        "transform": [{ "filter": "datum.ms > 0" }],
    });
    let rule = json!({
        "data": { "values": limits },
        "mark": { "type": "rule", "color": ALARM, "strokeDash": [4, 4] },
        "encoding": { "x": { "field": "limit", "type": "quantitative" }, "tooltip": [{ "field": "label" }, { "field": "limit" }] },
    });
    let layers = if limits.is_empty() { vec![line] } else { vec![line, rule] };
    let title = format!("{}: {}", text(report, "scenario"), latency.title);
    Ok(Chart { name: latency.name, spec: spec(&title, &doubts(report), data, json!({ "layer": layers })) })
}

/// KV blocks in use, and the requests that run and wait.
fn kv_timeline(report: &Value) -> Chart {
    let data = over_time(report, &["kv_use", "kv_use_max", "running", "waiting_requests"]);
    let use_of_blocks = json!({
        "height": 160,
        "transform": [{ "fold": ["kv_use", "kv_use_max"], "as": ["series", "value"] }],
        "mark": { "type": "line", "interpolate": "monotone" },
        "encoding": {
            "x": number("t_s", "time [s]"),
            "y": { "field": "value", "type": "quantitative", "title": "KV blocks in use", "axis": { "format": ".0%" },
                   "scale": { "domain": [0, 1] } },
            "color": { "field": "series", "type": "nominal", "title": null, "scale": named(&[("kv_use", 0), ("kv_use_max", 1)]) },
        },
    });
    let requests = json!({
        "height": 160,
        "transform": [{ "fold": ["running", "waiting_requests"], "as": ["series", "value"] }],
        "mark": { "type": "line", "interpolate": "monotone" },
        "encoding": {
            "x": number("t_s", "time [s]"),
            "y": number("value", "requests, all replicas"),
            "color": { "field": "series", "type": "nominal", "title": null,
                       "scale": named(&[("running", 2), ("waiting_requests", 3)]) },
        },
    });
    let drawn = json!({ "vconcat": [sized(use_of_blocks), sized(requests)], "resolve": { "scale": { "color": "independent" } } });
    let title = format!("{}: KV cache and queue over time", text(report, "scenario"));
    Chart { name: "kv_timeline", spec: spec(&title, &doubts(report), data, drawn) }
}

/// Tokens that came and went.
fn throughput_timeline(report: &Value) -> Chart {
    let width = report.pointer("/timeline/bin_s").and_then(Value::as_f64).unwrap_or(1.0);
    let data = over_time(report, &["input_tokens", "cached_tokens", "output_tokens"]);
    let drawn = json!({
        "transform": [
            { "fold": ["input_tokens", "cached_tokens", "output_tokens"], "as": ["series", "tokens"] },
            { "calculate": format!("datum.tokens / {width}"), "as": "rate" },
        ],
        "mark": { "type": "line", "interpolate": "monotone" },
        "encoding": {
            "x": number("t_s", "time [s]"),
            "y": number("rate", "tokens/s, all replicas"),
            "color": { "field": "series", "type": "nominal", "title": null,
                       "scale": named(&[("input_tokens", 0), ("cached_tokens", 2), ("output_tokens", 1)]) },
        },
    });
    let title = format!("{}: tokens over time", text(report, "scenario"));
    Chart { name: "throughput_timeline", spec: spec(&title, &doubts(report), data, drawn) }
}

/// Where the tokens of a prompt come from, by class.
fn tokens_by_source(report: &Value) -> Result<Chart, NoChart> {
    let mut data = Vec::new();
    for class in list(report, "/classes") {
        let requests = class["requests"].as_f64().unwrap_or(0.0);
        for (source, tokens) in class["input_tokens_by_source"].as_object().into_iter().flatten() {
            let mean = tokens.as_f64().unwrap_or(0.0) / requests.max(1.0);
            data.push(json!({ "class": class["name"], "source": source, "tokens": mean }));
        }
    }
    if data.is_empty() {
        return Err(NoChart("the sources of the input tokens are not known".to_owned()));
    }
    let drawn = json!({
        "height": { "step": 40 },
        "mark": "bar",
        "encoding": {
            "x": { "field": "tokens", "type": "quantitative", "title": "input tokens per request, mean", "stack": "zero" },
            "y": { "field": "class", "type": "nominal", "title": null, "sort": null },
            "color": { "field": "source", "type": "nominal", "title": "source", "sort": null },
            "order": { "aggregate": "sum", "field": "tokens", "sort": "descending" },
            "tooltip": [{ "field": "class" }, { "field": "source" }, { "field": "tokens", "format": ",.0f" }],
        },
    });
    let title = format!("{}: input tokens by source", text(report, "scenario"));
    Ok(Chart { name: "tokens_by_source", spec: spec(&title, &[], data, drawn) })
}

/// A row per bin of the timeline.
fn over_time(report: &Value, fields: &[&str]) -> Vec<Value> {
    let timeline = &report["timeline"];
    let width = timeline["bin_s"].as_f64().unwrap_or(1.0);
    let bins = fields.iter().map(|field| list(timeline, &format!("/{field}")).len()).max().unwrap_or(0);
    let row = |bin: usize| {
        let mut row = json!({ "t_s": bin as f64 * width });
        fields.iter().for_each(|field| row[*field] = timeline[*field][bin].clone());
        row
    };
    (0..bins).map(row).collect()
}

/// Part of a chart of several.
fn sized(mut part: Value) -> Value {
    part["width"] = json!(WIDTH);
    part
}

/// A scale that gives each series the colour of this number.
fn named(series: &[(&str, usize)]) -> Value {
    let (names, colours): (Vec<&str>, Vec<&str>) =
        series.iter().map(|(name, colour)| (*name, crate::spec::COLOURS[*colour])).unzip();
    json!({ "domain": names, "range": colours })
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        json!({
            "scenario": "a <b>",
            "summary": {
                "capacity": { "state": "overloaded" },
                "slo": { "targets": [{ "class": "chat", "target": "ttft_p95", "limit_ms": 800.0 },
                                     { "class": "chat", "target": "tpot_p95", "limit_ms": 50.0 }] },
            },
            "model": { "calibrated": false, "out_of_range": ["batch: 300 of 256"] },
            "classes": [{ "name": "chat", "requests": 10, "input_tokens_by_source": { "user": 100, "system": 4000 } }],
            "timeline": { "bin_s": 2.0, "kv_use": [0.1, 0.2], "kv_use_max": [0.2, 0.3], "running": [1.0, 2.0],
                          "waiting_requests": [0.0, 1.0], "input_tokens": [10, 20], "cached_tokens": [0, 0],
                          "output_tokens": [5, 6] },
            "distributions": [
                { "kind": "all", "group": "all", "figure": "ttft_ms", "points": [[100.0, 0.5], [900.0, 1.0]] },
                { "kind": "class", "group": "chat", "figure": "ttft_ms", "points": [[100.0, 0.5], [900.0, 1.0]] },
            ],
        })
    }

    #[test]
    fn a_distribution_has_its_own_limits_and_every_doubt() {
        let chart = chart(&report(), "ttft_cdf", By::Class).unwrap();
        assert_eq!(chart.spec["data"]["values"][1], json!({ "group": "chat", "ms": 900.0, "share": 1.0 }));
        let limits = chart.spec["layer"][1]["data"]["values"].as_array().unwrap();
        assert_eq!(limits, &[json!({ "limit": 800.0, "label": "chat ttft_p95" })]);
        let doubts = chart.spec["title"]["subtitle"].as_array().unwrap();
        let begins = |i: usize, word: &str| doubts[i].as_str().unwrap().starts_with(word);
        assert!(doubts.len() == 3 && begins(0, "unstable") && begins(1, "uncalibrated") && begins(2, "outside"));
    }

    #[test]
    fn every_chart_can_be_made_or_says_why_not() {
        for name in CHARTS {
            match chart(&report(), name, By::All) {
                Ok(chart) => {
                    assert_eq!(chart.name, name);
                    assert!(!chart.spec["data"]["values"].as_array().unwrap().is_empty(), "{name}");
                }
                Err(why) => assert!(why.to_string().contains("nothing was observed"), "{name}: {why}"),
            }
        }
        assert!(chart(&report(), "ttft", By::All).unwrap_err().to_string().contains("it has ttft_cdf"));
        let mean = chart(&report(), "tokens_by_source", By::All).unwrap();
        let system = json!({ "class": "chat", "source": "system", "tokens": 400.0 });
        assert!(mean.spec["data"]["values"].as_array().unwrap().contains(&system), "per request");
    }
}
