//! Charts of a sweep's table. A point is drawn once, at the mean of its replications; where it is overloaded its latency says only
//! how long the run was, so that it is drawn as overloaded and never by its latency.

use serde_json::{Value, json};

use crate::spec::{LIMIT, channel, chart, in_order, items};
use crate::{Chart, NoChart};

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
    let of_all = [scatter(table, "output_tokens_per_s", figure, None), pareto(table, "cost_usd_per_hour", figure)];
    found.into_iter().chain(of_all).filter_map(Result::ok).collect()
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

/// Settings, whether or not they differ between points: the columns between these two.
fn setting_names(table: &Value) -> impl Iterator<Item = &str> {
    let columns = table.as_object().into_iter().flat_map(|columns| columns.keys().map(String::as_str));
    columns.skip_while(|name| *name != "seed").skip(1).take_while(|name| *name != "error")
}

/// Settings that differ between points, and the number of their values.
pub fn settings(table: &Value) -> Vec<(&str, usize)> {
    let values = |name: &str| items(&table[name], "").iter().map(said).collect::<std::collections::BTreeSet<_>>().len();
    setting_names(table).map(|name| (name, values(name))).filter(|(_, values)| *values > 1).collect()
}

/// One figure over two settings. An overloaded point has no colour but a cross.
///
/// # Errors
/// If a column is not there, or no point has the figure.
pub fn heatmap(table: &Value, x: &str, y: &str, figure: &str) -> Result<Chart, NoChart> {
    let of = |point: &Point| json!({ "x": table[x][point.rows[0]], "y": table[y][point.rows[0]] });
    let values = values(table, &[x, y], figure, of)?;
    // A domain, since layers that lack some values would order the others by themselves.
    let axis = |field: &str, name: &str, domain: Vec<Value>| {
        let scale = json!({ "domain": domain });
        json!({ "field": field, "type": "ordinal", "title": short(name), "scale": scale, "axis": { "labelAngle": 0 } })
    };
    let across = axis("x", x, ascending(&values, "x"));
    let up = axis("y", y, ascending(&values, "y").into_iter().rev().collect());
    let tooltip = [channel("x", "nominal", short(x)), channel("y", "nominal", short(y)), channel("figure", "quantitative", figure)];
    let colour = json!({ "field": "figure", "type": "quantitative", "title": unit(figure),
        "scale": { "scheme": "viridis", "type": scale(&values, figure)["type"] } });
    let body = json!({ "encoding": { "x": across, "y": up, "tooltip": tooltip }, "layer": [
        { "transform": [{ "filter": "isValid(datum.figure)" }], "mark": "rect", "encoding": { "color": colour } },
        { "transform": [{ "filter": "datum.overloaded" }],
          "mark": { "type": "point", "shape": "cross", "angle": 45, "size": 150, "color": LIMIT, "filled": true } },
    ] });
    let caption = "Crosses: overloaded, no latency to speak of. Mean of the replications.";
    let title = format!("{} over {} and {}", unit(figure), short(x), short(y));
    Ok(chart("heatmap", &title, &warnings(table), caption, values, body))
}

/// One figure over a setting, a line for each value of another. Lines of latencies end where overload begins.
///
/// # Errors
/// If a column is not there, or no point has the figure.
pub fn line(table: &Value, x: &str, figure: &str, colour: Option<&str>) -> Result<Chart, NoChart> {
    over(table, x, figure, colour, ("line", json!({ "type": "line", "point": true, "tooltip": true })))
}

/// One figure against another or over a setting, a point for each of the sweep's, in the colours of a setting's values.
///
/// # Errors
/// If a column is not there, or no point has the figure.
pub fn scatter(table: &Value, x: &str, figure: &str, colour: Option<&str>) -> Result<Chart, NoChart> {
    over(table, x, figure, colour, ("scatter", json!({ "type": "point", "filled": true, "size": 60, "tooltip": true })))
}

