//! What a probe has measured, for those who ran it.

use std::path::PathBuf;
use std::time::Duration;

use super::tally::{Tallies, Tally};
use crate::observation::{Mark, PointKind, ServerRecord};
use crate::solve::median;

/// Kinds in the order in which they are told.
const KINDS: [PointKind; 7] = [
    PointKind::Prefill,
    PointKind::Decode,
    PointKind::Mixed,
    PointKind::Burst,
    PointKind::Rehearsal,
    PointKind::Open,
    PointKind::Beat,
];
const MARKS: [Mark; 7] =
    [Mark::ForeignTraffic, Mark::Preempted, Mark::PrefixHits, Mark::Queued, Mark::Failed, Mark::Throttled, Mark::Bunched];

/// All points of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindSummary {
    /// Which.
    pub kind: PointKind,
    /// Points.
    pub points: usize,
    /// Repeats of them all.
    pub repeats: u32,
    /// Requests.
    pub requests: usize,
    /// Median over the points of the 95 % interval's relative half-width; absent if most have fewer than three repeats.
    pub interval: Option<f64>,
    /// The point with the widest interval.
    pub widest: Option<(String, f64)>,
    /// Marks, and in how many repeats.
    pub marks: Vec<(Mark, usize)>,
}

/// What was measured, and what was not.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The server, with the limits that were found.
    pub server: ServerRecord,
    /// The log.
    pub log: PathBuf,
    /// Time it took.
    pub time: Duration,
    /// By kind of point.
    pub kinds: Vec<KindSummary>,
    /// Points for which there was no time, by name.
    pub left_out: Vec<String>,
    /// Points that failed, by name, with the reason.
    pub failed: Vec<(String, String)>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Requests per second that the server can serve, of the lengths of the open-loop run.
    pub capacity: Option<f64>,
    /// Slowest over fastest of the beats, by their median step.
    pub drift: Option<f64>,
    /// Whether the user ended it.
    pub interrupted: bool,
}

/// The kinds of which there is anything.
pub fn kinds(tallies: &Tallies) -> Vec<KindSummary> {
    KINDS.into_iter().filter_map(|kind| of_kind(tallies, kind)).collect()
}

fn of_kind(tallies: &Tallies, kind: PointKind) -> Option<KindSummary> {
    let points: Vec<(&String, &Tally)> = tallies.iter().filter(|(_, tally)| tally.kind == kind).collect();
    let mut intervals: Vec<(f64, &String)> = points.iter().map(|(name, tally)| (tally.interval(), *name)).collect();
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let known: Vec<&(f64, &String)> = intervals.iter().filter(|(interval, _)| interval.is_finite()).collect();
    let count = |mark: Mark| points.iter().map(|(_, tally)| tally.marks.iter().filter(|m| **m == mark).count()).sum::<usize>();
    (!points.is_empty()).then(|| KindSummary {
        kind,
        points: points.len(),
        repeats: points.iter().map(|(_, tally)| tally.repeats).sum(),
        requests: points.iter().map(|(_, tally)| tally.requests).sum(),
        interval: intervals.get(intervals.len() / 2).map(|middle| middle.0).filter(|interval| interval.is_finite()),
        widest: known.last().map(|(interval, name)| ((*name).clone(), *interval)),
        marks: MARKS.into_iter().map(|mark| (mark, count(mark))).filter(|(_, n)| *n > 0).collect(),
    })
}

/// How far the beats of any one kind are apart.
pub fn drift(tallies: &Tallies) -> Option<f64> {
    tallies.values().filter(|tally| tally.kind == PointKind::Beat).filter_map(Tally::spread).reduce(f64::max)
}

/// Share of decode steps whose tokens came together with those before, in the middle of the points.
pub fn bunched(tallies: &Tallies) -> Option<f64> {
    let decodes = tallies.values().filter(|tally| matches!(tally.kind, PointKind::Decode | PointKind::Beat));
    median(&decodes.flat_map(|tally| tally.figures.iter().map(|figure| figure.bunched)).collect::<Vec<_>>())
}
