//! Where the results of a sweep are: in a journal while it runs, in a table when it is done.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokentide_sweep::drive::{Standing, Store};
use tokentide_sweep::journal::{Journal, JournalError};
use tokentide_sweep::point::{Params, PointId, canonical};
use tokentide_sweep::row::{PointRows, Ran, Row};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Sweep;
use tokentide_tables::{read_sweep, write_sweep};

use super::journal_of;
use crate::exit::Failure;

/// Points that a summary shows.
const SHOWN: usize = 40;
/// Different errors that a summary shows.
const ERRORS: usize = 5;

/// The files.
pub struct Place {
    output: Option<PathBuf>,
    journal: PathBuf,
    /// Removed when dropped.
    _folder: Option<TempDir>,
}

impl Place {
    /// Beside the output; for a sweep without one, in a folder that goes when it is done.
    pub fn of(output: Option<PathBuf>) -> Result<Place, Failure> {
        if let Some(output) = output {
            return Ok(Place { journal: journal_of(&output), output: Some(output), _folder: None });
        }
        let cannot = |error: std::io::Error| Failure::message(format!("cannot make a temporary folder: {error}"));
        let folder = tempfile::tempdir().map_err(cannot)?;
        Ok(Place { output: None, journal: folder.path().join("sweep.journal"), _folder: Some(folder) })
    }

    /// The table.
    pub fn output(&self) -> Option<&PathBuf> {
        self.output.as_ref()
    }
}

/// A journal, and whether failed points count as done.
pub struct Kept {
    journal: Journal,
    retry_failed: bool,
}

impl Store for Kept {
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

impl Kept {
    /// Opens the journal, with what the table already has.
    ///
    /// # Errors
    /// If they are of another sweep, or have what this one has not: nothing is thrown away that was not asked for.
    pub fn open(place: &Place, sweep: &Sweep<'_>, fresh: bool, retry_failed: bool) -> Result<Kept, Failure> {
        if fresh && place.journal.exists() {
            let cannot = |error| Failure::message(format!("cannot remove `{}`: {error}", place.journal.display()));
            std::fs::remove_file(&place.journal).map_err(cannot)?;
        }
        let new = !place.journal.exists();
        let mut journal = Journal::open(&place.journal, sweep).map_err(|error| anew(error.to_string()))?;
        let table = place.output().filter(|path| !fresh && path.exists());
        let carried = table.map_or(Ok(()), |path| {
            let rows = read_sweep(path, sweep).map_err(|error| anew(error.to_string()))?;
            let mut points = rows.iter().map(|rows| (rows.point, rows.rows.iter().map(|row| row.replication).max()));
            known(sweep, &mut points, &path.display().to_string())?;
            for rows in &rows {
                if rows.rows.len() as u32 > journal.count(rows.point) {
                    journal.push(rows).map_err(|error| Failure::message(error.to_string()))?;
                }
            }
            Ok(())
        });
        let held: Vec<(PointId, Option<u32>)> = journal.points().map(|point| (point, None)).collect();
        let carried = carried.and_then(|()| known(sweep, &mut held.into_iter(), &place.journal.display().to_string()));
        if let Err(failure) = carried {
            if new {
                let _ = journal.remove();
            }
            return Err(failure);
        }
        Ok(Kept { journal, retry_failed })
    }

    /// Writes the table, takes the journal away, and says what came of it.
    ///
    /// # Errors
    /// If the table cannot be written; the journal then stays.
    pub fn finish(mut self, place: &Place, sweep: &Sweep<'_>, shard: Shard, standing: Standing) -> Result<Summary, Failure> {
        let failure = |error: JournalError| Failure::message(error.to_string());
        let summary = self.summary(place, sweep, shard, standing).map_err(failure)?;
        if let Some(path) = place.output() {
            write_sweep(path, sweep, shard, &mut self.journal).map_err(|error| Failure::message(error.to_string()))?;
        }
        self.journal.remove().map_err(failure)?;
        Ok(summary)
    }

