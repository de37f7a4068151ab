//! Results of a sweep as a table: a row per point and replication.
//!
//! Columns: `point`, `index`, `replication`, `seed`; one per setting that is varied, by its path; `error`, `capacity_state`,
//! `calibrated`, `out_of_range`, `slo_met`; the figures of [`tokentide_sweep::columns`]; and what makes rows comparable: of the row
//! `scenario`, `profile`, `trace`, of all `version`, `base`, `base_profile`, `seeds`, `design`, `points`.

mod error;
mod frame;
mod merge;
mod read;

use std::path::Path;

use tokentide_sweep::journal::Journal;
use tokentide_sweep::point::PointId;
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Sweep;

pub use error::SweepTableError;
pub use frame::sweep_frame;
pub use merge::{Merged, merge_sweeps};
pub use read::read_sweep;

use crate::error::TableError;
use crate::writer::TableWriter;

/// Points per batch, and so per row group of a Parquet file.
const BATCH_POINTS: usize = 4096;

/// Columns of all rows that must be equal in a table.
const COMMON: [&str; 6] = ["version", "base", "base_profile", "seeds", "design", "points"];

/// Writes what a journal has of a shard, in the order of the design, in batches. Returns the number of rows.
///
/// # Errors
/// If the journal cannot be read or the table not be written; what was under the name before is then untouched.
pub fn write_sweep(path: &Path, sweep: &Sweep<'_>, shard: Shard, journal: &mut Journal) -> Result<u64, SweepTableError> {
    let polars = |error| TableError::polars("write", path)(error);
    let schema = sweep_frame(sweep, &[]).map_err(polars)?.schema().as_ref().clone();
    let mut file = TableWriter::create(path, &schema)?;
    let (mut batch, mut rows) = (Vec::new(), 0);
    let mine = (0..sweep.design().points()).filter(|index| shard.has(*index));
    for index in mine {
        if let Some(mut point) = journal.rows(PointId::of(&sweep.design().point(index)))? {
            point.rows.truncate(sweep.replications() as usize);
            rows += point.rows.len() as u64;
            batch.push((index, point));
        }
        if batch.len() == BATCH_POINTS {
            file.write(&sweep_frame(sweep, &batch).map_err(polars)?)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        file.write(&sweep_frame(sweep, &batch).map_err(polars)?)?;
    }
    file.finish()?;
    Ok(rows)
}
