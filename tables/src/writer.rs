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

/// Writes a table. The file appears under its name once [`TableWriter::finish`] succeeds, not before: work that fails leaves what
/// was there.
pub(crate) struct TableWriter {
    path: PathBuf,
    partial: PathBuf,
    sink: Sink,
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
            Ok(sink) => Ok(TableWriter { path: path.to_owned(), partial, sink, done: false }),
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

    /// Adds rows.
    pub(crate) fn write(&mut self, frame: &DataFrame) -> Result<(), TableError> {
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write_batch(frame),
            Sink::Csv(writer) => writer.write_batch(frame),
        }
        .map_err(TableError::polars("write", &self.path))
    }

    /// Puts the file in its place; if that fails, what was under the name before is untouched.
    pub(crate) fn finish(mut self) -> Result<(), TableError> {
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
