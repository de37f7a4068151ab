//! Charts of one simulated scenario.

use serde_json::{Value, json};

use crate::spec::{LIMIT, channel, chart, height, in_order, items, joined, number, text};
use crate::{Chart, NoChart};

/// Quantiles that a report has, with the share of requests at or below each.
const QUANTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("max", 100.0)];

/// Latencies, and what they are called.
const LATENCIES: [(&str, &str); 5] = [
    ("ttft", "Time to first token (TTFT)"),
    ("tpot", "Time per output token (TPOT)"),
    ("e2e", "End-to-end latency"),
    ("itl", "Gap between tokens (ITL)"),
    ("queue", "Queue time"),
];

/// How requests are told apart in a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Not at all.
    All,
    /// By class.
    Class,
    /// By buckets of input tokens.
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

/// A chart over time, of a report and what is doubtful of it.
type OverTime = fn(&Value, &[String]) -> Option<Chart>;

/// Charts that are not of a latency.
const OTHERS: [(&str, OverTime); 6] = [
    ("tokens_by_source", tokens),
    ("throughput_timeline", throughput),
    ("kv_timeline", kv),
    ("requests_timeline", requests),
    ("waiting_tokens_timeline", waiting_tokens),
    ("replicas_timeline", replicas),
];

pub fn charts(report: &Value) -> Vec<Chart> {
    let warnings = warnings(report);
    let mut charts: Vec<Chart> = Vec::new();
    for (figure, title) in &LATENCIES[..3] {
        match cdf(report, &warnings, figure, title, By::Class) {
            Some(chart) => charts.push(chart),
            None => charts.extend(quantiles(report, &warnings, figure, title)),
        }
    }
    let by_length = cdf(report, &warnings, "ttft", "TTFT by prompt length", By::InputBucket);
    charts.extend(by_length.map(|chart| Chart { name: "ttft_cdf_by_length".to_owned(), ..chart }));
    charts.extend(OTHERS.iter().filter_map(|(_, chart)| chart(report, &warnings)));
    charts
}

/// One chart of a run: `ttft_cdf` (`tpot`, `itl`, `e2e`, `queue`), `tokens_by_source`, `kv_timeline` and others over time. A
/// distribution needs `distributions` in the report: objects with `kind` (`all`, `class`, `input tokens`), `group`, `figure`
/// (`ttft_ms`) and `points`, pairs of a latency [ms] and the share of requests up to it.
///
/// # Errors
/// If there is no such chart, or the run observed nothing of it.
pub fn run_chart(report: &Value, name: &str, by: By) -> Result<Chart, NoChart> {
    let warnings = warnings(report);
    let latency = LATENCIES.iter().find(|(figure, _)| name.strip_suffix("_cdf") == Some(figure));
    let chart = match (latency, OTHERS.iter().find(|(known, _)| *known == name)) {
        (Some((figure, title)), _) => cdf(report, &warnings, figure, title, by),
        (None, Some((_, chart))) => chart(report, &warnings),
        (None, None) => return Err(NoChart(format!("a run has no chart `{name}`"))),
    };
    chart.ok_or_else(|| NoChart(format!("there is no {name} to show: nothing was observed")))
}

/// The share of requests up to a latency, and the limits of targets as rules.
fn cdf(report: &Value, warnings: &[String], figure: &str, title: &str, by: By) -> Option<Chart> {
    let field = format!("{figure}_ms");
    let mut values = Vec::new();
    for distribution in items(report, "/distributions") {
        if text(distribution, "/figure") == field && text(distribution, "/kind") == by.kind() {
            let row = |point: &Value| json!({ "requests": distribution["group"], "ms": point[0], "share": point[1] });
            // A logarithm has no place for those who did not wait at all.
            values.extend(items(distribution, "/points").iter().filter(|point| point[0].as_f64() > Some(0.0)).map(row));
        }
    }
    if values.is_empty() {
        return None;
    }
    let mut colour = in_order("requests", by.kind());
    if by == By::All {
        colour["legend"] = Value::Null;
    }
    let mut layer = vec![json!({
        "mark": { "type": "line", "interpolate": "step-after" },
        "encoding": {
            "x": { "field": "ms", "type": "quantitative", "title": format!("{} [ms], logarithmic", figure.to_uppercase()),
                   "scale": { "type": "log" } },
            "y": { "field": "share", "type": "quantitative", "title": "share of requests up to it", "axis": { "format": ".0%" } },
            "color": colour,
            "tooltip": [channel("requests", "nominal", by.kind()), channel("ms", "quantitative", "ms"),
                { "field": "share", "type": "quantitative", "format": ".2%" }],
        },
    })];
    layer.extend(limits(report, figure, "x"));
    let caption = "How many of the requests were at most that slow; dashed: limits of service levels.";
    Some(chart(&format!("{figure}_cdf"), title, warnings, caption, values, json!({ "layer": layer })))
}

