//! Results of a sweep as a table: a row per point and replication.
//!
//! Its columns are [`SWEEP_COLUMNS`], the settings that are varied and the figures of [`tokentide_sweep::columns`].

mod columns;
mod error;
mod frame;
mod merge;
mod read;
mod store;

use std::path::Path;

use tokentide_sweep::journal::{Journal, JournalError};
use tokentide_sweep::point::PointId;
use tokentide_sweep::row::PointRows;
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Sweep;

pub use columns::SWEEP_COLUMNS;
pub use error::SweepTableError;
pub use merge::{Merged, merge_sweeps};
pub use read::{open_sweep, sweep_columns};
pub use store::SweepStore;

use frame::sweep_frame;

use crate::error::TableError;
use crate::writer::TableWriter;

/// Points that are turned into a frame at once.
const BATCH_POINTS: usize = 1024;

/// Columns of all rows that must be equal in a table.
const COMMON: [&str; 6] = ["version", "base", "base_profile", "seeds", "design", "points"];

/// Writes what a journal has of a shard, in the order of the design, in batches.
///
/// # Errors
/// If the journal cannot be read or the table not be written; what was under the name before is then untouched.
fn write_sweep(path: &Path, sweep: &Sweep, shard: Shard, journal: &mut Journal) -> Result<(), SweepTableError> {
    let polars = |error| TableError::polars("write", path)(error);
    let schema = sweep_frame(sweep, &[]).map_err(polars)?.schema().as_ref().clone();
    let mut file = TableWriter::create(path, &schema)?;
    let mut points = points_of(sweep, shard, journal);
    loop {
        let batch = points.by_ref().take(BATCH_POINTS).collect::<Result<Vec<_>, _>>()?;
        if batch.is_empty() {
            break;
        }
        file.write(&sweep_frame(sweep, &batch).map_err(polars)?)?;
    }
    drop(points);
    Ok(file.finish()?)
}

