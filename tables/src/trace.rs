//! Traces in Parquet, turned into plain rows.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{Column, DataFrame, DataType, ParquetReader, SerReader};
use tokentide_sim::scenario::{Scenario, Source, TraceConfig};
use tokentide_sweep::sweep::Rows;
use tokentide_traces::{Ended, NATIVE_COLUMNS, TraceRow, identity};

use crate::error::TableError;

/// So many of [`NATIVE_COLUMNS`] must be there.
const REQUIRED: usize = 3;

/// A Parquet trace, in file order, a row group in memory at a time. `prefix_hashes` is a list of numbers or texts, or one text with
/// spaces, commas or semicolons; what a run recorded can be replayed once it is sorted by `arrival_s`.
pub struct TraceReader {
    path: PathBuf,
    names: Names,
    /// First row and length of the row groups that are not read yet.
    groups: VecDeque<(usize, usize)>,
    rows: std::vec::IntoIter<TraceRow>,
}

impl TraceReader {
    /// Opens a file. `columns` maps our names to the file's (`arrival_s` -> `ts`), with an optional unit of the arrival after a
    /// colon (`ts:ms`; `s`, `ms`, `us` or `ns`); names not in it are looked for as they are.
    ///
    /// # Errors
    /// If the file cannot be read, is not Parquet, or lacks a required or a mapped column.
    pub fn open(path: &Path, columns: &[(String, String)]) -> Result<TraceReader, TableError> {
        let failed = |error| TableError::polars("read", path)(error);
        let mut reader = ParquetReader::new(File::open(path).map_err(TableError::io("read", path))?);
        let present: Vec<String> = reader.schema().map_err(failed)?.iter_names().map(|n| n.to_string()).collect();
        let names = Names::resolve(path, columns, &present)?;
        let lengths = reader.get_metadata().map_err(failed)?.row_groups.iter().map(|group| group.num_rows());
        let groups = lengths.scan(0, |next, rows| {
            *next += rows;
            Some((*next - rows, rows))
        });
        Ok(TraceReader { path: path.to_owned(), names, groups: groups.collect(), rows: Vec::new().into_iter() })
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or holds a value that is no length or time.
    pub fn next_row(&mut self) -> Result<Option<TraceRow>, TableError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            let Some(slice) = self.groups.pop_front() else { return Ok(None) };
            self.rows = self.slice(slice)?.into_iter();
        }
    }

    fn slice(&self, slice: (usize, usize)) -> Result<Vec<TraceRow>, TableError> {
        let reader = ParquetReader::new(File::open(&self.path).map_err(TableError::io("read", &self.path))?);
        let wanted: Vec<String> = self.names.by_ours.values().cloned().collect();
        let read = reader.with_columns(Some(wanted)).with_slice(Some(slice)).finish();
        let frame = read.map_err(TableError::polars("read", &self.path))?;
        Table { path: &self.path, frame, names: &self.names, first: slice.0 }.rows()
    }
}

/// All rows of a Parquet trace.
///
/// # Errors
/// See [`TraceReader`].
pub fn read_trace(path: &Path, columns: &[(String, String)]) -> Result<Vec<TraceRow>, TableError> {
    let mut reader = TraceReader::open(path, columns)?;
    let mut rows = Vec::new();
    while let Some(slice) = reader.groups.pop_front() {
        rows.append(&mut reader.slice(slice)?);
    }
    Ok(rows)
}

/// The rows of a scenario's trace, if it has one in Parquet; others are read where they are replayed.
///
/// # Errors
/// See [`read_trace`].
pub fn trace_rows(scenario: &Scenario) -> Result<Option<Vec<TraceRow>>, TableError> {
    match &scenario.trace {
        Some(trace) if trace.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) => {
            read_trace(&trace.path, &trace.columns).map(Some)
        }
        _ => Ok(None),
    }
}

/// The rows of one trace after another: nearly always there is one, which is read once.
#[derive(Default)]
pub struct TraceCache(Mutex<Option<(TraceConfig, Rows)>>);

impl TraceCache {
    /// As [`trace_rows`].
    ///
    /// # Errors
    /// See [`read_trace`].
    pub fn rows(&self, scenario: &Scenario) -> Result<Option<Rows>, TableError> {
        let Some(trace) = &scenario.trace else { return Ok(None) };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = last.as_ref().filter(|(known, _)| (&known.path, &known.columns) == (&trace.path, &trace.columns)) {
            return Ok(Some(rows.clone()));
        }
        let Some(rows) = trace_rows(scenario)?.map(Arc::new) else { return Ok(None) };
        *last = Some((trace.clone(), rows.clone()));
        Ok(Some(rows))
    }
}

