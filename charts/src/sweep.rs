//! Charts of a sweep's table. A point is drawn once, at the mean of its replications; where it is overloaded its latency says only
//! how long the run was, so that it is drawn as overloaded and never by its latency.

use serde_json::{Value, json};

use crate::Chart;
use crate::spec::{LIMIT, channel, chart, in_order, items};

const OVERLOADED: &str = "overloaded";

/// A point of the sweep.
struct Point {
    /// Rows of the table.
    rows: Vec<usize>,
    overloaded: bool,
}

pub fn charts(table: &Value) -> Vec<Chart> {
    let mut settings = settings(table);
    // The longest axis goes to the right.
    settings.sort_by_key(|(_, values)| std::cmp::Reverse(*values));
    let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
    let figure = "ttft_ms_p95";
    let found = match names.as_slice() {
        [] => Vec::new(),
        [x] => vec![line(table, x, figure, None)],
        [x, y, ..] => vec![line(table, x, figure, Some(y)), heatmap(table, x, y, figure)],
    };
    found.into_iter().chain([pareto(table, "cost_usd_per_million_output_tokens", figure)]).flatten().collect()
}

pub fn warnings(table: &Value) -> Vec<String> {
    let points = points(table);
    let count = |says: &dyn Fn(usize) -> bool| points.iter().filter(|point| point.rows.iter().any(|row| says(*row))).count();
    let cell = |column: &str, row: usize| table[column].get(row).cloned().unwrap_or_default();
    let told = [
        (points.iter().filter(|point| point.overloaded).count(), "overloaded: their latencies are not drawn"),
        (count(&|row| cell("calibrated", row) == Value::Bool(false)), "not calibrated: step times are estimates of the roofline"),
        (count(&|row| !said(&cell("out_of_range", row)).is_empty()), "outside the measured ranges"),
        (count(&|row| !said(&cell("error", row)).is_empty()), "failed, see the table's column `error`"),
    ];
    told.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} of {} points {what}", points.len())).collect()
}

/// Settings that differ between points, and the number of their values.
pub fn settings(table: &Value) -> Vec<(&str, usize)> {
    let Some(columns) = table.as_object() else { return Vec::new() };
    let between = columns.keys().map(String::as_str).skip_while(|name| *name != "seed").skip(1).take_while(|name| *name != "error");
    let values = |name: &str| items(&table[name], "").iter().map(said).collect::<std::collections::BTreeSet<_>>().len();
    between.map(|name| (name, values(name))).filter(|(_, values)| *values > 1).collect()
}

/// One figure over two settings; `None` if there is nothing to draw. An overloaded point has no colour but a cross.
pub fn heatmap(table: &Value, x: &str, y: &str, figure: &str) -> Option<Chart> {
    let values = values(table, figure, |row| json!({ "x": table[x][row], "y": table[y][row] }));
    if values.is_empty() {
        return None;
    }
    let axis = |field: &str, name: &str| json!({ "field": field, "type": "ordinal", "title": name, "axis": { "labelAngle": 0 } });
    let tooltip = [channel("x", "nominal", x), channel("y", "nominal", y), channel("figure", "quantitative", figure)];
    let body = json!({ "encoding": { "x": axis("x", x), "y": axis("y", y), "tooltip": tooltip }, "layer": [
        { "transform": [{ "filter": { "field": "overloaded", "equal": false } }], "mark": "rect",
          "encoding": { "color": { "field": "figure", "type": "quantitative", "title": unit(figure),
              "scale": { "scheme": "viridis" } } } },
        { "transform": [{ "filter": { "field": "overloaded", "equal": true } }],
          "mark": { "type": "point", "shape": "cross", "angle": 45, "size": 150, "color": LIMIT, "filled": true } },
    ] });
    let caption = "Crosses: overloaded, no latency to speak of. Mean of the replications.";
    Some(chart("heatmap", &format!("{} over {x} and {y}", unit(figure)), &warnings(table), caption, values, body))
}

/// One figure over a setting, a line for each value of another; `None` if there is nothing to draw. Lines end
/// where overload begins.
pub fn line(table: &Value, x: &str, figure: &str, colour: Option<&str>) -> Option<Chart> {
    let values = values(table, figure, |row| json!({ "x": table[x][row], "colour": colour.map(|c| said(&table[c][row])) }));
    if values.is_empty() {
        return None;
    }
    let numeric = values.iter().all(|value| value["x"].is_number());
    let across = json!({ "field": "x", "type": if numeric { "quantitative" } else { "ordinal" }, "title": x,
        "scale": if numeric { json!({ "zero": false }) } else { json!({}) } });
    let mut shown = json!({ "x": across, "y": channel("figure", "quantitative", &unit(figure)) });
    if let Some(colour) = colour {
        shown["color"] = in_order("colour", colour);
    }
    let body = json!({ "layer": [
        { "transform": [{ "filter": { "field": "overloaded", "equal": false } }],
          "mark": { "type": "line", "point": true, "tooltip": true }, "encoding": shown },
        { "transform": [{ "filter": { "field": "overloaded", "equal": true } }],
          "mark": { "type": "point", "shape": "cross", "angle": 45, "size": 120, "color": LIMIT, "filled": true },
          "encoding": { "x": across, "y": { "value": 6 } } },
    ] });
    let caption = "Crosses at the top: overloaded, no latency to speak of. Mean of the replications.";
    Some(chart("line", &format!("{} over {x}", unit(figure)), &warnings(table), caption, values, body))
}