/// The limits of a latency's targets as rules along an axis; `None` without any.
fn limits(report: &Value, figure: &str, axis: &str) -> Option<Value> {
    let of_figure = |target: &&Value| text(target, "/target").starts_with(&format!("{figure}_"));
    let of = |target: &Value| format!("{} {}", text(target, "/class"), text(target, "/target"));
    let row = |target: &Value| json!({ "limit": target["limit_ms"], "of": of(target) });
    let limits: Vec<Value> = items(report, "/summary/slo/targets").iter().filter(of_figure).map(row).collect();
    let mut encoding = json!({ "tooltip": [channel("of", "nominal", "target"), channel("limit", "quantitative", "limit [ms]")] });
    encoding[axis] = json!({ "field": "limit", "type": "quantitative" });
    let mark = json!({ "type": "rule", "strokeDash": [6, 4], "color": LIMIT });
    (!limits.is_empty()).then(|| json!({ "data": { "values": limits }, "mark": mark, "encoding": encoding }))
}

pub fn warnings(report: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if text(report, "/summary/capacity/state") == "overloaded" {
        found.push("Overloaded: latencies grow with the run's length".to_owned());
    }
    if report.pointer("/model/calibrated") == Some(&Value::Bool(false)) {
        found.push("Not calibrated: step times are estimates of the roofline".to_owned());
    }
    found.extend(joined(report, "/model/out_of_range").map(|what| format!("Outside the measured ranges: {what}")));
    found
}

/// The quantiles of a latency, of all requests, each class and each bucket of prompt lengths; limits of targets as rules.
fn quantiles(report: &Value, warnings: &[String], figure: &str, title: &str) -> Option<Chart> {
    let path = format!("/{figure}_ms");
    let mut values = Vec::new();
    let mut add = |of: &str, group: &Value| {
        for (name, share) in QUANTILES {
            if let Some(ms) = number(group, &format!("{path}/{name}")) {
                values.push(json!({ "requests": of, "quantile": name, "share": share, "ms": ms }));
            }
        }
    };
    add("all", report.get("summary")?);
    let classes = items(report, "/classes");
    for class in classes.iter().filter(|_| classes.len() > 1) {
        add(&format!("class {}", text(class, "/name")), class);
    }
    let buckets = items(report, "/buckets");
    for bucket in buckets.iter().filter(|_| buckets.len() > 1) {
        add(&format!("input {}", text(bucket, "/name")), bucket);
    }
    if values.is_empty() {
        return None;
    }
    let mut layer = vec![json!({
        "mark": { "type": "line", "point": true, "tooltip": true },
        "encoding": {
            "x": { "field": "quantile", "type": "ordinal", "sort": null, "title": "quantile of requests",
                   "axis": { "labelAngle": 0 } },
            "y": { "field": "ms", "type": "quantitative", "title": format!("{} [ms], logarithmic", figure.to_uppercase()),
                   "scale": { "type": "log", "nice": false } },
            "color": in_order("requests", "requests"),
        },
    })];
    layer.extend(limits(report, figure, "y"));
    let caption = "p95: 95 % of the requests were at most that slow. Dashed: limits of service levels.";
    Some(chart(&format!("{figure}_quantiles"), title, warnings, caption, values, json!({ "layer": layer })))
}

