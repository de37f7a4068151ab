//! Request records: one row per request, in the order given, written in batches so that memory does not grow with the run.

use std::path::Path;

use polars::prelude::{DataFrame, PolarsResult};
use tokentide_sim::engine::Outcome;

use crate::columns::{Columns, Labels};
use crate::error::TableError;
use crate::writer::TableWriter;

/// Rows that are turned into a frame at once: about 12 MB in memory.
const BATCH_ROWS: usize = 1 << 16;

/// Writes request records. The file appears under its name when [`RecordWriter::finish`] succeeds and not before: a run that fails
/// leaves what was there.
pub struct RecordWriter {
    file: TableWriter,
    labels: Labels,
    columns: Columns,
    rows: u64,
    batch_rows: usize,
}

impl RecordWriter {
    /// Opens the file, so that a path that cannot be written is found before a long run and not after it.
    ///
    /// # Errors
    /// [`TableError::UnknownExtension`], or [`TableError::Io`] if the file cannot be made.
    pub fn create(path: &Path, labels: Labels) -> Result<RecordWriter, TableError> {
        let schema = Columns::default().frame(&labels).map_err(TableError::polars("write", path))?.schema().as_ref().clone();
        let file = TableWriter::create(path, &schema)?;
        Ok(RecordWriter { file, labels, columns: Columns::default(), rows: 0, batch_rows: BATCH_ROWS })
    }

    /// Names for indices that only became known during the run; they hold for all rows not yet written.
    pub fn labels_mut(&mut self) -> &mut Labels {
        &mut self.labels
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If a full batch cannot be written.
    pub fn push(&mut self, outcome: &Outcome) -> Result<(), TableError> {
        self.columns.push(outcome);
        self.rows += 1;
        if self.columns.len() >= self.batch_rows { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and puts the file in its place. Returns the number of rows.
    ///
    /// # Errors
    /// If it cannot be written; what was under the name before is then untouched.
    pub fn finish(mut self) -> Result<u64, TableError> {
        if self.columns.len() > 0 {
            self.flush()?;
        }
        self.file.finish()?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), TableError> {
        let frame = std::mem::take(&mut self.columns).frame(&self.labels);
        self.file.write(&frame.map_err(TableError::polars("write", self.file.path()))?)
    }
}

/// Request records held in memory, about 200 bytes each, for those who want them as one frame.
#[derive(Default)]
pub struct RecordTable {
    labels: Labels,
    columns: Columns,
}

impl RecordTable {
    /// Without rows.
    pub fn new(labels: Labels) -> RecordTable {
        RecordTable { labels, columns: Columns::default() }
    }

    /// Adds a row. `strings` is the workload's string table so far.
    pub fn push(&mut self, outcome: &Outcome, strings: &[String]) {
        if self.labels.strings.len() < strings.len() {
            self.labels.strings = strings.to_vec();
        }
        self.columns.push(outcome);
    }

    /// All rows: the table that a [`RecordWriter`] would have written.
    ///
    /// # Errors
    /// If polars refuses.
    pub fn frame(self) -> PolarsResult<DataFrame> {
        self.columns.frame(&self.labels)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::testing::{TempDir, labels, outcome};

    #[test]
    fn a_csv_says_what_happened() {
        let dir = TempDir::new("records-csv");
        let path = dir.path("records.csv");
        let mut writer = RecordWriter::create(&path, labels()).unwrap();
        writer.push(&outcome(0)).unwrap();
        assert!(!path.exists(), "nothing under the name before the end");
        assert_eq!(writer.finish().unwrap(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let row: Vec<(&str, &str)> = lines.next().unwrap().split(',').zip(lines.next().unwrap().split(',')).collect();
        let get = |name: &str| row.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no column {name}")).1;
        assert_eq!(row.len(), 30);
        assert_eq!((get("id"), get("arrival_s"), get("class"), get("tenant"), get("route")), ("0", "1.5", "chat", "acme", ""));
        assert_eq!((get("input_tokens"), get("output_tokens"), get("total_tokens"), get("max_tokens")), ("1000", "11", "1011", ""));
        assert_eq!((get("in_system"), get("in_user")), ("900", "100"));
        // 1.5 s arrival, 1.51 scheduled, 1.6 first token, 1.8 last: (300 - 100) / 10 = 20 ms per token.
        let ms = |name: &str| get(name).parse::<f64>().unwrap();
        assert_eq!((ms("queue_ms"), ms("ttft_ms"), ms("tpot_ms"), ms("e2e_ms")), (10.0, 100.0, 20.0, 300.0));
        assert_eq!((get("finish_reason"), get("preemptions"), get("model")), ("stop", "2", "llama-3.1-8b"));
    }

    #[test]
    fn a_run_that_fails_leaves_what_was_there() {
        let dir = TempDir::new("records-drop");
        let path = dir.path("records.parquet");
        std::fs::write(&path, "before").unwrap();
        let mut writer = RecordWriter::create(&path, labels()).unwrap();
        writer.push(&outcome(0)).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn no_rows_is_a_table_with_a_header() {
        let dir = TempDir::new("records-empty");
        for name in ["empty.csv", "empty.parquet"] {
            let path = dir.path(name);
            assert_eq!(RecordWriter::create(&path, labels()).unwrap().finish().unwrap(), 0);
            assert!(std::fs::metadata(&path).unwrap().len() > 0);
        }
    }

    #[test]
    fn bad_paths_are_told_before_the_run() {
        let dir = TempDir::new("records-paths");
        let error = |path: PathBuf| RecordWriter::create(&path, labels()).err().expect("refused").to_string();
        assert!(error(dir.path("records.xlsx")).contains("use `.parquet` or `.csv`"));
        assert!(error(dir.path("records")).contains("use `.parquet` or `.csv`"));
        let missing = error(dir.path("absent/records.csv"));
        assert!(missing.contains("cannot write") && missing.contains("absent"), "{missing}");
        std::fs::create_dir(dir.path("folder.csv")).unwrap();
        assert!(error(dir.path("folder.csv")).contains("cannot write"));
    }

    #[test]
    fn batches_join_without_a_seam() {
        let dir = TempDir::new("records-batches");
        for name in ["batches.csv", "batches.parquet"] {
            let path = dir.path(name);
            let mut writer = RecordWriter::create(&path, labels()).unwrap();
            writer.batch_rows = 3;
            for id in 0..10 {
                writer.push(&outcome(id)).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), 10);
            if name.ends_with("csv") {
                let text = std::fs::read_to_string(&path).unwrap();
                let ids: Vec<&str> = text.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
                assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
            } else {
                assert_eq!(crate::read_trace(&path, &[]).unwrap().len(), 10);
            }
        }
    }
}
