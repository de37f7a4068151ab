//! Files of tables, written in batches, that appear under their name when they are whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::io::csv::write::BatchedWriter as CsvBatches;
use polars::io::parquet::write::BatchedWriter as ParquetBatches;
use polars::prelude::{CsvWriter, DataFrame, ParquetWriter, Schema, SerWriter};

use crate::error::TableError;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Apache Parquet, zstd.
    Parquet,
    /// Comma-separated, with a header.
    Csv,
}

impl TableFormat {
    /// By extension, in any case.
    ///
    /// # Errors
    /// [`TableError::UnknownExtension`].
    pub fn of(path: &Path) -> Result<TableFormat, TableError> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("parquet" | "pq") => Ok(TableFormat::Parquet),
            Some("csv") => Ok(TableFormat::Csv),
            _ => Err(TableError::UnknownExtension { path: path.to_owned() }),
        }
    }
}

enum Sink {
    Parquet(Box<ParquetBatches<File>>),
    Csv(Box<CsvBatches<File>>),
}

/// Cells of a row group, about 32 MB in memory.
const GROUP_CELLS: usize = 1 << 22;

/// Writes a frame as a table: the file that comes of writing it in parts, byte for byte.
///
/// # Errors
/// [`TableError::UnknownExtension`], or if it cannot be written; what was under the name before is then untouched.
pub fn write_table(path: &Path, frame: &DataFrame) -> Result<(), TableError> {
    let mut file = TableWriter::create(path, frame.schema())?;
    file.write(frame)?;
    file.finish()
}

/// Writes a table. The file appears under its name once [`TableWriter::finish`] succeeds, not before: work that fails leaves what
/// was there.
pub(crate) struct TableWriter {
    path: PathBuf,
    partial: PathBuf,
    sink: Sink,
    /// Rows that do not fill a group yet.
    pending: DataFrame,
    group_rows: usize,
    done: bool,
}

impl TableWriter {
    /// Opens the file, so that a path that cannot be written is found before the work and not after it.
    pub(crate) fn create(path: &Path, schema: &Schema) -> Result<TableWriter, TableError> {
        let format = TableFormat::of(path)?;
        if path.is_dir() {
            return Err(TableError::io("write", path)(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(TableError::io("write", path))?;
        let sink = match format {
            TableFormat::Parquet => ParquetWriter::new(file).batched(schema).map(|writer| Sink::Parquet(Box::new(writer))),
            TableFormat::Csv => CsvWriter::new(file).batched(schema).map(|writer| Sink::Csv(Box::new(writer))),
        };
        match sink {
            Ok(sink) => {
                let group_rows = GROUP_CELLS / schema.len().next_power_of_two();
                let pending = DataFrame::empty_with_schema(schema);
                Ok(TableWriter { path: path.to_owned(), partial, sink, pending, group_rows, done: false })
            }
            Err(error) => {
                let _ = std::fs::remove_file(&partial);
                Err(TableError::polars("write", path)(error))
            }
        }
    }

    /// Where it is going to be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds rows. How they come in makes no difference to the file: its row groups have the same number of rows, but for the last.
    pub(crate) fn write(&mut self, frame: &DataFrame) -> Result<(), TableError> {
        self.pending.vstack_mut(frame).map_err(TableError::polars("write", &self.path))?;
        while self.pending.height() >= self.group_rows {
            let group = self.pending.slice(0, self.group_rows);
            self.pending = self.pending.slice(self.group_rows as i64, usize::MAX);
            self.put(group)?;
        }
        Ok(())
    }

    fn put(&mut self, mut group: DataFrame) -> Result<(), TableError> {
        // Pages follow chunks.
        group.rechunk_mut();
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write_batch(&group),
            Sink::Csv(writer) => writer.write_batch(&group),
        }
        .map_err(TableError::polars("write", &self.path))
    }

    /// Puts the file in its place; if that fails, what was under the name before is untouched.
    pub(crate) fn finish(mut self) -> Result<(), TableError> {
        if self.pending.height() > 0 {
            let last = std::mem::take(&mut self.pending);
            self.put(last)?;
        }
        match &mut self.sink {
            Sink::Parquet(writer) => writer.finish().map(|_| ()),
            Sink::Csv(writer) => writer.finish(),
        }
        .map_err(TableError::polars("write", &self.path))?;
        std::fs::rename(&self.partial, &self.path).map_err(TableError::io("write", &self.path))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{NamedFrom, Series};

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn how_rows_come_in_makes_no_difference() {
        let dir = TempDir::new("writer-groups");
        let rows = |from: u64, to: u64| {
            let number = Series::new("number".into(), (from..to).collect::<Vec<u64>>());
            let text = Series::new("text".into(), (from..to).map(|i| format!("row {}", i % 100)).collect::<Vec<String>>());
            DataFrame::new((to - from) as usize, vec![number.into(), text.into()]).unwrap()
        };
        for extension in ["parquet", "csv"] {
            let path = |name: &str| dir.path(&format!("{name}.{extension}"));
            write_table(&path("whole"), &rows(0, 1000)).unwrap();
            let mut parts = Vec::new();
            for (name, steps) in [("grouped", vec![0, 1000]), ("parts", vec![0, 1, 250, 612, 999, 1000])] {
                let mut file = TableWriter::create(&path(name), rows(0, 0).schema()).unwrap();
                file.group_rows = 256;
                for step in steps.windows(2) {
                    file.write(&rows(step[0], step[1])).unwrap();
                }
                file.finish().unwrap();
                parts.push(std::fs::read(path(name)).unwrap());
            }
            assert!(parts[0] == parts[1], "{extension}");
            assert_eq!(parts[0] == std::fs::read(path("whole")).unwrap(), extension == "csv", "four groups are not one");
        }
    }
}