/// Which column of the file is which of ours.
struct Names {
    by_ours: HashMap<&'static str, String>,
    /// Seconds per unit of the arrival column.
    arrival_unit: f64,
}

impl Names {
    fn resolve(path: &Path, map: &[(String, String)], present: &[String]) -> Result<Names, TableError> {
        let mut names = Names { by_ours: HashMap::new(), arrival_unit: 1.0 };
        let mut missing = Vec::new();
        for (ours, theirs) in map {
            let Some(&known) = NATIVE_COLUMNS.iter().find(|c| *c == ours || (**c == "arrival_s" && ours == "arrival")) else {
                return Err(TableError::UnknownColumn { name: ours.clone() });
            };
            let (theirs, unit) = split_unit(known, theirs);
            names.arrival_unit = unit.unwrap_or(names.arrival_unit);
            match present.iter().any(|p| p == theirs) {
                true => drop(names.by_ours.insert(known, theirs.to_owned())),
                false => missing.push(theirs.to_owned()),
            }
        }
        for (i, &ours) in NATIVE_COLUMNS.iter().enumerate() {
            let mapped = map.iter().any(|(o, _)| o == ours || (ours == "arrival_s" && o == "arrival"));
            if mapped {
                continue;
            }
            match present.iter().any(|p| p == ours) {
                true => drop(names.by_ours.insert(ours, ours.to_owned())),
                false if i < REQUIRED => missing.push(ours.to_owned()),
                false => {}
            }
        }
        if missing.is_empty() {
            Ok(names)
        } else {
            Err(TableError::MissingColumns { path: path.to_owned(), missing, present: present.to_vec() })
        }
    }
}

/// `ts:ms` -> (`ts`, 0.001); only an arrival has a unit, so that a column may have a colon in its name.
fn split_unit<'a>(ours: &str, theirs: &'a str) -> (&'a str, Option<f64>) {
    if ours == "arrival_s"
        && let Some((name, unit)) = theirs.rsplit_once(':')
        && let Some((_, factor)) = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)].iter().find(|(u, _)| *u == unit)
    {
        return (name, Some(*factor));
    }
    (theirs, None)
}

struct Table<'a> {
    path: &'a Path,
    frame: DataFrame,
    names: &'a Names,
    /// Place of its first row in the file.
    first: usize,
}