/// Cost against latency, with the points that no other beats in both joined by a line; `None` if there is nothing to draw. Points
/// that are overloaded are left out.
pub fn pareto(table: &Value, cost: &str, latency: &str) -> Option<Chart> {
    let mut values: Vec<Value> = points(table)
        .iter()
        .filter(|point| !point.overloaded)
        .filter_map(|point| {
            Some(json!({ "cost": mean(table, cost, point)?, "latency": mean(table, latency, point)?,
            "settings": label(table, point) }))
        })
        .collect();
    if values.is_empty() {
        return None;
    }
    let at = |value: &Value, key: &str| value[key].as_f64().unwrap_or(f64::INFINITY);
    values.sort_by(|a, b| at(a, "cost").total_cmp(&at(b, "cost")).then(at(a, "latency").total_cmp(&at(b, "latency"))));
    let mut best = f64::INFINITY;
    for value in &mut values {
        let latency = at(value, "latency");
        value["front"] = Value::from(if latency < best { "on the front" } else { "beaten by another" });
        best = best.min(latency);
    }
    let x = json!({ "field": "cost", "type": "quantitative", "title": unit(cost), "scale": { "zero": false } });
    let y = channel("latency", "quantitative", &unit(latency));
    let tooltip = [
        channel("settings", "nominal", "settings"),
        channel("cost", "quantitative", cost),
        channel("latency", "quantitative", latency),
    ];
    let body = json!({ "encoding": { "x": x, "y": y }, "layer": [
        { "transform": [{ "filter": { "field": "front", "equal": "on the front" } }],
          "mark": { "type": "line", "interpolate": "step-after", "color": "#0072B2", "opacity": 0.5 } },
        { "mark": { "type": "point", "filled": true, "size": 70 }, "encoding": { "tooltip": tooltip,
          "color": { "field": "front", "type": "nominal", "title": "Pareto front",
                     "scale": { "domain": ["on the front", "beaten by another"], "range": ["#0072B2", "#8C8C8C"] } } } },
    ] });
    let caption = "A point on the front is beaten by no other in both. Overloaded points are left out. Mean of the replications.";
    Some(chart("pareto", "Cost against latency", &warnings(table), caption, values, body))
}

/// The settings of a point, those that differ between points.
fn label(table: &Value, point: &Point) -> String {
    let settings = settings(table);
    let said = settings.iter().map(|(name, _)| format!("{name}={}", said(&table[*name][point.rows[0]])));
    said.collect::<Vec<_>>().join(", ")
}

/// A value for each point: what `of` makes of its first row, the mean of the figure, and whether it is overloaded.
fn values(table: &Value, figure: &str, of: impl Fn(usize) -> Value) -> Vec<Value> {
    let mut found = Vec::new();
    for point in points(table) {
        let figure = mean(table, figure, &point).filter(|_| !point.overloaded);
        if figure.is_some() || point.overloaded {
            let mut value = of(point.rows[0]);
            value["figure"] = Value::from(figure);
            value[OVERLOADED] = Value::from(point.overloaded);
            found.push(value);
        }
    }
    found
}

/// The points of the table, in its order.
fn points(table: &Value) -> Vec<Point> {
    let mut places = std::collections::HashMap::new();
    let mut found: Vec<Point> = Vec::new();
    for (row, point) in items(table, "/point").iter().enumerate() {
        let place = *places.entry(said(point)).or_insert_with(|| {
            found.push(Point { rows: Vec::new(), overloaded: false });
            found.len() - 1
        });
        found[place].rows.push(row);
        let load = table["capacity_load"].get(row).and_then(Value::as_f64).unwrap_or(0.0);
        found[place].overloaded |= table["capacity_state"][row] == OVERLOADED || load >= 1.0;
    }
    found
}

fn mean(table: &Value, column: &str, point: &Point) -> Option<f64> {
    let column = table.get(column)?;
    let figures: Vec<f64> = point.rows.iter().filter_map(|row| column[*row].as_f64()).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

/// A cell as text; empty for null.
pub fn said(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The title of a figure's axis, with the unit that its name has.
fn unit(figure: &str) -> String {
    let unit = [("_ms", "ms"), ("usd_per", "USD"), ("tokens_per_s", "tokens/s"), ("_s", "s")]
        .iter()
        .find(|(part, _)| figure.contains(part));
    unit.map_or_else(|| figure.to_owned(), |(_, unit)| format!("{figure} [{unit}]"))
}
