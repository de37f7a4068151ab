//! Charts of a comparison: base against head, one set for each scenario.

use serde_json::{Value, json};

use crate::Chart;
use crate::spec::{channel, chart, height, in_order, items, joined, text};

pub fn charts(comparison: &Value) -> Vec<Chart> {
    let several = items(comparison, "/scenarios").len() > 1;
    let mut charts = Vec::new();
    for (i, scenario) in items(comparison, "/scenarios").iter().enumerate() {
        let warnings = of_scenario(scenario);
        for mut chart in
            [tokens(scenario, &warnings), latency(scenario, &warnings), buckets(scenario, &warnings)].into_iter().flatten()
        {
            if several {
                chart.name = format!("{}_{i}", chart.name);
                chart.title = format!("{}: {}", text(scenario, "/name"), chart.title);
                chart.spec["title"]["text"] = Value::from(chart.title.as_str());
            }
            charts.push(chart);
        }
    }
    charts
}

pub fn warnings(comparison: &Value) -> Vec<String> {
    let of = |scenario: &Value| {
        let name = text(scenario, "/name").to_owned();
        of_scenario(scenario).into_iter().map(move |warning| format!("{name}: {warning}")).collect::<Vec<_>>()
    };
    items(comparison, "/scenarios").iter().flat_map(of).collect()
}

fn of_scenario(scenario: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for side in ["base", "head"] {
        let Some(report) = scenario.get(side).filter(|report| report.is_object()) else { continue };
        if text(report, "/state") == "overloaded" {
            found.push(format!("Overloaded on the {side}: latencies grow with the run's length"));
        }
        if report["calibrated"] == Value::Bool(false) {
            found.push(format!("Not calibrated on the {side}: step times are estimates of the roofline"));
        }
        found.extend(joined(report, "/out_of_range").map(|what| format!("Outside the measured ranges on the {side}: {what}")));
    }
    found
}

/// Prompt tokens by source.
fn tokens(scenario: &Value, warnings: &[String]) -> Option<Chart> {
    let mut values = Vec::new();
    for row in items(scenario, "/sources") {
        for side in ["base", "head"] {
            let class = text(row, "/class");
            let bar = if class.is_empty() { side.to_owned() } else { format!("{class}, {side}") };
            values.push(json!({ "side": bar, "source": row["source"], "tokens": row[side] }));
        }
    }
    if values.is_empty() {
        return None;
    }
    let body = json!({
        "mark": { "type": "bar", "tooltip": true },
        "height": height(&values, "side", 36),
        "encoding": {
            "y": in_order("side", ""),
            "x": channel("tokens", "quantitative", "prompt tokens per request, mean"),
            "color": channel("source", "nominal", "source"),
        },
    });
    Some(chart("tokens_by_source", "Prompt tokens by source", warnings, "Base against head.", values, body))
}

/// How figures in milliseconds changed, as shares of the base: TPOT beside end-to-end latency; with intervals where there are any.
fn latency(scenario: &Value, warnings: &[String]) -> Option<Chart> {
    let row = |row: &Value| {
        let label = match text(row, "/only") {
            "" => text(row, "/label").to_owned(),
            only => format!("{}, {only}", text(row, "/label")),
        };
        let base = row["base"].as_f64()?;
        let share = |key: &str| row[key].as_f64().map(|difference| difference / base * 100.0);
        Some(json!({ "figure": label, "difference": share("difference")?, "low": share("low"), "high": share("high"),
            "base": base, "head": row["head"] }))
    };
    let timed = |row: &&Value| text(row, "/unit") == "milliseconds" && row["base"].as_f64().is_some_and(|b| b > 0.0);
    let values: Vec<Value> = items(scenario, "/rows").iter().filter(timed).filter_map(row).collect();
    if values.is_empty() {
        return None;
    }
    let y = in_order("figure", "");
    let tooltip = ["figure", "base", "head", "difference", "low", "high"].map(|field| match field {
        "figure" => channel(field, "nominal", field),
        "base" | "head" => channel(field, "quantitative", &format!("{field} [ms]")),
        _ => channel(field, "quantitative", &format!("{field} [%]")),
    });
    let body = json!({ "height": height(&values, "figure", 28), "layer": [
        { "mark": { "type": "rule", "strokeWidth": 3, "opacity": 0.5 },
          "encoding": { "y": y, "x": channel("low", "quantitative", "change from the base [%]"), "x2": { "field": "high" },
                        "color": { "value": "#0072B2" } } },
        { "mark": { "type": "point", "filled": true, "size": 80, "opacity": 1, "color": "#0072B2" },
          "encoding": { "y": y, "x": channel("difference", "quantitative", "change from the base [%]"), "tooltip": tooltip } },
        { "data": { "values": [{ "zero": 0 }] }, "mark": { "type": "rule", "color": "#8C8C8C" },
          "encoding": { "x": channel("zero", "quantitative", "") } },
    ] });
    let caption = "Points: mean of paired runs; bars: its interval. Right of zero the head is slower.";
    Some(chart("latency_change", "What changes in latency", warnings, caption, values, body))
}

/// TTFT p95 by bucket of prompt lengths.
fn buckets(scenario: &Value, warnings: &[String]) -> Option<Chart> {
    let mut values = Vec::new();
    for row in items(scenario, "/buckets") {
        for (side, ms) in ["base", "head"].iter().zip(items(row, "/ttft_p95_ms")).filter(|(_, ms)| ms.is_number()) {
            values.push(json!({ "bucket": row["bucket"], "side": side, "ms": ms }));
        }
    }
    if values.is_empty() {
        return None;
    }
    let body = json!({
        "mark": { "type": "bar", "tooltip": true },
        "encoding": {
            "x": { "field": "bucket", "type": "nominal", "sort": null, "title": "prompt length [tokens]",
                   "axis": { "labelAngle": 0 } },
            "xOffset": { "field": "side" },
            "y": channel("ms", "quantitative", "TTFT p95 [ms]"),
            "color": in_order("side", ""),
        },
    });
    Some(chart("ttft_by_bucket", "TTFT p95 by prompt length", warnings, "Base against head.", values, body))
}
