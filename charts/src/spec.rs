//! What all charts have in common: size, colours, titles, doubts.

use serde_json::{Value, json};

/// The version that readers must know.
pub const SCHEMA: &str = "https://vega.github.io/schema/vega-lite/v5.json";

/// Colours that those who see few colours can tell apart (Okabe and Ito, "Color universal design", 2008), grey last.
pub const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#999999"];
/// What is missed, overloaded or a limit.
pub const ALARM: &str = "#d55e00";

/// Width of what is drawn [px].
pub const WIDTH: u32 = 560;

/// A specification: title, what makes its figures doubtful, data, and what is drawn of it.
pub fn spec(title: &str, doubts: &[String], data: Vec<Value>, drawn: Value) -> Value {
    let mut spec = json!({
        "$schema": SCHEMA,
        "title": { "text": title, "subtitle": doubts, "anchor": "start", "subtitleColor": ALARM },
        "data": { "values": data },
        "config": {
            "range": { "category": COLOURS },
            "view": { "stroke": null },
            "axis": { "gridOpacity": 0.4, "labelLimit": 240 },
            "legend": { "labelLimit": 240 },
        },
    });
    if let (Some(spec), Value::Object(drawn)) = (spec.as_object_mut(), drawn) {
        // Charts of several parts have no size of their own.
        if !drawn.contains_key("vconcat") {
            spec.extend([("width".to_owned(), json!(WIDTH)), ("height".to_owned(), json!(300))]);
        }
        spec.extend(drawn);
    }
    spec
}

/// An axis of numbers.
pub fn number(field: &str, title: &str) -> Value {
    json!({ "field": escaped(field), "type": "quantitative", "title": title })
}

/// A column's name in the data as a field: dots and brackets have a meaning there.
pub fn escaped(field: &str) -> String {
    let mut escaped = String::new();
    for c in field.chars() {
        if matches!(c, '.' | '[' | ']' | '\'' | '"' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What makes the latencies of a report doubtful, in words.
pub fn doubts(report: &Value) -> Vec<String> {
    let mut doubts = Vec::new();
    if report.pointer("/summary/capacity/state").and_then(Value::as_str) == Some("overloaded") {
        doubts.push("unstable: more work arrives than can be done, latency grows with the length of the run".to_owned());
    }
    if report.pointer("/model/calibrated").and_then(Value::as_bool) == Some(false) {
        doubts.push("uncalibrated: times are estimates of a formula".to_owned());
    }
    let outside = report.pointer("/model/out_of_range").and_then(Value::as_array);
    doubts.extend(outside.into_iter().flatten().filter_map(|what| Some(format!("outside the measured range: {}", what.as_str()?))));
    doubts
}