    fn summary(&mut self, place: &Place, sweep: &Sweep<'_>, shard: Shard, standing: Standing) -> Result<Summary, JournalError> {
        let columns = sweep.columns();
        let (mut points, mut errors, mut failed) = (Vec::new(), Vec::<(String, u64)>::new(), 0);
        for index in (0..sweep.design().points()).filter(|index| shard.has(*index)) {
            let params = sweep.design().point(index);
            let Some(rows) = self.journal.rows(PointId::of(&params))? else { continue };
            let wrong = rows.rows.iter().find_map(|row| row.result.as_ref().err());
            failed += u64::from(wrong.is_some());
            if let Some(why) = wrong {
                match errors.iter_mut().find(|(known, _)| known == why) {
                    Some((_, times)) => *times += 1,
                    None => errors.push((why.clone(), 1)),
                }
            }
            if points.len() < SHOWN {
                points.push(PointSummary::of(&params, &rows, &|ran, name| ran.figures[columns.place(name)?]));
            }
        }
        let kinds = errors.len();
        errors.truncate(ERRORS);
        let paths = sweep.design().paths();
        Ok(Summary {
            settings: paths.iter().map(|(path, _)| path.clone()).collect(),
            points: standing.points,
            replications: sweep.replications(),
            run: standing.run,
            before: standing.before,
            failed,
            errors,
            errors_of_other_kinds: kinds.saturating_sub(ERRORS),
            output: place.output().map(|path| path.display().to_string()),
            shard: (shard.of > 1).then(|| format!("{}/{}", shard.number, shard.of)),
            shown: points,
        })
    }
}

fn anew(message: String) -> Failure {
    Failure::with_help(message, "write to another file, or start anew with --fresh")
}

/// Whether the sweep has all these points and replications.
fn known(sweep: &Sweep<'_>, points: &mut dyn Iterator<Item = (PointId, Option<u32>)>, place: &str) -> Result<(), Failure> {
    let mut points = points.peekable();
    if points.peek().is_none() {
        return Ok(());
    }
    let design = sweep.design();
    let ids: HashSet<PointId> = (0..design.points()).map(|index| PointId::of(&design.point(index))).collect();
    let strangers =
        points.filter(|(point, last)| !ids.contains(point) || last.is_some_and(|last| last >= sweep.replications())).count();
    match strangers {
        0 => Ok(()),
        n => Err(anew(format!("`{place}` has {n} points or replications that this sweep has not, and they would be lost"))),
    }
}

/// What came of a sweep: what `--format json` prints.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Paths that are varied.
    pub settings: Vec<String>,
    /// Points of the sweep, or of the shard.
    pub points: u64,
    /// Runs of each.
    pub replications: u32,
    /// Points run now.
    pub run: u64,
    /// Points that were there before.
    pub before: u64,
    /// Points with a failed run.
    pub failed: u64,
    /// The first different errors, and at how many points each.
    pub errors: Vec<(String, u64)>,
    /// Different errors that are not shown.
    pub errors_of_other_kinds: usize,
    /// The table.
    pub output: Option<String>,
    /// Which part.
    pub shard: Option<String>,
    /// The first points.
    pub shown: Vec<PointSummary>,
}

/// The main figures of a point: means over its replications, shown only where all have one.
#[derive(Debug, Serialize)]
pub struct PointSummary {
    /// Settings in their order.
    pub params: Vec<Json>,
    /// Why a run failed.
    pub error: Option<String>,
    /// The worst state of the runs.
    pub state: Option<String>,
    /// Offered load over the knee.
    pub load: Option<f64>,
    /// 95th percentile [ms].
    pub ttft_p95_ms: Option<f64>,
    /// 95th percentile [ms].
    pub tpot_p95_ms: Option<f64>,
    /// Output tokens/s.
    pub output_tokens_per_s: Option<f64>,
    /// All GPUs [USD/h].
    pub usd_per_hour: Option<f64>,
    /// Share of the runs that meet every target; none without targets.
    pub slo_met: Option<f64>,
    /// Whether the times of every run come from measurements, within their ranges.
    pub measured: bool,
}

impl PointSummary {
    fn of(params: &Params, rows: &PointRows, figure: &dyn Fn(&Ran, &str) -> Option<f64>) -> PointSummary {
        let ran: Vec<&Ran> = rows.rows.iter().filter_map(|row| row.result.as_ref().ok()).collect();
        let mean = |of: &dyn Fn(&Ran) -> Option<f64>| {
            let values: Option<Vec<f64>> = ran.iter().map(|ran| of(ran)).collect();
            values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let state = ran.iter().map(|ran| ran.state.as_str()).max_by_key(|state| severity(state));
        PointSummary {
            params: params.iter().map(|(_, value)| canonical(value)).collect(),
            error: rows.rows.iter().find_map(|row| row.result.as_ref().err().cloned()),
            state: state.map(str::to_owned),
            load: mean(&|ran| figure(ran, "capacity_load")),
            ttft_p95_ms: mean(&|ran| figure(ran, "ttft_ms_p95")),
            tpot_p95_ms: mean(&|ran| figure(ran, "tpot_ms_p95")),
            output_tokens_per_s: mean(&|ran| figure(ran, "output_tokens_per_s")),
            usd_per_hour: mean(&|ran| figure(ran, "cost_usd_per_hour")),
            slo_met: mean(&|ran| ran.slo_met.map(f64::from)),
            measured: ran.iter().all(|ran| ran.calibrated && ran.out_of_range.is_empty()),
        }
    }
}

/// An overloaded run among others is what a reader must know of.
fn severity(state: &str) -> usize {
    ["idle", "stable", "saturated by design", "near the knee", "overloaded"].iter().position(|known| *known == state).unwrap_or(0)
}
