//! Charts of a sweep: of its points, each a map of settings and mean figures, with `overloaded`.

use serde_json::{Value, json};

use crate::spec::{ALARM, escaped, number, spec};
use crate::{Chart, NoChart};

/// Said where points are left out of a picture of latencies.
const OVERLOADED: &str = "crosses are overloaded: their latency grows with the length of the run";

/// A figure over two settings. Overloaded points are crossed out if the figure is a latency.
///
/// # Errors
/// If a column is not there.
pub fn heatmap(points: &[Value], x: &str, y: &str, figure: &str) -> Result<Chart, NoChart> {
    known(points, &[x, y, figure])?;
    // A domain, since layers that lack some values would order the others by themselves.
    let axis = |path: &str, values: Vec<Value>| {
        let scale = json!({ "domain": values });
        json!({ "field": escaped(path), "type": "ordinal", "title": short(path), "scale": scale, "axis": { "labelAngle": 0 } })
    };
    let across = axis(x, values(points, x));
    let up = axis(y, values(points, y).into_iter().rev().collect());
    let cells = json!({
        "mark": "rect",
        "encoding": {
            "x": across,
            "y": up,
            "color": { "field": figure, "type": "quantitative", "title": figure,
                       "scale": { "scheme": "viridis", "type": scale(points, figure) } },
            "tooltip": [{ "field": escaped(x) }, { "field": escaped(y) }, { "field": figure, "format": ".4s" },
                        { "field": "overloaded" }],
        },
        "transform": [{ "filter": shown(figure) }],
    });
    let crosses = json!({
        "mark": { "type": "text", "text": "×", "color": ALARM, "fontSize": 20 },
        "encoding": { "x": across, "y": up },
        "transform": [{ "filter": "datum.overloaded" }],
    });
    let title = format!("{figure} over {} and {}", short(x), short(y));
    let drawn = json!({ "layer": [cells, crosses] });
    Ok(Chart { name: "heatmap", spec: spec(&title, &words(points), points.to_vec(), drawn) })
}

/// A figure over one setting or another figure, in the colours of a setting's values; `joined` by lines.
///
/// # Errors
/// If a column is not there.
pub fn line(points: &[Value], x: &str, figure: &str, colour: Option<&str>, joined: bool) -> Result<Chart, NoChart> {
    known(points, &[&[x, figure][..], colour.as_slice()].concat())?;
    let mut encoding = json!({
        "x": { "field": escaped(x), "type": kind(points, x), "title": short(x), "axis": ticks(points, x),
               "scale": { "zero": false } },
        "y": { "field": figure, "type": "quantitative", "title": figure,
               "scale": { "type": scale(points, figure), "zero": false } },
        "tooltip": [{ "field": escaped(x) }, { "field": figure, "format": ".4s" }, { "field": "overloaded" }],
    });
    if let Some(colour) = colour {
        encoding["color"] = json!({ "field": escaped(colour), "type": "nominal", "title": short(colour), "sort": null });
    }
    let mark = match joined {
        true => json!({ "type": "line", "point": true }),
        false => json!({ "type": "point", "filled": true, "size": 60 }),
    };
    let lines = json!({
        "mark": mark,
        "encoding": encoding,
        "transform": [{ "filter": shown(figure) }],
    });
    // At the upper edge: where they are says nothing.
    let mut beyond = encoding.clone();
    beyond["y"] = json!({ "value": 0 });
    let crosses = json!({
        "mark": { "type": "point", "shape": "cross", "angle": 45, "size": 90, "filled": true },
        "encoding": beyond,
        "transform": [{ "filter": if is_latency(figure) { "datum.overloaded" } else { "false" } }],
    });
    let title = format!("{figure} over {}", short(x));
    let drawn = json!({ "layer": [lines, crosses] });
    Ok(Chart { name: "line", spec: spec(&title, &words(points), points.to_vec(), drawn) })
}

/// Points by two figures, those of which no other has less of both marked.
///
/// # Errors
/// If a column is not there.
pub fn pareto(points: &[Value], cost: &str, latency: &str, settings: &[&str]) -> Result<Chart, NoChart> {
    known(points, &[cost, latency])?;
    let stable: Vec<(f64, f64, &Value)> = points
        .iter()
        .filter(|point| point["overloaded"] != true)
        .filter_map(|point| Some((point[cost].as_f64()?, point[latency].as_f64()?, point)))
        .collect();
    let beaten = |(c, l): (f64, f64)| stable.iter().any(|(oc, ol, _)| *oc <= c && *ol <= l && (*oc < c || *ol < l));
    let mut data: Vec<Value> = Vec::new();
    for (c, l, point) in &stable {
        let mut point = (*point).clone();
        point["front"] = json!(!beaten((*c, *l)));
        data.push(point);
    }
    if data.is_empty() {
        return Err(NoChart("every point is overloaded or has no such figure".to_owned()));
    }
    let mut tooltip: Vec<Value> = settings.iter().map(|path| json!({ "field": escaped(path), "title": short(path) })).collect();
    tooltip.extend([json!({ "field": cost, "format": ".4s" }), json!({ "field": latency, "format": ".4s" })]);
    let (x, mut y) = (number(cost, cost), number(latency, latency));
    y["scale"] = json!({ "type": scale(&data, latency) });
    let all = json!({
        "mark": { "type": "point", "filled": true, "size": 60 },
        "encoding": {
            "x": x, "y": y, "tooltip": tooltip,
            "color": { "condition": { "test": "datum.front", "value": crate::spec::COLOURS[0] }, "value": "#bbbbbb" },
        },
    });
    let front = json!({
        "mark": { "type": "line", "interpolate": "step-after", "color": crate::spec::COLOURS[0] },
        "encoding": { "x": x, "y": y },
        "transform": [{ "filter": "datum.front" }],
    });
    let left_out = points.len() - data.len();
    let doubts = if left_out > 0 {
        vec![format!("{left_out} points that are overloaded or have no such figure are left out")]
    } else {
        Vec::new()
    };
    let title = format!("{latency} against {cost}: blue is worth its money");
    Ok(Chart { name: "pareto", spec: spec(&title, &doubts, data, json!({ "layer": [front, all] })) })
}

