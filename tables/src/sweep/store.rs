//! Where the results of a sweep are: in a journal while it runs, in a table when it is done.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;
use tempfile::TempDir;
use tokentide_sweep::drive::Store;
use tokentide_sweep::journal::{Journal, JournalError};
use tokentide_sweep::point::PointId;
use tokentide_sweep::row::{PointRows, Row};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Sweep;

use super::error::SweepTableError;
use super::frame::sweep_frame;
use super::read::read_sweep;
use super::{points_of, write_sweep};
use crate::error::TableError;
use crate::writer::write_table;

/// The results of a sweep: what its journal and its table had before, and what it adds.
pub struct SweepStore {
    journal: Journal,
    output: Option<PathBuf>,
    /// Failed points count as not done.
    retry_failed: bool,
    /// Of a sweep without a table: removed when dropped.
    _folder: Option<TempDir>,
}

impl Store for SweepStore {
    type Error = JournalError;

    fn have(&mut self, point: PointId) -> Result<Vec<Row>, JournalError> {
        let mut rows = self.journal.have(point)?;
        rows.retain(|row| !self.retry_failed || row.result.is_ok());
        Ok(rows)
    }

    fn keep(&mut self, rows: PointRows) -> Result<(), JournalError> {
        self.journal.push(&rows)
    }
}

impl SweepStore {
    /// Opens the journal beside the table, with what the table already has; without a table it lies in a folder that goes with it.
    /// `fresh`: whatever they hold is thrown away.
    ///
    /// # Errors
    /// If they cannot be used, are of another sweep, or have what this one has not: nothing is thrown away that was not asked for.
    pub fn open(output: Option<&Path>, sweep: &Sweep, fresh: bool, retry_failed: bool) -> Result<SweepStore, SweepTableError> {
        let (path, folder) = match output {
            Some(output) => (journal_of(output), None),
            None => {
                let folder = tempfile::tempdir().map_err(TableError::io("write", &std::env::temp_dir()))?;
                (folder.path().join("sweep.journal"), Some(folder))
            }
        };
        if fresh && path.exists() {
            std::fs::remove_file(&path).map_err(TableError::io("write", &path))?;
        }
        let new = !path.exists();
        let mut journal = Journal::open(&path, sweep)?;
        let table = output.filter(|table| !fresh && table.exists());
        if let Err(error) = carry(&mut journal, &path, table, sweep) {
            if new {
                let _ = journal.remove();
            }
            return Err(error);
        }
        Ok(SweepStore { journal, output: output.map(Path::to_owned), retry_failed, _folder: folder })
    }

    /// The table that it is going to be.
    pub fn output(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// The rows of a point, if it has any.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn rows(&mut self, point: PointId) -> Result<Option<PointRows>, JournalError> {
        self.journal.rows(point)
    }

    /// Writes the table, if there is to be one, and takes the journal away.
    ///
    /// # Errors
    /// If the table cannot be written; the journal then stays.
    pub fn finish(mut self, sweep: &Sweep, shard: Shard) -> Result<(), SweepTableError> {
        if let Some(path) = self.output.clone() {
            write_sweep(&path, sweep, shard, &mut self.journal)?;
        }
        Ok(self.journal.remove()?)
    }

    /// The same of all points, and gives the table as a frame, for those who have the memory.
    ///
    /// # Errors
    /// As [`SweepStore::finish`].
    pub fn into_frame(mut self, sweep: &Sweep) -> Result<DataFrame, SweepTableError> {
        let points = points_of(sweep, Shard::WHOLE, &mut self.journal).collect::<Result<Vec<_>, _>>()?;
        let place = self.output.clone().unwrap_or_default();
        let frame = sweep_frame(sweep, &points).map_err(TableError::polars("write", &place))?;
        if let Some(path) = &self.output {
            write_table(path, &frame)?;
        }
        self.journal.remove()?;
        Ok(frame)
    }
}

/// Beside the table, with its whole name.
fn journal_of(table: &Path) -> PathBuf {
    let mut name = table.file_name().unwrap_or_default().to_owned();
    name.push(".journal");
    table.with_file_name(name)
}

/// Puts what the table has into the journal.
fn carry(journal: &mut Journal, path: &Path, table: Option<&Path>, sweep: &Sweep) -> Result<(), SweepTableError> {
    if let Some(table) = table {
        let rows = read_sweep(table, sweep)?;
        let mut points = rows.iter().map(|rows| (rows.point, rows.rows.iter().map(|row| row.replication).max()));
        known(sweep, &mut points, table)?;
        for rows in &rows {
            if rows.rows.len() as u32 > journal.count(rows.point) {
                journal.push(rows)?;
            }
        }
    }
    let held: Vec<(PointId, Option<u32>)> = journal.points().map(|point| (point, None)).collect();
    known(sweep, &mut held.into_iter(), path)
}

/// Whether the sweep has all these points, each with the last of its replications.
fn known(sweep: &Sweep, points: &mut dyn Iterator<Item = (PointId, Option<u32>)>, path: &Path) -> Result<(), SweepTableError> {
    let mut points = points.peekable();
    if points.peek().is_none() {
        return Ok(());
    }
    let design = sweep.design();
    let ids: HashSet<PointId> = (0..design.points()).map(|index| PointId::of(&design.point(index))).collect();
    let stranger =
        |(point, last): &(PointId, Option<u32>)| !ids.contains(point) || last.is_some_and(|last| last >= sweep.replications());
    match points.filter(stranger).count() {
        0 => Ok(()),
        points => Err(SweepTableError::Strangers { path: path.to_owned(), points }),
    }
}
