//! What the specifications have in common.

use serde_json::{Value, json};

use crate::Chart;

/// Okabe and Ito's colours, which readers with any colour vision tell apart; without black and yellow, which vanish on one of the
/// backgrounds.
const COLOURS: [&str; 7] = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C"];

/// Width of a chart on its own [px].
const WIDTH: u32 = 560;

/// Colour of limits.
pub const LIMIT: &str = "#D55E00";

/// A channel of the chart: field, Vega-Lite type, title with its unit.
pub fn channel(field: &str, kind: &str, title: &str) -> Value {
    json!({ "field": field, "type": kind, "title": title })
}

/// The same in the order of the data.
pub fn in_order(field: &str, title: &str) -> Value {
    json!({ "field": field, "type": "nominal", "title": title, "sort": null })
}

/// Puts a chart together. `body` has marks and encodings, `values` the rows of data.
pub fn chart(name: &str, title: &str, warnings: &[String], caption: &str, values: Vec<Value>, body: Value) -> Chart {
    let mut heading = json!({ "text": title, "anchor": "start" });
    if !warnings.is_empty() {
        heading["subtitle"] = Value::from(warnings.to_vec());
        heading["subtitleColor"] = Value::from(LIMIT);
    }
    let mut spec = json!({
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": heading,
        "width": WIDTH,
        "height": 280,
        "data": { "values": values },
        "config": { "range": { "category": COLOURS }, "view": { "stroke": null }, "axis": { "gridOpacity": 0.4 } },
    });
    if let (Value::Object(spec), Value::Object(body)) = (&mut spec, body) {
        spec.extend(body);
    }
    let caption = warnings.iter().map(|warning| format!("{warning}. ")).chain([caption.to_owned()]).collect();
    Chart { name: name.to_owned(), title: title.to_owned(), caption, spec }
}

/// Height of a chart with a row for each value of a field [px]. Not Vega-Lite's `step`: it does not go with a container's width.
pub fn height(values: &[Value], field: &str, step: usize) -> usize {
    let names: std::collections::BTreeSet<&str> = values.iter().map(|value| text(value, &format!("/{field}"))).collect();
    names.len() * step
}

/// The entries of an array, none if it is not there.
pub fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A number, if it is there.
pub fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer).and_then(Value::as_f64)
}

/// A text, empty if it is not there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Texts of an array, joined; `None` if there are none.
pub fn joined(value: &Value, pointer: &str) -> Option<String> {
    let texts: Vec<&str> = items(value, pointer).iter().filter_map(Value::as_str).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