impl Table<'_> {
    fn rows(&self) -> Result<Vec<TraceRow>, TableError> {
        let mut rows = vec![TraceRow::default(); self.frame.height()];
        self.fill_arrivals(&mut rows)?;
        self.fill_tokens(&mut rows, "input_tokens", true, |row, v| row.input_tokens = v.unwrap_or(0))?;
        self.fill_tokens(&mut rows, "output_tokens", true, |row, v| row.output_tokens = v.unwrap_or(0))?;
        self.fill_tokens(&mut rows, "max_tokens", false, |row, v| row.max_tokens = v)?;
        self.fill_tokens(&mut rows, "prefix_block_tokens", false, |row, v| row.prefix_block_tokens = v)?;
        self.fill_text(&mut rows, "class", |row, v| row.class = v)?;
        self.fill_text(&mut rows, "tenant", |row, v| row.tenant = v)?;
        self.fill_text(&mut rows, "route", |row, v| row.route = v)?;
        self.fill_text(&mut rows, "session", |row, v| row.session = v)?;
        self.fill_text(&mut rows, "model", |row, v| row.model = v)?;
        self.fill_tokens(&mut rows, "turn", false, |row, v| row.turn = v)?;
        self.fill_tokens(&mut rows, "history_tokens", false, |row, v| row.history_tokens = v)?;
        self.fill_span(&mut rows, "delay_s", 1e12, |row, v| row.delay_ps = v)?;
        self.fill_observed(&mut rows)?;
        self.fill_hashes(&mut rows)?;
        for (i, source) in Source::ALL.into_iter().enumerate() {
            self.fill_tokens(&mut rows, &format!("in_{}", source.name()), false, |row, v| row.sources[i] = v.unwrap_or(0))?;
        }
        Ok(rows)
    }

    /// The column and its name in the file, cast to `to` if its type is one of numbers (or, for text, numbers or text).
    fn cast(&self, ours: &str, to: &DataType, expected: &'static str) -> Result<Option<(String, Column)>, TableError> {
        let Some(theirs) = self.names.by_ours.get(ours) else { return Ok(None) };
        let column = self.frame.column(theirs).map_err(TableError::polars("read", self.path))?;
        let text_to_text = *to == DataType::String && (column.dtype().is_string() || column.dtype().is_primitive_numeric());
        if !(text_to_text || column.dtype().is_primitive_numeric() && *to != DataType::String || column.dtype().is_null()) {
            let found = column.dtype().to_string();
            return Err(TableError::ColumnType { path: self.path.to_owned(), column: theirs.clone(), found, expected });
        }
        let cast = column.cast(to).map_err(TableError::polars("read", self.path))?;
        Ok(Some((theirs.clone(), cast)))
    }

    fn fill_arrivals(&self, rows: &mut [TraceRow]) -> Result<(), TableError> {
        let expected = "a number of seconds (or another unit, named in the column map such as `ts:ms`)";
        let Some((name, column)) = self.cast("arrival_s", &DataType::Float64, expected)? else { return Ok(()) };
        let values = column.f64().map_err(TableError::polars("read", self.path))?;
        for (i, (row, value)) in rows.iter_mut().zip(values.iter()).enumerate() {
            match value.filter(|v| v.is_finite()) {
                Some(v) => row.arrival_ps = (v * self.names.arrival_unit * 1e12).round() as i128,
                None => return Err(self.bad(i, &name, show(value), "a finite number")),
            }
        }
        Ok(())
    }

    fn fill_tokens(
        &self,
        rows: &mut [TraceRow],
        ours: &str,
        required: bool,
        set: impl Fn(&mut TraceRow, Option<u32>),
    ) -> Result<(), TableError> {
        const EXPECTED: &str = "a whole number from 0 to 4294967294";
        let Some((name, column)) = self.cast(ours, &DataType::Float64, EXPECTED)? else { return Ok(()) };
        let values = column.f64().map_err(TableError::polars("read", self.path))?;
        for (i, (row, value)) in rows.iter_mut().zip(values.iter()).enumerate() {
            match value {
                Some(v) if v >= 0.0 && v.fract() == 0.0 && v < f64::from(u32::MAX) => set(row, Some(v as u32)),
                None if !required => set(row, None),
                _ => return Err(self.bad(i, &name, show(value), EXPECTED)),
            }
        }
        Ok(())
    }

    /// A length of time, so many picoseconds per unit of the file.
    fn fill_span(
        &self,
        rows: &mut [TraceRow],
        ours: &str,
        unit_ps: f64,
        set: impl Fn(&mut TraceRow, Option<u64>),
    ) -> Result<(), TableError> {
        const EXPECTED: &str = "a length of time of at least 0";
        let Some((name, column)) = self.cast(ours, &DataType::Float64, EXPECTED)? else { return Ok(()) };
        let values = column.f64().map_err(TableError::polars("read", self.path))?;
        for (i, (row, value)) in rows.iter_mut().zip(values.iter()).enumerate() {
            match value {
                Some(v) if v >= 0.0 && v * unit_ps < 1.8e19 => set(row, Some((v * unit_ps).round() as u64)),
                None => set(row, None),
                _ => return Err(self.bad(i, &name, show(value), EXPECTED)),
            }
        }
        Ok(())
    }

    fn fill_observed(&self, rows: &mut [TraceRow]) -> Result<(), TableError> {
        self.fill_tokens(rows, "reasoning_tokens", false, |row, v| row.observed.reasoning_tokens = v)?;
        self.fill_tokens(rows, "cached_tokens", false, |row, v| row.observed.cached_tokens = v)?;
        self.fill_tokens(rows, "images", false, |row, v| row.observed.images = v)?;
        self.fill_span(rows, "queue_ms", 1e9, |row, v| row.observed.queue_ps = v)?;
        self.fill_span(rows, "ttft_ms", 1e9, |row, v| row.observed.ttft_ps = v)?;
        self.fill_span(rows, "e2e_ms", 1e9, |row, v| row.observed.e2e_ps = v)?;
        self.fill_text(rows, "finish_reason", |row, v| row.observed.finish = v.as_deref().and_then(Ended::named))
    }

    fn fill_text(&self, rows: &mut [TraceRow], ours: &str, set: impl Fn(&mut TraceRow, Option<String>)) -> Result<(), TableError> {
        let Some((_, column)) = self.cast(ours, &DataType::String, "text or numbers")? else { return Ok(()) };
        let values = column.str().map_err(TableError::polars("read", self.path))?;
        rows.iter_mut().zip(values.iter()).for_each(|(row, value)| set(row, value.map(str::to_owned)));
        Ok(())
    }

    fn fill_hashes(&self, rows: &mut [TraceRow]) -> Result<(), TableError> {
        let Some(theirs) = self.names.by_ours.get("prefix_hashes") else { return Ok(()) };
        let failed = |error| TableError::polars("read", self.path)(error);
        let column = self.frame.column(theirs).map_err(failed)?;
        if !matches!(column.dtype(), DataType::List(_)) {
            return self.fill_text(rows, "prefix_hashes", |row, text| {
                let parts = text.as_deref().unwrap_or_default().split([' ', ',', ';']).filter(|part| !part.is_empty());
                row.prefix_hashes = parts.map(identity).collect();
            });
        }
        let lists = column.list().map_err(failed)?;
        for (i, row) in rows.iter_mut().enumerate() {
            let Some(list) = lists.get_as_series(i) else { continue };
            let texts = list.cast(&DataType::String).map_err(failed)?;
            row.prefix_hashes = texts.str().map_err(failed)?.iter().flatten().map(identity).collect();
        }
        Ok(())
    }

    fn bad(&self, row: usize, column: &str, found: String, expected: &'static str) -> TableError {
        TableError::Value { path: PathBuf::from(self.path), row: self.first + row + 1, column: column.to_owned(), found, expected }
    }
}

