//! Traces as Parquet or CSV: the columns that `simulate --trace` reads.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use polars::prelude::{
    Column, DataFrame, DataType, IntoSeries, ListBuilderTrait, ListPrimitiveChunkedBuilder, NamedFrom, PlSmallStr, PolarsResult,
    Series, UInt64Type,
};
use tokentide_traces::{NATIVE_COLUMNS, Source, TraceRow};

use crate::columns::{ColumnInfo, SOURCE_COLUMNS, column};
use crate::error::TableError;
use crate::writer::{TableFormat, TableWriter};

/// Rows that are turned into a frame at once.
const BATCH_ROWS: usize = 1 << 15;

/// Columns of a trace, in the order of the file.
pub const TRACE_COLUMNS: &[ColumnInfo] = &[
    column("arrival_s", "s", "Arrival, from any origin; of a turn with a delay, that of its session's first turn."),
    column("input_tokens", "tokens", "Length of the final assembled prompt."),
    column("output_tokens", "tokens", "Length of the answer as it was given, reasoning included."),
    column("max_tokens", "tokens", "Requested maximum of output tokens; null if unknown."),
    column("class", "", "Workload class; null: the scenario's first."),
    column("tenant", "", "Tenant label."),
    column("route", "", "Route or feature label."),
    column("session", "", "Conversation that it belongs to."),
    column("prefix_hashes", "", "Identities of the prompt's blocks, in order."),
    column("prefix_block_tokens", "tokens", "Tokens per identity."),
    SOURCE_COLUMNS[0],
    SOURCE_COLUMNS[1],
    SOURCE_COLUMNS[2],
    SOURCE_COLUMNS[3],
    SOURCE_COLUMNS[4],
    SOURCE_COLUMNS[5],
    SOURCE_COLUMNS[6],
    SOURCE_COLUMNS[7],
    column("model", "", "Model that was asked for."),
    column("turn", "", "Turn of the session, from 0."),
    column("delay_s", "s", "From the end of the turn before: such a turn waits for that end, and has no arrival of its own."),
    column("history_tokens", "tokens", "Of the prompt, the session's conversation so far, unchanged: a prefix cache finds it."),
    column("reasoning_tokens", "tokens", "Of the answer, reasoning, as observed."),
    column("cached_tokens", "tokens", "Of the prompt, found in a cache, as observed where it was recorded."),
    column("images", "", "Images in the prompt."),
    column("queue_ms", "ms", "Arrival to first scheduling, as observed; as all observed columns, never a load."),
    column("ttft_ms", "ms", "Arrival to first token, as observed."),
    column("e2e_ms", "ms", "Arrival to last token, as observed."),
    column("finish_reason", "", "How it ended, as observed: stop, length, abort or error."),
];

/// Batches on their way to the writing thread.
const BATCHES: usize = 2;

/// Writes the rows of a trace, on a thread of its own: rows are read as fast as if nothing were written. The file appears under its
/// name when [`TraceWriter::finish`] succeeds and not before.
pub struct TraceWriter {
    rows: Vec<TraceRow>,
    /// Until the last row is sent.
    batches: Option<SyncSender<Vec<TraceRow>>>,
    /// Until it is asked for the file.
    thread: Option<JoinHandle<Result<TableWriter, TableError>>>,
}

impl TraceWriter {
    /// Opens the file, so that a path that cannot be written is found before the work and not after it.
    ///
    /// # Errors
    /// [`TableError::UnknownExtension`], or [`TableError::Io`] if the file cannot be made.
    pub fn create(path: &Path) -> Result<TraceWriter, TableError> {
        let text = TableFormat::of(path)? == TableFormat::Csv;
        let schema = frame(&[], 0, text).map_err(TableError::polars("write", path))?.schema().as_ref().clone();
        let mut file = TableWriter::create(path, &schema)?;
        let (batches, received) = sync_channel::<Vec<TraceRow>>(BATCHES);
        let write = move || {
            let mut origin = None;
            for rows in received {
                let origin = *origin.get_or_insert(rows.first().map_or(0, |row| row.arrival_ps));
                let frame = frame(&rows, origin, text);
                file.write(&frame.map_err(TableError::polars("write", file.path()))?)?;
            }
            Ok(file)
        };
        Ok(TraceWriter { rows: Vec::new(), batches: Some(batches), thread: Some(std::thread::spawn(write)) })
    }