/// What a journal has of a shard, in the order of the design, each point with its index.
fn points_of(sweep: &Sweep, shard: Shard, journal: &mut Journal) -> impl Iterator<Item = Result<(u64, PointRows), JournalError>> {
    let mine = (0..sweep.design().points()).filter(move |index| shard.has(*index));
    mine.filter_map(move |index| {
        let rows = journal.rows(PointId::of(&sweep.design().point(index))).transpose()?;
        Some(rows.map(|mut point| {
            // A journal may be of more runs than are asked for now.
            point.rows.truncate(sweep.replications() as usize);
            (index, point)
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    use super::columns::{FIGURES, SETTINGS};
    use super::read::read_sweep;
    use super::*;
    use crate::testing::{TempDir, sweep_of};

    const AXES: [&str; 2] = ["engine.max_num_seqs=8,16,0", "class.chat.prompt.user=50..52"];

    /// Runs a shard of a sweep and writes its table.
    fn table(dir: &TempDir, name: &str, sweep: &Sweep, shard: &str) -> PathBuf {
        let shard = Shard::parse(shard, &|_| None).unwrap();
        let mut journal = Journal::open(&dir.path("journal"), sweep).unwrap();
        for index in (0..sweep.design().points()).filter(|index| shard.has(*index)) {
            journal.push(&sweep.run(index, Vec::new(), &AtomicBool::new(false)).unwrap()).unwrap();
        }
        let path = dir.path(name);
        write_sweep(&path, sweep, shard, &mut journal).unwrap();
        journal.remove().unwrap();
        path
    }

    #[test]
    fn every_column_is_said_and_what_is_said_is_there() {
        let mut said: Vec<String> = Vec::new();
        sweep_of(&AXES, &[], |sweep| {
            for column in SWEEP_COLUMNS {
                match column.name {
                    SETTINGS => said.extend(sweep.design().paths().iter().map(|(path, _)| path.clone())),
                    FIGURES => said.extend(sweep.columns().names().iter().cloned()),
                    name => said.push(name.to_owned()),
                }
            }
            let frame = sweep_frame(sweep, &[]).expect("a frame");
            let there: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
            assert_eq!(there, said);
        });
    }

    #[test]
    fn a_table_gives_back_what_it_was_made_of() {
        let dir = TempDir::new("sweep-back");
        for extension in ["parquet", "csv"] {
            sweep_of(&AXES, &[], |sweep| {
                let path = table(&dir, &format!("whole.{extension}"), sweep, "1/1");
                let back = read_sweep(&path, sweep).unwrap();
                assert_eq!(back.len(), 9);
                for index in 0..9 {
                    let fresh = sweep.run(index, Vec::new(), &AtomicBool::new(false)).unwrap();
                    let found = back.iter().find(|rows| rows.point == fresh.point).unwrap();
                    assert_eq!(found, &fresh, "{extension}: every bit, errors too");
                    assert!(
                        fresh.rows.iter().all(|row| row.result.is_ok()) == (index < 6),
                        "a replica without sequences is refused"
                    );
                }
            });
        }
    }

    #[test]
    fn shards_in_any_order_are_the_whole_byte_for_byte() {
        let dir = TempDir::new("sweep-shards");
        for extension in ["parquet", "csv"] {
            sweep_of(&AXES, &[], |sweep| {
                let whole = table(&dir, &format!("whole.{extension}"), sweep, "1/1");
                let parts = ["3/4", "1/4", "4/4", "2/4", "2/3"];
                let mut paths: Vec<PathBuf> = Vec::new();
                for part in parts {
                    paths.push(table(&dir, &format!("{}.{extension}", part.replace('/', "-")), sweep, part));
                }
                let merged = dir.path(&format!("merged.{extension}"));
                let of = merge_sweeps(&paths[..4], &merged, false).unwrap();
                assert_eq!((of.rows, of.points, of.missing, of.repeated), (18, 9, 0, 0));
                assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap(), "{extension}");
                let of = merge_sweeps(&paths, &merged, false).unwrap();
                assert_eq!((of.rows, of.repeated), (18, 6), "the third of thirds is there twice");
                assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap(), "{extension}");
                let error = merge_sweeps(&paths[1..4], &dir.path(&format!("no.{extension}")), false).unwrap_err().to_string();
                assert_eq!(error, "2 of 9 points are missing, the first of them number 2; they are those of shard 3/4");
                assert!(!dir.path(&format!("no.{extension}")).exists());
                let of = merge_sweeps(&paths[1..4], &dir.path(&format!("part.{extension}")), true).unwrap();
                assert_eq!((of.points, of.missing), (7, 2));
            });
        }
    }

    #[test]
    fn results_that_do_not_belong_together_are_not_put_together() {
        let dir = TempDir::new("sweep-mixed");
        let mut paths = Vec::new();
        let rate = ("class.chat.arrivals.rate", "3.0");
        for (name, changes, axes) in [
            ("a", vec![], &AXES[..]),
            ("rate", vec![rate], &AXES[..]),
            ("seed", vec![("seed", "7")], &AXES[..]),
            ("gpu", vec![("gpu.name", "\"l40s\"")], &AXES[..]),
            ("design", vec![], &AXES[..1]),
        ] {
            sweep_of(axes, &changes, |sweep| paths.push(table(&dir, &format!("{name}.csv"), sweep, "1/2")));
        }
        let refused = |i: usize| merge_sweeps(&[paths[0].clone(), paths[i].clone()], &dir.path("out.csv"), true).unwrap_err();
        for (i, field) in [(1, "base"), (2, "seeds"), (3, "base"), (4, "design")] {
            let message = refused(i).to_string();
            assert!(message.contains(&format!("belong together: {field} is")), "{message}");
            assert!(!dir.path("out.csv").exists());
        }
        // The same run with another figure: somebody edited it, or the programs are not the same.
        let text = std::fs::read_to_string(&paths[0]).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let place = header.iter().position(|name| *name == "ttft_ms_p95").unwrap();
        let edit = |line: &str| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells[place] = "1.5";
            cells.join(",")
        };
        let edited: Vec<String> =
            text.lines().enumerate().map(|(i, line)| if i == 1 { edit(line) } else { line.to_owned() }).collect();
        std::fs::write(dir.path("edited.csv"), edited.join("\n") + "\n").unwrap();
        let message =
            merge_sweeps(&[paths[0].clone(), dir.path("edited.csv")], &dir.path("out.csv"), true).unwrap_err().to_string();
        assert!(message.contains("has two results that differ"), "{message}");
        std::fs::write(dir.path("other.csv"), "a,b\n1,2\n").unwrap();
        let message = merge_sweeps(&[dir.path("other.csv")], &dir.path("out.csv"), true).unwrap_err().to_string();
        assert!(message.contains("is no result of a sweep: it has no column `version`"), "{message}");
    }
}