fn show(value: Option<f64>) -> String {
    value.map_or("empty".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordWriter;
    use crate::testing::{TempDir, labels, outcome};
    use polars::prelude::{NamedFrom, ParquetWriter, PlSmallStr, Series};

    fn write(dir: &TempDir, columns: Vec<Column>) -> PathBuf {
        let path = dir.path("trace.parquet");
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(File::create(&path).unwrap()).finish(&mut frame).unwrap();
        path
    }

    fn column<T>(name: &str, values: Vec<T>) -> Column
    where
        Series: NamedFrom<Vec<T>, [T]>,
        Vec<T>: AsRef<[T]>,
    {
        Series::new(PlSmallStr::from_str(name), values).into()
    }

    #[test]
    fn records_of_a_run_are_a_trace() {
        let dir = TempDir::new("trace-roundtrip");
        let path = dir.path("records.parquet");
        let mut writer = RecordWriter::create(&path, labels()).unwrap();
        for id in 0..3 {
            writer.push(&outcome(id)).unwrap();
        }
        writer.finish().unwrap();
        let rows = read_trace(&path, &[]).unwrap();
        assert_eq!(rows.len(), 3);
        let expected = TraceRow {
            arrival_ps: 2_500_000_000_000,
            input_tokens: 1000,
            output_tokens: 11,
            max_tokens: None,
            class: Some("chat".to_owned()),
            tenant: Some("acme".to_owned()),
            route: None,
            session: Some("7".to_owned()),
            sources: [900, 0, 0, 0, 0, 100, 0, 0],
            model: Some("llama-3.1-8b".to_owned()),
            turn: rows[1].turn,
            observed: rows[1].observed,
            ..TraceRow::default()
        };
        assert_eq!(rows[1], expected);
        assert!(rows[1].observed.ttft_ps.is_some() && rows[1].observed.finish == Some(Ended::Stop));
    }

    /// Row groups follow one another, and what is wrong in a later one has its place in the file.
    #[test]
    fn row_groups_are_read_one_by_one() {
        let dir = TempDir::new("trace-groups");
        let path = dir.path("trace.parquet");
        let frame = |bad: f64| {
            let arrivals: Vec<f64> = (0..2500).map(f64::from).collect();
            let inputs: Vec<f64> = (0..2500).map(|i| if i == 2100 { bad } else { f64::from(i + 1) }).collect();
            let outputs: Vec<u32> = vec![5; 2500];
            let columns = vec![column("arrival_s", arrivals), column("input_tokens", inputs), column("output_tokens", outputs)];
            DataFrame::new_infer_height(columns).unwrap()
        };
        let write = |bad: f64| {
            let writer = ParquetWriter::new(File::create(&path).unwrap()).with_row_group_size(Some(1000));
            writer.finish(&mut frame(bad)).unwrap();
        };
        write(7.0);
        let mut reader = TraceReader::open(&path, &[]).unwrap();
        assert_eq!(reader.groups, [(0, 1250), (1250, 1250)]);
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            rows.push(row);
        }
        assert_eq!((rows.len(), rows[2099].input_tokens, rows[2100].input_tokens), (2500, 2100, 7));
        assert_eq!(rows, read_trace(&path, &[]).unwrap());
        write(-1.0);
        assert!(read_trace(&path, &[]).unwrap_err().to_string().contains("row 2101 of"));
    }

    #[test]
    fn a_column_map_renames_and_scales() {
        let dir = TempDir::new("trace-map");
        let path = write(
            &dir,
            vec![column("ts", vec![1500_i64, 2500]), column("prompt", vec![10_i64, 20]), column("output_tokens", vec![5_u32, 6])],
        );
        let map = [("arrival_s".to_owned(), "ts:ms".to_owned()), ("input_tokens".to_owned(), "prompt".to_owned())];
        let rows = read_trace(&path, &map).unwrap();
        assert_eq!((rows[1].arrival_ps, rows[1].input_tokens, rows[1].output_tokens), (2_500_000_000_000, 20, 6));
    }

    #[test]
    fn prefix_hashes_are_lists_or_text() {
        let dir = TempDir::new("trace-hashes");
        let plain = || {
            vec![
                column("arrival_s", vec![0.0, 1.0]),
                column("input_tokens", vec![30_u32, 40]),
                column("output_tokens", vec![5_u32, 6]),
            ]
        };
        let lists = [Series::new(PlSmallStr::EMPTY, [46_i64, 47]), Series::new(PlSmallStr::EMPTY, [46_i64, 47, 2353])];
        for hashes in [column("prefix_hashes", vec!["46;47", "46 47, 2353"]), Series::new("prefix_hashes".into(), lists).into()] {
            let mut columns = plain();
            columns.extend([hashes, column("prefix_block_tokens", vec![16_u32, 16])]);
            let rows = read_trace(&write(&dir, columns), &[]).unwrap();
            assert_eq!((&rows[0].prefix_hashes[..], &rows[1].prefix_hashes[..]), (&[46, 47][..], &[46, 47, 2353][..]));
            assert_eq!(rows[1].prefix_block_tokens, Some(16));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dir = TempDir::new("trace-wrong");
        let text = |path: &Path, map: &[(String, String)]| read_trace(path, map).unwrap_err().to_string();
        let path = write(&dir, vec![column("arrival_s", vec![0.0, 1.0]), column("input", vec![1_u32, 2])]);
        let message = text(&path, &[]);
        assert!(message.contains("no column `input_tokens`, `output_tokens`; its columns are `arrival_s`, `input`"), "{message}");
        let message = text(&path, &[("inputs".to_owned(), "input".to_owned())]);
        assert!(message.contains("names `inputs`, which is no column of a trace"), "{message}");

        let ok = || vec![column("arrival_s", vec![0.0, 1.0]), column("output_tokens", vec![5_u32, 6])];
        for (bad, says) in [
            (column("input_tokens", vec![Some(3_i64), None]), "row 2 of"),
            (column("input_tokens", vec![3_i64, -1]), "column `input_tokens` is -1, expected a whole number"),
            (column("input_tokens", vec![3.0, 1.5]), "is 1.5, expected a whole number"),
            (column("input_tokens", vec![3_u64, 1 << 40]), "expected a whole number from 0"),
            (column("input_tokens", vec!["a", "b"]), "column `input_tokens` of"),
        ] {
            let mut columns = ok();
            columns.push(bad);
            let message = text(&write(&dir, columns), &[]);
            assert!(message.contains(says), "{message}");
        }
        let path = dir.path("not.parquet");
        std::fs::write(&path, "arrival_s,input_tokens\n0,1\n").unwrap();
        assert!(text(&path, &[]).contains("cannot read"));
        assert!(text(&dir.path("absent.parquet"), &[]).contains("cannot read"));
    }
}