/// The last key of a path.
fn short(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn known(points: &[Value], columns: &[&str]) -> Result<(), NoChart> {
    let Some(first) = points.first() else { return Err(NoChart("the sweep has no points".to_owned())) };
    match columns.iter().find(|column| first.get(**column).is_none()) {
        Some(column) => Err(NoChart(format!("the sweep has no column `{column}`"))),
        None => Ok(()),
    }
}

/// The different values of a column: numbers ascending, others as they come.
fn values(points: &[Value], column: &str) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for point in points {
        if !values.contains(&point[column]) {
            values.push(point[column].clone());
        }
    }
    if values.iter().all(Value::is_number) {
        values.sort_by(|a, b| a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)));
    }
    values
}

/// Between whole numbers there is nothing to mark.
fn ticks(points: &[Value], column: &str) -> Value {
    let whole = points.iter().all(|point| point[column].is_i64());
    if whole { json!({ "tickMinStep": 1, "format": "d" }) } else { json!({}) }
}

/// Whether a figure is one that an overloaded run says nothing of.
fn is_latency(figure: &str) -> bool {
    figure.contains("_ms_")
}

/// Which points have the figure.
fn shown(figure: &str) -> String {
    if is_latency(figure) { "!datum.overloaded".to_owned() } else { "true".to_owned() }
}

/// Latencies spread over orders of magnitude, and a logarithm has no place for zero.
fn scale(points: &[Value], figure: &str) -> &'static str {
    let positive = points.iter().all(|point| point[figure].as_f64().is_none_or(|value| value > 0.0));
    if is_latency(figure) && positive { "log" } else { "linear" }
}

fn kind(points: &[Value], column: &str) -> &'static str {
    if points.iter().all(|point| point[column].is_number() || point[column].is_null()) { "quantitative" } else { "nominal" }
}

fn words(points: &[Value]) -> Vec<String> {
    if points.iter().any(|point| point["overloaded"] == true) { vec![OVERLOADED.to_owned()] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<Value> {
        let point = |replicas: u32, top_k: u32, cost: f64, ttft: f64, overloaded: bool| {
            json!({ "cluster.replicas": replicas, "class.a.top_k": top_k, "cost_usd_per_hour": cost, "ttft_ms_p95": ttft,
                    "overloaded": overloaded })
        };
        vec![
            point(10, 4, 30.0, 90.0, false),
            point(2, 4, 6.0, 400.0, false),
            point(1, 4, 3.0, 9000.0, true),
            point(10, 8, 30.0, 120.0, false),
            point(2, 8, 6.0, 300.0, false),
            point(1, 8, 3.0, 80.0, true),
        ]
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let chart = pareto(&points(), "cost_usd_per_hour", "ttft_ms_p95", &["cluster.replicas"]).unwrap();
        let data = chart.spec["data"]["values"].as_array().unwrap();
        let front: Vec<(f64, bool)> =
            data.iter().map(|p| (p["ttft_ms_p95"].as_f64().unwrap(), p["front"].as_bool().unwrap())).collect();
        assert_eq!(front, [(90.0, true), (400.0, false), (120.0, false), (300.0, true)], "an overloaded point is on no front");
        assert_eq!(chart.spec["title"]["subtitle"][0], "2 points that are overloaded or have no such figure are left out");
        let overloaded: Vec<Value> = points().into_iter().filter(|point| point["overloaded"] == true).collect();
        assert!(pareto(&overloaded, "cost_usd_per_hour", "ttft_ms_p95", &[]).is_err());
    }

    #[test]
    fn axes_are_in_order_and_paths_are_fields() {
        let chart = heatmap(&points(), "class.a.top_k", "cluster.replicas", "ttft_ms_p95").unwrap();
        let cells = &chart.spec["layer"][0];
        assert_eq!(cells["encoding"]["y"]["scale"]["domain"], json!([10, 2, 1]), "numbers, upward");
        assert_eq!(cells["encoding"]["x"]["field"], r"class\.a\.top_k");
        assert_eq!(cells["transform"][0]["filter"], "!datum.overloaded");
        assert_eq!(chart.spec["title"]["subtitle"][0], OVERLOADED);
        let cost = heatmap(&points(), "class.a.top_k", "cluster.replicas", "cost_usd_per_hour").unwrap();
        assert_eq!(cost.spec["layer"][0]["transform"][0]["filter"], "true", "what GPUs cost is known anyhow");
    }

    #[test]
    fn columns_that_are_not_there_are_told() {
        let why = line(&points(), "replicas", "ttft_ms_p95", None, true).unwrap_err();
        assert_eq!(why.to_string(), "the sweep has no column `replicas`");
        assert!(line(&[], "replicas", "ttft_ms_p95", None, true).unwrap_err().to_string().contains("no points"));
    }
}