fn over(table: &Value, x: &str, figure: &str, colour: Option<&str>, (name, mark): (&str, Value)) -> Result<Chart, NoChart> {
    let columns: Vec<&str> = std::iter::once(x).chain(colour).collect();
    let is_setting = setting_names(table).any(|setting| setting == x);
    let values = values(table, &columns, figure, |point| {
        // A figure is the mean of the runs, a setting that of each.
        let across = if is_setting { table[x][point.rows[0]].clone() } else { Value::from(mean(table, x, point)) };
        json!({ "x": across, "colour": colour.map(|c| said(&table[c][point.rows[0]])) })
    })?;
    let numeric = values.iter().all(|value| value["x"].is_number());
    let whole = values.iter().all(|value| value["x"].is_i64());
    let across = json!({ "field": "x", "type": if numeric { "quantitative" } else { "ordinal" }, "title": short(&unit(x)),
        "axis": if whole { json!({ "tickMinStep": 1, "format": "d" }) } else { json!({}) },
        "scale": if numeric { json!({ "zero": false }) } else { json!({}) } });
    let up = json!({ "field": "figure", "type": "quantitative", "title": unit(figure),
        "scale": scale(&values, figure) });
    let mut shown = json!({ "x": across, "y": up });
    let mut beyond = json!({ "x": across, "y": { "value": 6 } });
    if let Some(colour) = colour {
        shown["color"] = in_order("colour", short(colour));
        beyond["color"] = shown["color"].clone();
    }
    let body = json!({ "layer": [
        { "transform": [{ "filter": "isValid(datum.figure)" }], "mark": mark, "encoding": shown },
        // At the upper edge: how high they would be says nothing.
        { "transform": [{ "filter": "datum.overloaded && !isValid(datum.figure)" }],
          "mark": { "type": "point", "shape": "cross", "angle": 45, "size": 120, "color": LIMIT, "filled": true },
          "encoding": beyond },
    ] });
    let caption = "Crosses at the top: overloaded, no latency to speak of. Mean of the replications.";
    Ok(chart(name, &format!("{} over {}", unit(figure), short(x)), &warnings(table), caption, values, body))
}

/// Cost against latency, with the points that no other beats in both joined by a line. Points that are overloaded are left out.
///
/// # Errors
/// If a column is not there, or every point is overloaded.
pub fn pareto(table: &Value, cost: &str, latency: &str) -> Result<Chart, NoChart> {
    known(table, &[cost, latency])?;
    let settings = settings(table);
    let mut values: Vec<Value> = points(table)
        .iter()
        .filter(|point| !point.overloaded)
        .filter_map(|point| {
            let typed = settings.iter().map(|(s, _)| format!("{}={}", short(s), said(&table[*s][point.rows[0]])));
            let typed = typed.collect::<Vec<_>>().join(", ");
            Some(json!({ "cost": mean(table, cost, point)?, "latency": mean(table, latency, point)?, "settings": typed }))
        })
        .collect();
    if values.is_empty() {
        return Err(NoChart("every point is overloaded or has no such figure".to_owned()));
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
    let y = json!({ "field": "latency", "type": "quantitative", "title": unit(latency), "scale": { "type": "log" } });
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
    Ok(chart("pareto", "Cost against latency", &warnings(table), caption, values, body))
}

/// A value for each point that is overloaded or has the figure: what `of` makes of it, the mean of the figure, and whether it is
/// overloaded.
fn values(table: &Value, columns: &[&str], figure: &str, of: impl Fn(&Point) -> Value) -> Result<Vec<Value>, NoChart> {
    known(table, &[columns, &[figure]].concat())?;
    let mut found = Vec::new();
    for point in points(table) {
        let mean = mean(table, figure, &point);
        // Points that failed, or observed nothing, have no place.
        if point.overloaded || mean.is_some() {
            let mut value = of(&point);
            value["figure"] = Value::from(mean.filter(|_| !(point.overloaded && is_latency(figure))));
            value[OVERLOADED] = Value::from(point.overloaded);
            found.push(value);
        }
    }
    if found.is_empty() { Err(NoChart(format!("no point has a {figure}"))) } else { Ok(found) }
}

fn known(table: &Value, columns: &[&str]) -> Result<(), NoChart> {
    match columns.iter().find(|column| table.get(**column).is_none()) {
        Some(column) => Err(NoChart(format!("the sweep has no column `{column}`"))),
        None => Ok(()),
    }
}

/// Whether an overloaded run says nothing of the figure.
pub fn is_latency(figure: &str) -> bool {
    figure.contains("_ms_")
}

/// Latencies spread over orders of magnitude; a logarithm has no place for zero.
fn scale(values: &[Value], figure: &str) -> Value {
    let positive = values.iter().all(|value| value["figure"].as_f64().is_none_or(|x| x > 0.0));
    if is_latency(figure) && positive { json!({ "type": "log" }) } else { json!({ "type": "linear", "zero": false }) }
}

/// The different values of a field: numbers ascending, others as they come.
fn ascending(values: &[Value], field: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for value in values {
        if !found.contains(&value[field]) {
            found.push(value[field].clone());
        }
    }
    if found.iter().all(Value::is_number) {
        found.sort_by(|a, b| a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)));
    }
    found
}

/// The last key of a path.
fn short(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
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
        // The state and not the load: clients that wait for answers load a server fully by design, and no latency grows.
        found[place].overloaded |= table["capacity_state"][row] == OVERLOADED;
    }
    found
}

/// Over the runs of a point; `None` if one has no such figure.
fn mean(table: &Value, column: &str, point: &Point) -> Option<f64> {
    let column = table.get(column)?;
    let figures: Option<Vec<f64>> = point.rows.iter().map(|row| column[*row].as_f64()).collect();
    figures.map(|figures| figures.iter().sum::<f64>() / figures.len() as f64)
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
