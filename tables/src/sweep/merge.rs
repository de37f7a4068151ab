//! Tables of shards put together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, IdxCa, IdxSize, NamedFrom, PlSmallStr};

use super::COMMON;
use super::error::SweepTableError;
use super::read::{Cells, open};
use crate::error::TableError;
use crate::writer::{TableFormat, write_table};

/// What was put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Rows written.
    pub rows: u64,
    /// Points that are there.
    pub points: u64,
    /// Points of the design that are not.
    pub missing: u64,
    /// Rows that were there twice, with the same figures.
    pub repeated: u64,
}

/// Puts the tables of a sweep's shards together, in the order of the design. `partial`: points may be missing.
///
/// # Errors
/// If one cannot be read or is of another sweep, if two differ in the result of one run, or points are missing.
pub fn merge_sweeps(paths: &[PathBuf], output: &Path, partial: bool) -> Result<Merged, SweepTableError> {
    let Some(first) = paths.first() else { return Ok(Merged { rows: 0, points: 0, missing: 0, repeated: 0 }) };
    let format = TableFormat::of(first)?;
    let into = TableFormat::of(output)?;
    // Texts have lost their types.
    if format == TableFormat::Csv && into == TableFormat::Parquet {
        return Err(SweepTableError::Formats { path: output.to_owned() });
    }
    let mut all: Option<DataFrame> = None;
    let mut same = Same::default();
    for path in paths {
        if TableFormat::of(path)? != format {
            return Err(SweepTableError::Formats { path: path.clone() });
        }
        let frame = open(path)?;
        same.check(path, &frame)?;
        match &mut all {
            None => all = Some(frame),
            Some(all) => drop(all.vstack_mut(&frame).map_err(TableError::polars("read", path))?),
        }
    }
    let mut all = all.unwrap_or_default();
    all.rechunk_mut();
    let cells = Cells::of(first, &all);
    let order = order(&cells, &all)?;
    let indices = cells.counts("index")?;
    let mut present: Vec<u64> = order.iter().map(|&row| indices[row]).collect();
    present.dedup();
    let points = cells.counts("points")?.first().copied().unwrap_or(0);
    let merged = Merged {
        rows: order.len() as u64,
        points: present.len() as u64,
        missing: points.saturating_sub(present.len() as u64),
        repeated: (all.height() - order.len()) as u64,
    };
    if merged.missing > 0 && !partial {
        return Err(incomplete(&present, points, merged.missing));
    }
    let rows: Vec<IdxSize> = order.iter().map(|&row| row as IdxSize).collect();
    let sorted = all.take(&IdxCa::new(PlSmallStr::EMPTY, rows)).map_err(TableError::polars("write", output))?;
    write_table(output, &sorted)?;
    Ok(merged)
}

/// Row numbers in the order of the design, each run once.
fn order(cells: &Cells<'_>, all: &DataFrame) -> Result<Vec<usize>, SweepTableError> {
    let (index, replication) = (cells.counts("index")?, cells.counts("replication")?);
    let mut order: Vec<usize> = (0..all.height()).collect();
    order.sort_by_key(|&row| (index[row], replication[row]));
    let mut kept: Vec<usize> = Vec::with_capacity(order.len());
    for row in order {
        match kept.last().copied().filter(|&last| (index[last], replication[last]) == (index[row], replication[row])) {
            None => kept.push(row),
            Some(last) => {
                let equal =
                    all.columns().iter().all(|column| matches!((column.get(last), column.get(row)), (Ok(a), Ok(b)) if a == b));
                if !equal {
                    let point = cells.texts("point")?[row].clone().unwrap_or_default();
                    return Err(SweepTableError::Conflict { point, replication: replication[row] });
                }
            }
        }
    }
    Ok(kept)
}

/// Which points are missing, and of how many shards they could be the whole of some.
fn incomplete(present: &[u64], points: u64, missing: u64) -> SweepTableError {
    let there: std::collections::HashSet<u64> = present.iter().copied().collect();
    let absent: Vec<u64> = (0..points).filter(|index| !there.contains(index)).collect();
    // The fewest shards of which the missing points are some as a whole.
    let shards = (2..=points.min(4096)).find_map(|of| {
        let gone: Vec<u64> = (0..of).filter(|rest| !there.contains(rest)).collect();
        let whole = (0..points).all(|index| there.contains(&index) != gone.contains(&(index % of)));
        (whole && !gone.is_empty()).then(|| {
            let numbers: Vec<String> = gone.iter().take(8).map(|rest| format!("{}/{of}", rest + 1)).collect();
            format!("; they are those of shard {}{}", numbers.join(", "), if gone.len() > 8 { ", ..." } else { "" })
        })
    });
    let first = absent.first().copied().unwrap_or(0);
    SweepTableError::Incomplete { missing, points, first, shards: shards.unwrap_or_default() }
}

/// What all files have in common.
#[derive(Default)]
struct Same {
    first: Option<(PathBuf, Vec<String>, Vec<String>)>,
    /// Profile and trace of each scenario, and the file that they were found in.
    runs: HashMap<String, (String, String, PathBuf)>,
}

impl Same {
    fn check(&mut self, path: &Path, frame: &DataFrame) -> Result<(), SweepTableError> {
        let cells = Cells::of(path, frame);
        let columns: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
        let mut common = Vec::new();
        for name in COMMON {
            let texts = cells.texts(name)?;
            let first = texts.first().cloned().flatten().unwrap_or_default();
            if let Some(other) = texts.iter().find(|text| text.as_deref().unwrap_or_default() != first) {
                let found = other.clone().unwrap_or_default();
                return Err(mixed(path, name, &found, path, &first));
            }
            common.push(first);
        }
        match &self.first {
            // A shard without points says nothing.
            _ if frame.height() == 0 => {}
            None => self.first = Some((path.to_owned(), common, columns)),
            Some((other, expected, known)) => {
                for ((name, found), expected) in COMMON.iter().zip(&common).zip(expected) {
                    if found != expected {
                        return Err(mixed(path, name, found, other, expected));
                    }
                }
                if known != &columns {
                    return Err(mixed(path, "the list of columns", &columns.join(", "), other, &known.join(", ")));
                }
            }
        }
        self.runs(path, &cells)
    }

    /// One scenario has one profile and one trace, whichever machine ran it.
    fn runs(&mut self, path: &Path, cells: &Cells<'_>) -> Result<(), SweepTableError> {
        let (scenarios, profiles, traces) = (cells.texts("scenario")?, cells.texts("profile")?, cells.texts("trace")?);
        for ((scenario, profile), trace) in scenarios.into_iter().zip(profiles).zip(traces) {
            let Some(scenario) = scenario else { continue };
            let (profile, trace) = (profile.unwrap_or_default(), trace.unwrap_or_default());
            let known = self.runs.entry(scenario).or_insert_with(|| (profile.clone(), trace.clone(), path.to_owned()));
            if known.0 != profile {
                return Err(mixed(path, "the cost profile", &profile, &known.2, &known.0));
            }
            if known.1 != trace {
                return Err(mixed(path, "the trace", &trace, &known.2, &known.1));
            }
        }
        Ok(())
    }
}

fn mixed(path: &Path, field: &str, found: &str, other: &Path, expected: &str) -> SweepTableError {
    SweepTableError::Mixed {
        path: path.to_owned(),
        field: field.to_owned(),
        found: found.to_owned(),
        other: format!("`{}`", other.display()),
        expected: expected.to_owned(),
    }
}
