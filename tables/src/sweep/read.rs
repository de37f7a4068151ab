//! Tables of sweeps, read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use polars::prelude::{AnyValue, Column, CsvReadOptions, DataFrame, DataType, Field, ParquetReader, Schema, SerReader};
use serde_json::Value as Json;
use tokentide_sweep::journal::differing;
use tokentide_sweep::point::PointId;
use tokentide_sweep::row::{PointRows, Ran, Row};
use tokentide_sweep::sweep::{Identity, Sweep};

use super::error::SweepTableError;
use crate::error::TableError;
use crate::writer::TableFormat;

/// A file as it is: Parquet with its types, CSV as texts, which are then written as they were read.
pub(super) fn open(path: &Path) -> Result<DataFrame, TableError> {
    let polars = |error| TableError::polars("read", path)(error);
    let file = File::open(path).map_err(TableError::io("read", path))?;
    match TableFormat::of(path)? {
        TableFormat::Parquet => ParquetReader::new(file).finish().map_err(polars),
        TableFormat::Csv => {
            let options = CsvReadOptions::default().with_has_header(true).with_infer_schema_length(Some(0));
            options.into_reader_with_file_handle(file).finish().map_err(polars)
        }
    }
}

/// The table of a sweep, and the paths of its settings.
///
/// # Errors
/// If it cannot be read, or is another table.
pub fn open_sweep(path: &Path) -> Result<(DataFrame, Vec<String>), SweepTableError> {
    let frame = match TableFormat::of(path)? {
        TableFormat::Parquet => open(path)?,
        TableFormat::Csv => {
            let file = File::open(path).map_err(TableError::io("read", path))?;
            // Types are those of all rows: a figure may be whole in the first thousand.
            let options = CsvReadOptions::default().with_has_header(true).with_infer_schema_length(None);
            let texts = Arc::new(Schema::from_iter(TEXTS.map(|name| Field::new(name.into(), DataType::String))));
            let options = options.with_schema_overwrite(Some(texts));
            options.into_reader_with_file_handle(file).finish().map_err(TableError::polars("read", path))?
        }
    };
    let names: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    let place = |name: &str| {
        let missing = || SweepTableError::NoSweep { path: path.to_owned(), column: name.to_owned() };
        names.iter().position(|known| known == name).ok_or_else(missing)
    };
    let (first, last) = (place("seed")? + 1, place("error")?);
    for name in ["point", "index", "replication", "capacity_state"].iter().chain(&super::COMMON) {
        place(name)?;
    }
    let settings = names.get(first..last).unwrap_or_default().to_vec();
    Ok((frame, settings))
}

/// The table of a sweep as an object of columns: for charts.
///
/// # Errors
/// As [`open_sweep`].
pub fn sweep_columns(path: &Path) -> Result<serde_json::Value, SweepTableError> {
    let (frame, _) = open_sweep(path)?;
    let mut columns = serde_json::Map::new();
    for column in frame.columns() {
        let cells: Result<Vec<Json>, _> = (0..column.len()).map(|row| column.get(row).map(json)).collect();
        columns.insert(column.name().to_string(), Json::Array(cells.map_err(TableError::polars("read", path))?));
    }
    Ok(Json::Object(columns))
}

fn json(cell: AnyValue<'_>) -> Json {
    match cell {
        AnyValue::Null => Json::Null,
        AnyValue::Boolean(flag) => Json::Bool(flag),
        AnyValue::String(text) => Json::from(text),
        AnyValue::StringOwned(text) => Json::from(text.as_str()),
        value if value.is_float() => value.extract::<f64>().map_or(Json::Null, Json::from),
        value => value.extract::<i64>().map_or_else(|| value.extract::<u64>().map_or(Json::Null, Json::from), Json::from),
    }
}

/// Columns of texts, which may look like numbers.
const TEXTS: [&str; 11] = [
    "point",
    "error",
    "capacity_state",
    "out_of_range",
    "scenario",
    "profile",
    "trace",
    "version",
    "base",
    "base_profile",
    "design",
];

/// Cells of a table, whatever they are written as.
pub(super) struct Cells<'a> {
    path: &'a Path,
    frame: &'a DataFrame,
}