/// Mean prompt tokens per request by source.
fn tokens(report: &Value, warnings: &[String]) -> Option<Chart> {
    let mut values = Vec::new();
    for class in items(report, "/classes") {
        let requests = number(class, "/requests").filter(|n| *n > 0.0);
        let sources = class.get("input_tokens_by_source").and_then(Value::as_object);
        let (Some(requests), Some(sources)) = (requests, sources) else { continue };
        for (source, tokens) in sources {
            let mean = tokens.as_f64().unwrap_or(0.0) / requests;
            values.push(json!({ "class": class["name"], "source": source, "tokens": mean }));
        }
    }
    if values.is_empty() {
        return None;
    }
    let body = json!({
        "mark": { "type": "bar", "tooltip": true },
        "height": height(&values, "class", 36),
        "encoding": {
            "y": in_order("class", "class"),
            "x": channel("tokens", "quantitative", "prompt tokens per request, mean"),
            "color": channel("source", "nominal", "source"),
        },
    });
    Some(chart("tokens_by_source", "Where prompt tokens come from", warnings, "Mean of a request of each class.", values, body))
}

/// Rows of the timeline: one for each bin and series, scaled.
fn over_time(report: &Value, series: &[(&str, &str, f64)]) -> Vec<Value> {
    let bin = number(report, "/timeline/bin_s").unwrap_or(0.0);
    let mut values = Vec::new();
    for (path, name, scale) in series {
        for (i, level) in items(report, path).iter().enumerate() {
            if let Some(level) = level.as_f64() {
                values.push(json!({ "s": i as f64 * bin, "series": name, "level": level * scale }));
            }
        }
    }
    values
}

/// A chart over time of such rows.
fn timeline(name: &str, title: &str, axis: &str, warnings: &[String], caption: &str, values: Vec<Value>) -> Option<Chart> {
    if values.is_empty() {
        return None;
    }
    let body = json!({
        "mark": { "type": "line", "interpolate": "step-after", "tooltip": true },
        "encoding": {
            "x": channel("s", "quantitative", "time [s]"),
            "y": channel("level", "quantitative", axis),
            "color": in_order("series", ""),
        },
    });
    Some(chart(name, title, warnings, caption, values, body))
}

fn throughput(report: &Value, warnings: &[String]) -> Option<Chart> {
    let bin = number(report, "/timeline/bin_s").filter(|bin| *bin > 0.0)?;
    let series =
        [("/timeline/input_tokens", "input, arriving", 1.0 / bin), ("/timeline/output_tokens", "output, given", 1.0 / bin)];
    let caption = "Tokens of all replicas, per second of each bin.";
    let values = over_time(report, &series);
    timeline("throughput_timeline", "Throughput over time", "tokens/s", warnings, caption, values)
}

fn kv(report: &Value, warnings: &[String]) -> Option<Chart> {
    let series = [("/timeline/kv_use", "mean of replicas", 100.0), ("/timeline/kv_use_max", "fullest replica", 100.0)];
    let caption = "At 100 % requests wait, or are preempted and computed again.";
    timeline("kv_timeline", "KV cache over time", "KV blocks in use [%]", warnings, caption, over_time(report, &series))
}

fn requests(report: &Value, warnings: &[String]) -> Option<Chart> {
    let series = [("/timeline/running", "running", 1.0), ("/timeline/waiting_requests", "waiting", 1.0)];
    let caption = "All replicas, mean of each bin.";
    timeline("requests_timeline", "Requests over time", "requests", warnings, caption, over_time(report, &series))
}

fn waiting_tokens(report: &Value, warnings: &[String]) -> Option<Chart> {
    let series = [("/timeline/waiting_tokens", "waiting", 1.0)];
    let caption = "Prompt tokens that no replica has begun with: what an autoscaler should look at.";
    let values = over_time(report, &series);
    timeline("waiting_tokens_timeline", "Waiting prompt tokens over time", "tokens", warnings, caption, values)
}

fn replicas(report: &Value, warnings: &[String]) -> Option<Chart> {
    let series = [
        ("/fleet/wanted", "wanted", 1.0),
        ("/fleet/ready", "ready", 1.0),
        ("/fleet/starting", "starting", 1.0),
        ("/fleet/draining", "draining", 1.0),
    ];
    let caption = "Between wanted and ready lies the cold start.";
    timeline("replicas_timeline", "Replicas over time", "replicas", warnings, caption, over_time(report, &series))
}
