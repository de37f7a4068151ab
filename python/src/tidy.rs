//! Parts of a report as tables.

use polars::prelude::{Column, DataFrame, NamedFrom, PolarsResult, Series};
use serde_json::Value;

/// A row per object. Nested objects become columns with their keys joined by `_`: `ttft_ms.p95` is `ttft_ms_p95`.
///
/// # Errors
/// If polars refuses.
pub(crate) fn tidy(rows: &[Value]) -> PolarsResult<DataFrame> {
    let mut names: Vec<String> = Vec::new();
    let flat: Vec<Vec<(String, &Value)>> = rows.iter().map(flattened).collect();
    for (name, _) in flat.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let of = |name: &str| flat.iter().map(|row| row.iter().find(|(known, _)| known == name).map(|(_, value)| *value)).collect();
    DataFrame::new(rows.len(), names.iter().map(|name| column(name, of(name))).collect())
}

/// A row per bin of a timeline: its lists, and when each bin begins, `t_s`.
///
/// # Errors
/// If polars refuses.
pub(crate) fn over_time(timeline: &Value) -> PolarsResult<DataFrame> {
    let lists: Vec<(&String, &Vec<Value>)> =
        timeline.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_array()?))).collect();
    let bins = lists.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
    let width = timeline["bin_s"].as_f64().unwrap_or(0.0);
    let mut columns = vec![Series::new("t_s".into(), (0..bins).map(|bin| bin as f64 * width).collect::<Vec<f64>>()).into()];
    columns.extend(
        lists.iter().filter(|(_, list)| list.len() == bins).map(|(name, list)| column(name, list.iter().map(Some).collect())),
    );
    DataFrame::new(bins, columns)
}

fn flattened(row: &Value) -> Vec<(String, &Value)> {
    let mut flat = Vec::new();
    for (key, value) in row.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => flat.extend(flattened(value).into_iter().map(|(inner, value)| (format!("{key}_{inner}"), value))),
            // A list within a row is a table of its own.
            Value::Array(_) => {}
            other => flat.push((key.clone(), other)),
        }
    }
    flat
}

fn column(name: &str, values: Vec<Option<&Value>>) -> Column {
    let given = || values.iter().flatten().filter(|value| !value.is_null());
    if given().any(|value| value.is_string()) {
        return Series::new(name.into(), values.iter().map(|v| v.and_then(Value::as_str)).collect::<Vec<_>>()).into();
    }
    if given().any(|value| value.is_boolean()) {
        return Series::new(name.into(), values.iter().map(|v| v.and_then(Value::as_bool)).collect::<Vec<_>>()).into();
    }
    if given().next().is_some() && given().all(|value| value.is_u64()) {
        return Series::new(name.into(), values.iter().map(|v| v.and_then(Value::as_u64)).collect::<Vec<_>>()).into();
    }
    Series::new(name.into(), values.iter().map(|v| v.and_then(Value::as_f64)).collect::<Vec<_>>()).into()
}