impl<'a> Cells<'a> {
    pub(super) fn of(path: &'a Path, frame: &'a DataFrame) -> Cells<'a> {
        Cells { path, frame }
    }

    fn column(&self, name: &str) -> Result<&'a Column, SweepTableError> {
        let missing = |_| SweepTableError::NoSweep { path: self.path.to_owned(), column: name.to_owned() };
        self.frame.column(name).map_err(missing)
    }

    fn cast(&self, name: &str, to: &DataType) -> Result<Column, SweepTableError> {
        Ok(self.column(name)?.cast(to).map_err(TableError::polars("read", self.path))?)
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<String>>, SweepTableError> {
        let column = self.cast(name, &DataType::String)?;
        let texts = column.str().map_err(TableError::polars("read", self.path))?;
        Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// Numbers that every row has.
    pub(super) fn counts(&self, name: &str) -> Result<Vec<u64>, SweepTableError> {
        let column = self.cast(name, &DataType::UInt64)?;
        let counts = column.u64().map_err(TableError::polars("read", self.path))?;
        counts.iter().enumerate().map(|(row, n)| n.ok_or_else(|| self.cell(row, name))).collect()
    }

    fn floats(&self, name: &str) -> Result<Vec<Option<f64>>, SweepTableError> {
        let column = self.cast(name, &DataType::Float64)?;
        Ok(column.f64().map_err(TableError::polars("read", self.path))?.iter().collect())
    }

    fn flags(&self, name: &str) -> Result<Vec<Option<bool>>, SweepTableError> {
        Ok(self.texts(name)?.iter().map(|text| text.as_ref().map(|text| text == "true")).collect())
    }

    pub(super) fn cell(&self, row: usize, column: &str) -> SweepTableError {
        SweepTableError::Cell { path: self.path.to_owned(), row: row + 1, column: column.to_owned() }
    }
}

/// What a sweep has already run, of a table that it or a smaller one has written: figures by the names of `sweep`'s columns.
///
/// # Errors
/// If it cannot be read, or is of another scenario, program, profile or seed.
pub fn read_sweep(path: &Path, sweep: &Sweep) -> Result<Vec<PointRows>, SweepTableError> {
    let frame = open(path)?;
    let cells = Cells::of(path, &frame);
    check(&cells, path, sweep.identity())?;
    let (points, replications, seeds) = (cells.texts("point")?, cells.counts("replication")?, cells.counts("seed")?);
    let names = ["error", "capacity_state", "out_of_range", "scenario", "profile", "trace"];
    let [errors, states, ranges, scenarios, profiles, traces] = names.map(|name| cells.texts(name));
    let (errors, states, ranges, scenarios, profiles, traces) = (errors?, states?, ranges?, scenarios?, profiles?, traces?);
    let (calibrated, met) = (cells.flags("calibrated")?, cells.flags("slo_met")?);
    let present = frame.get_column_names();
    let figures: Vec<Vec<Option<f64>>> = sweep
        .columns()
        .names()
        .iter()
        .map(|name| match present.iter().any(|known| known.as_str() == name) {
            true => cells.floats(name),
            false => Ok(vec![None; frame.height()]),
        })
        .collect::<Result<_, _>>()?;
    let mut all: BTreeMap<PointId, PointRows> = BTreeMap::new();
    for row in 0..frame.height() {
        let point = points[row].as_deref().and_then(PointId::parse).ok_or_else(|| cells.cell(row, "point"))?;
        let ran = || Ran {
            scenario: scenarios[row].clone().unwrap_or_default(),
            profile: profiles[row].clone().unwrap_or_default(),
            trace: traces[row].clone(),
            state: states[row].clone().unwrap_or_default(),
            calibrated: calibrated[row] == Some(true),
            out_of_range: ranges[row].clone().unwrap_or_default(),
            slo_met: met[row],
            figures: figures.iter().map(|column| column[row]).collect(),
        };
        let replication = u32::try_from(replications[row]).map_err(|_| cells.cell(row, "replication"))?;
        let result = errors[row].clone().map_or_else(|| Ok(ran()), Err);
        let entry = all.entry(point).or_insert_with(|| PointRows { point, rows: Vec::new() });
        // A point that is drawn twice has its rows twice.
        if entry.rows.iter().all(|known| known.replication != replication) {
            entry.rows.push(Row { replication, seed: seeds[row], result });
        }
    }
    Ok(all.into_values().collect())
}

/// Whether all rows are of this identity.
fn check(cells: &Cells<'_>, path: &Path, expected: &Identity) -> Result<(), SweepTableError> {
    let (version, base) = (cells.texts("version")?, cells.texts("base")?);
    let (profile, seeds) = (cells.texts("base_profile")?, cells.texts("seeds")?);
    for (((version, base), profile), seeds) in version.into_iter().zip(base).zip(profile).zip(seeds) {
        let [version, base, profile, seeds] = [version, base, profile, seeds].map(Option::unwrap_or_default);
        let found = Identity { version, base, profile, seeds };
        if let Some((field, found, expected)) = differing(&found, expected) {
            let (field, other) = (field.to_owned(), "this sweep".to_owned());
            return Err(SweepTableError::Mixed { path: path.to_owned(), field, found, other, expected });
        }
    }
    Ok(())
}
