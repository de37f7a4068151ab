//! Charts of a plan: options by cost, and how well each meets its targets.

use serde_json::{Value, json};

use crate::Chart;
use crate::spec::{LIMIT, channel, chart, height, in_order, items, text};

pub fn charts(plan: &Value) -> Vec<Chart> {
    let warnings = warnings(plan);
    [cost(plan, &warnings), targets(plan, &warnings)].into_iter().flatten().collect()
}

pub fn warnings(plan: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for option in items(plan, "/options") {
        let name = name(option);
        if option["calibrated"] == Value::Bool(false) {
            found.push(format!("Not calibrated: {name}"));
        }
        if option["unstable"] == Value::Bool(true) {
            found.push(format!("Unstable: {name}"));
        }
    }
    found
}

/// What an option is called: what was varied, else its deployment.
pub fn name(option: &Value) -> &str {
    match text(option, "/option") {
        "" => text(option, "/deployment"),
        name => name,
    }
}

/// Cost of the replicas that each option needs.
fn cost(plan: &Value, warnings: &[String]) -> Option<Chart> {
    let row = |option: &Value| {
        let front = option["pareto"] == Value::Bool(true);
        json!({ "option": name(option), "usd": option["usd_per_hour"], "replicas": option["replicas"], "gpus": option["gpus"],
            "verdict": option["verdict"], "front": if front { "on the front" } else { "beaten by another" } })
    };
    let values: Vec<Value> = items(plan, "/options").iter().filter(|o| o["usd_per_hour"].is_number()).map(row).collect();
    if values.is_empty() {
        return None;
    }
    let body = json!({
        "mark": { "type": "bar" },
        "height": height(&values, "option", 36),
        "encoding": {
            "y": in_order("option", "option"),
            "x": channel("usd", "quantitative", "cost of the replicas needed [USD/h]"),
            "color": { "field": "front", "type": "nominal", "title": "Pareto front",
                       "scale": { "domain": ["on the front", "beaten by another"], "range": ["#0072B2", "#8C8C8C"] } },
            "tooltip": [channel("option", "nominal", "option"), channel("replicas", "quantitative", "replicas"),
                channel("gpus", "quantitative", "GPUs"), channel("usd", "quantitative", "USD/h"),
                channel("verdict", "nominal", "verdict")],
        },
    });
    let caption = "Each option with as many replicas as meet its targets; options without an answer are in the table only.";
    Some(chart("cost", "Cost of each option", warnings, caption, values, body))
}

/// Latency at each target's percentile, as a share of its limit.
fn targets(plan: &Value, warnings: &[String]) -> Option<Chart> {
    let mut values = Vec::new();
    for option in items(plan, "/options") {
        for target in items(option, "/targets") {
            let (Some(value), Some(limit)) = (target["value_ms"].as_f64(), target["limit_ms"].as_f64()) else { continue };
            values
                .push(json!({ "option": name(option), "target": format!("{} {}", text(target, "/class"), text(target, "/target")),
                "share": value / limit * 100.0, "value": value, "limit": limit }));
        }
    }
    if values.is_empty() {
        return None;
    }
    let body = json!({ "height": height(&values, "target", 24), "layer": [
        {
            "mark": { "type": "point", "filled": true, "size": 90, "opacity": 1 },
            "encoding": {
                "y": in_order("target", "target"),
                "x": { "field": "share", "type": "quantitative", "title": "latency at the target's percentile [% of its limit]",
                       "scale": { "zero": true } },
                "color": in_order("option", "option"),
                "tooltip": [channel("option", "nominal", "option"), channel("target", "nominal", "target"),
                    channel("value", "quantitative", "latency [ms]"), channel("limit", "quantitative", "limit [ms]")],
            },
        },
        { "data": { "values": [{ "limit": 100 }] }, "mark": { "type": "rule", "strokeDash": [6, 4], "color": LIMIT },
          "encoding": { "x": channel("limit", "quantitative", "") } },
    ] });
    let caption = "With the planned replicas; dashed: the limit.";
    Some(chart("targets", "Latency against its limits", warnings, caption, values, body))
}
