//! What is kept of a run.

use serde::{Deserialize, Serialize};
use tokentide_sim::report::Report;

use crate::columns::Columns;
use crate::point::PointId;

/// One replication of one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 0.
    pub replication: u32,
    /// Of the run: `tokentide simulate --seed` with it gives the same figures.
    pub seed: u64,
    /// What came of it, or why nothing did.
    pub result: Result<Ran, String>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// Hash of the resolved scenario.
    pub scenario: String,
    /// Hash of the cost profile, or of the cost model's inputs.
    pub profile: String,
    /// Hash of the trace's content, if one was replayed.
    pub trace: Option<String>,
    /// `stable`, `near the knee`, `overloaded`, `saturated by design` or `idle`.
    pub state: String,
    /// Whether the step times come from measurements.
    pub calibrated: bool,
    /// What left the profile's measured ranges; empty if nothing did.
    pub out_of_range: String,
    /// Whether every target is met; none without targets.
    pub slo_met: Option<bool>,
    /// In the order of the columns; none where nothing was observed.
    pub figures: Vec<Option<f64>>,
}

impl Ran {
    /// Of a report.
    pub fn of(report: Report, columns: &Columns) -> Ran {
        Ran {
            scenario: report.fingerprint.scenario.clone(),
            profile: report.fingerprint.profile.clone(),
            trace: report.fingerprint.trace.clone(),
            state: report.summary.capacity.state.clone(),
            calibrated: report.model.cost.calibrated,
            out_of_range: report.model.out_of_range.join("; "),
            slo_met: report.summary.slo.met,
            figures: columns.figures(report),
        }
    }
}

/// All replications of one point: what is kept, or lost, together.
#[derive(Clone, Debug, PartialEq)]
pub struct PointRows {
    /// Which.
    pub point: PointId,
    /// By replication.
    pub rows: Vec<Row>,
}