    /// Adds a row. Times are written from the first row's arrival on.
    ///
    /// # Errors
    /// If a full batch cannot be written.
    pub fn push(&mut self, row: TraceRow) -> Result<(), TableError> {
        self.rows.push(row);
        if self.rows.len() < BATCH_ROWS || self.send() {
            return Ok(());
        }
        // The thread has ended before its time, and knows why.
        self.join().map(drop)
    }

    /// Writes what is left and puts the file in its place.
    ///
    /// # Errors
    /// If it cannot be written; what was under the name before is then untouched.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.send();
        self.join()?.finish()
    }

    /// Hands the rows over; false if nobody takes them.
    fn send(&mut self) -> bool {
        let rows = std::mem::take(&mut self.rows);
        rows.is_empty() || self.batches.as_ref().is_some_and(|batches| batches.send(rows).is_ok())
    }

    fn join(&mut self) -> Result<TableWriter, TableError> {
        self.batches = None;
        let Some(thread) = self.thread.take() else { return Err(TableError::Writer) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for TraceWriter {
    /// A file that is not finished is removed, before anybody can look.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn series<T>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
{
    Series::new(PlSmallStr::from_str(name), values).into()
}

/// A column that may have no value at all in a batch, which costs next to nothing then.
fn optional<T>(name: &str, kind: &DataType, rows: &[TraceRow], of: impl Fn(&TraceRow) -> Option<T>) -> Column
where
    Series: NamedFrom<Vec<Option<T>>, [Option<T>]>,
{
    match rows.iter().any(|row| of(row).is_some()) {
        true => series(name, rows.iter().map(of).collect()),
        false => Column::full_null(PlSmallStr::from_str(name), rows.len(), kind),
    }
}

fn frame(rows: &[TraceRow], origin: i128, text: bool) -> PolarsResult<DataFrame> {
    let tokens = |name: &str, of: &dyn Fn(&TraceRow) -> Option<u32>| optional(name, &DataType::UInt32, rows, of);
    let label = |name: &str, of: for<'r> fn(&'r TraceRow) -> Option<&'r str>| match rows.iter().any(|row| of(row).is_some()) {
        true => series(name, rows.iter().map(of).collect()),
        false => Column::full_null(PlSmallStr::from_str(name), rows.len(), &DataType::String),
    };
    let time = |name: &str, per: f64, of: fn(&TraceRow) -> Option<u64>| {
        optional(name, &DataType::Float64, rows, |row| of(row).map(|ps| ps as f64 / per))
    };
    let mut columns = Vec::with_capacity(NATIVE_COLUMNS.len());
    columns.push(series("arrival_s", rows.iter().map(|row| (row.arrival_ps - origin) as f64 / 1e12).collect::<Vec<_>>()));
    columns.push(series("input_tokens", rows.iter().map(|row| row.input_tokens).collect::<Vec<_>>()));
    columns.push(series("output_tokens", rows.iter().map(|row| row.output_tokens).collect::<Vec<_>>()));
    columns.push(tokens("max_tokens", &|row| row.max_tokens));
    columns.push(label("class", |row| row.class.as_deref()));
    columns.push(label("tenant", |row| row.tenant.as_deref()));
    columns.push(label("route", |row| row.route.as_deref()));
    columns.push(label("session", |row| row.session.as_deref()));
    columns.push(hashes(rows, text));
    columns.push(tokens("prefix_block_tokens", &|row| row.prefix_block_tokens.filter(|_| !row.prefix_hashes.is_empty())));
    for source in Source::ALL {
        let of = |row: &TraceRow| row.sources.iter().any(|t| *t > 0).then_some(row.sources[source as usize]);
        columns.push(tokens(&format!("in_{}", source.name()), &of));
    }
    columns.push(label("model", |row| row.model.as_deref()));
    columns.push(tokens("turn", &|row| row.turn));
    columns.push(time("delay_s", 1e12, |row| row.delay_ps));
    columns.push(tokens("history_tokens", &|row| row.history_tokens));
    columns.push(tokens("reasoning_tokens", &|row| row.observed.reasoning_tokens));
    columns.push(tokens("cached_tokens", &|row| row.observed.cached_tokens));
    columns.push(tokens("images", &|row| row.observed.images));
    columns.push(time("queue_ms", 1e9, |row| row.observed.queue_ps));
    columns.push(time("ttft_ms", 1e9, |row| row.observed.ttft_ps));
    columns.push(time("e2e_ms", 1e9, |row| row.observed.e2e_ps));
    columns.push(label("finish_reason", |row| row.observed.finish.map(|finish| finish.name())));
    DataFrame::new(rows.len(), columns)
}

fn hashes(rows: &[TraceRow], text: bool) -> Column {
    const NAME: &str = "prefix_hashes";
    if text {
        let list = |row: &TraceRow| {
            let ids: Vec<String> = row.prefix_hashes.iter().map(u64::to_string).collect();
            (!ids.is_empty()).then(|| ids.join(" "))
        };
        return optional(NAME, &DataType::String, rows, list);
    }
    if rows.iter().all(|row| row.prefix_hashes.is_empty()) {
        return Column::full_null(NAME.into(), rows.len(), &DataType::List(Box::new(DataType::UInt64)));
    }
    let values = rows.iter().map(|row| row.prefix_hashes.len()).sum();
    let mut builder = ListPrimitiveChunkedBuilder::<UInt64Type>::new(NAME.into(), rows.len(), values, DataType::UInt64);
    for row in rows {
        match row.prefix_hashes.is_empty() {
            true => builder.append_null(),
            false => builder.append_slice(&row.prefix_hashes),
        }
    }
    builder.finish().into_series().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::trace::read_trace;
    use tokentide_traces::{Ended, Observed, ReadOptions, Reader};

    #[test]
    fn the_documented_columns_are_those_of_the_frame_and_of_native_traces() {
        let frame = frame(&[], 0, false).unwrap();
        let names: Vec<_> = frame.get_column_names().iter().map(|n| n.to_string()).collect();
        assert_eq!(names, TRACE_COLUMNS.iter().map(|c| c.name).collect::<Vec<_>>());
        assert_eq!(names, NATIVE_COLUMNS);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = TempDir::new("trace-writer");
        let full = TraceRow {
            arrival_ps: 7_000_000_000_000,
            delay_ps: None,
            input_tokens: 40,
            output_tokens: 7,
            max_tokens: Some(100),
            class: Some("chat".into()),
            tenant: Some("acme".into()),
            route: Some("/v1, \"x\"".into()),
            model: Some("m".into()),
            session: Some("s".into()),
            turn: Some(0),
            history_tokens: None,
            prefix_hashes: vec![1, u64::MAX, 3],
            prefix_block_tokens: Some(16),
            sources: [30, 0, 0, 0, 0, 10, 0, 0],
            observed: Observed {
                reasoning_tokens: Some(3),
                cached_tokens: Some(16),
                images: Some(1),
                queue_ps: Some(1_000_000_000),
                ttft_ps: Some(2_500_000_000),
                e2e_ps: Some(9_000_000_000),
                finish: Some(Ended::Length),
            },
        };
        let waits = TraceRow {
            arrival_ps: 7_000_000_000_000,
            delay_ps: Some(1_500_000_000_000),
            input_tokens: 60,
            output_tokens: 1,
            session: Some("s".into()),
            turn: Some(1),
            history_tokens: Some(47),
            ..TraceRow::default()
        };
        let want: Vec<TraceRow> = [&full, &waits]
            .into_iter()
            .cloned()
            .map(|row| TraceRow { arrival_ps: row.arrival_ps - 7_000_000_000_000, ..row })
            .collect();
        for name in ["trace.parquet", "trace.csv"] {
            let path = dir.path(name);
            let mut writer = TraceWriter::create(&path).unwrap();
            writer.push(full.clone()).unwrap();
            writer.push(waits.clone()).unwrap();
            writer.finish().unwrap();
            let rows = match name {
                "trace.parquet" => read_trace(&path, &[]).unwrap(),
                _ => {
                    let mut reader = Reader::open(&path, &ReadOptions::default()).unwrap();
                    std::iter::from_fn(|| reader.next_entry().unwrap()).map(|entry| entry.row).collect()
                }
            };
            assert_eq!(rows, want, "{name}");
        }
    }
}
