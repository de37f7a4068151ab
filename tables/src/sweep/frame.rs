//! Rows of a sweep as a data frame.

use polars::prelude::{Column, DataFrame, NamedFrom, PolarsResult, Series};
use tokentide_sweep::design::Kind;
use tokentide_sweep::row::{PointRows, Ran, Row};
use tokentide_sweep::sweep::{Sweep, shown};
use toml::Value;

/// A row with its point's index and settings.
struct Entry<'a> {
    point: &'a PointRows,
    index: u64,
    settings: &'a [(String, Value)],
    row: &'a Row,
}

/// The rows of some points, each with its index: a row per point and replication, in the order given.
///
/// # Errors
/// If polars refuses.
pub fn sweep_frame(sweep: &Sweep, points: &[(u64, PointRows)]) -> PolarsResult<DataFrame> {
    let settings: Vec<Vec<(String, Value)>> = points.iter().map(|(index, _)| sweep.design().point(*index)).collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for ((index, point), settings) in points.iter().zip(&settings) {
        entries.extend(point.rows.iter().map(|row| Entry { point, index: *index, settings, row }));
    }
    let height = entries.len();
    let mut columns: Vec<Column> = vec![
        column("point", entries.iter().map(|e| e.point.point.to_string()).collect::<Vec<_>>()),
        column("index", entries.iter().map(|e| e.index).collect::<Vec<_>>()),
        column("replication", entries.iter().map(|e| e.row.replication).collect::<Vec<_>>()),
        column("seed", entries.iter().map(|e| e.row.seed).collect::<Vec<_>>()),
    ];
    columns.extend(sweep.design().paths().iter().map(|(path, kind)| setting(path, *kind, &entries)));
    let rans: Vec<Option<&Ran>> = entries.iter().map(|e| e.row.result.as_ref().ok()).collect();
    let text = |of: fn(&Ran) -> Option<String>| rans.iter().map(|ran| ran.and_then(of)).collect::<Vec<_>>();
    columns.push(column("error", entries.iter().map(|e| e.row.result.as_ref().err().cloned()).collect::<Vec<_>>()));
    columns.push(column("capacity_state", text(|ran| Some(ran.state.clone()))));
    columns.push(column("calibrated", rans.iter().map(|ran| ran.map(|ran| ran.calibrated)).collect::<Vec<_>>()));
    columns.push(column("out_of_range", text(|ran| Some(ran.out_of_range.clone()).filter(|text| !text.is_empty()))));
    columns.push(column("slo_met", rans.iter().map(|ran| ran.and_then(|ran| ran.slo_met)).collect::<Vec<_>>()));
    for (place, name) in sweep.columns().names().iter().enumerate() {
        let figure = |ran: &Option<&Ran>| ran.and_then(|ran| ran.figures.get(place).copied().flatten());
        columns.push(column(name, rans.iter().map(figure).collect::<Vec<Option<f64>>>()));
    }
    columns.push(column("scenario", text(|ran| Some(ran.scenario.clone()))));
    columns.push(column("profile", text(|ran| Some(ran.profile.clone()))));
    columns.push(column("trace", text(|ran| ran.trace.clone())));
    let identity = sweep.identity();
    let common = [
        ("version", &identity.version),
        ("base", &identity.base),
        ("base_profile", &identity.profile),
        ("seeds", &identity.seeds),
        ("design", &sweep.design_hash()),
    ];
    columns.extend(common.map(|(name, value)| column(name, vec![value.as_str(); height])));
    columns.push(column("points", vec![sweep.design().points(); height]));
    DataFrame::new(height, columns)
}

fn column<T, P: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, P>,
{
    Series::new(name.into(), values).into()
}

/// The column of a setting; null where a listed point does not have it.
fn setting(path: &str, kind: Kind, entries: &[Entry<'_>]) -> Column {
    let values: Vec<Option<&Value>> =
        entries.iter().map(|entry| entry.settings.iter().find(|(known, _)| known == path).map(|(_, value)| value)).collect();
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    match kind {
        Kind::Bool => column(path, values.iter().map(|v| v.and_then(Value::as_bool)).collect::<Vec<_>>()),
        Kind::Int => column(path, values.iter().map(|v| v.and_then(Value::as_integer)).collect::<Vec<_>>()),
        Kind::Float => column(path, values.iter().map(|v| v.and_then(number)).collect::<Vec<_>>()),
        Kind::Text => column(path, values.iter().map(|v| v.map(shown)).collect::<Vec<_>>()),
    }
}
