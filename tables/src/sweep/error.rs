//! What can go wrong with the table of a sweep.

use std::path::PathBuf;

use tokentide_sweep::journal::JournalError;

use crate::error::TableError;

/// A table of a sweep that cannot be written, read or merged.
#[derive(Debug, thiserror::Error)]
pub enum SweepTableError {
    /// The file itself.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The journal that it is made of.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It is another table.
    #[error("`{}` is no result of a sweep: it has no column `{column}`", path.display())]
    NoSweep {
        /// The file.
        path: PathBuf,
        /// What is missing.
        column: String,
    },
    /// A cell that no sweep writes.
    #[error("`{}`, row {row}: `{column}` is not what a sweep writes", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: usize,
        /// Its column.
        column: String,
    },
    /// Results that do not belong together.
    #[error("the results do not belong together: {field} is {found} in `{}` and {expected} in {other}", path.display())]
    Mixed {
        /// A file.
        path: PathBuf,
        /// What differs.
        field: String,
        /// In the file.
        found: String,
        /// Where it is otherwise.
        other: String,
        /// What it is there.
        expected: String,
    },
    /// Points or replications that the sweep that goes on from there has not.
    #[error("`{}` has {points} points or replications that this sweep has not, and they would be lost", path.display())]
    Strangers {
        /// The file.
        path: PathBuf,
        /// How many.
        points: usize,
    },
    /// The same run with other figures.
    #[error(
        "point {point}, replication {replication}, has two results that differ: the files are not of one program and one scenario"
    )]
    Conflict {
        /// Which.
        point: String,
        /// Which.
        replication: u64,
    },
    /// Not all parts are there.
    #[error("{missing} of {points} points are missing, the first of them number {first}{shards}")]
    Incomplete {
        /// How many.
        missing: u64,
        /// Of how many.
        points: u64,
        /// Index of the first.
        first: u64,
        /// In words, which shards they could be.
        shards: String,
    },
    /// Parquet beside CSV.
    #[error("`{}` is of another format than the first file: merge Parquet with Parquet, CSV with CSV", path.display())]
    Formats {
        /// The file.
        path: PathBuf,
    },
}

impl SweepTableError {
    /// Whether what lies there cannot be gone on from, and beginning anew would help.
    pub fn is_of_another(&self) -> bool {
        use SweepTableError as E;
        match self {
            E::NoSweep { .. } | E::Cell { .. } | E::Mixed { .. } | E::Strangers { .. } => true,
            E::Journal(error) => matches!(error, JournalError::Damaged { .. } | JournalError::Mixed { .. }),
            E::Table(error) => matches!(error, TableError::Format { .. }),
            E::Conflict { .. } | E::Incomplete { .. } | E::Formats { .. } => false,
        }
    }
}
