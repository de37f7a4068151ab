//! What can go wrong with a table.

use std::path::{Path, PathBuf};

use tokentide_sim::workload::trace::NATIVE_COLUMNS;

/// A table that cannot be written or read. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Neither `.parquet` nor `.csv`.
    #[error("cannot tell the format of `{}` from its extension: use `.parquet` or `.csv`", path.display())]
    UnknownExtension {
        /// As given.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// `write` or `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// polars refused: not Parquet, damaged, or a type it was not built for.
    #[error("cannot {action} `{}`: {message}", path.display())]
    Format {
        /// `write` or `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// The thread that writes has ended already.
    #[error("the table cannot be written any more")]
    Writer,
    /// Columns that a trace must have.
    #[error("`{}` has no column {}; its columns are {}", path.display(), quoted(missing), quoted(present))]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// What is missing, by the names looked for.
        missing: Vec<String>,
        /// What is there.
        present: Vec<String>,
    },
    /// A column map names something that no trace has.
    #[error("the column map names `{name}`, which is no column of a trace; those are {}", quoted(&known()))]
    UnknownColumn {
        /// As given.
        name: String,
    },
    /// A column of a type that cannot mean what its name says.
    #[error("column `{column}` of `{}` holds {found}, expected {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// Its name in the file.
        column: String,
        /// Type in the file.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A value out of range, or none where one must be.
    #[error("row {row} of `{}`: column `{column}` is {found}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: usize,
        /// Its name in the file.
        column: String,
        /// The value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl TableError {
    /// For `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TableError {
        let path = path.to_owned();
        move |source| TableError::Io { action, path, source }
    }

    /// For `map_err`.
    pub(crate) fn polars(action: &'static str, path: &Path) -> impl FnOnce(polars::error::PolarsError) -> TableError {
        let path = path.to_owned();
        move |error| TableError::Format { action, path, message: error.to_string() }
    }
}

fn known() -> Vec<String> {
    NATIVE_COLUMNS.iter().map(|c| (*c).to_owned()).collect()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
