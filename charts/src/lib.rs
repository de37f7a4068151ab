//! Results as pictures: Vega-Lite v5 specifications of what `--format json` prints, and one offline page around them.
//!
//! Everything works on JSON, so that the report, a notebook and whoever else reads results draw the same charts of the same data.

mod diff;
mod page;
mod plan;
mod simulate;
mod spec;
mod sweep;
mod tables;

use serde::Serialize;
use serde_json::Value;

pub use page::page;
pub use simulate::{By, run_chart};
pub use sweep::{heatmap, line, pareto, scatter};

/// What a result is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `tokentide simulate`; with `distributions` beside what is printed (see [`run_chart`]) there are more charts of it.
    Simulate,
    /// `tokentide plan`.
    Plan,
    /// `tokentide diff` or `check`.
    Diff,
    /// The table of `tokentide sweep`: an object of columns, each an array of one value per row.
    Sweep,
}

impl Kind {
    /// Of a result as JSON; `None` if it is none of these.
    pub fn of(result: &Value) -> Option<Kind> {
        let has = |key: &str| result.get(key).is_some_and(|value| !value.is_null());
        match () {
            () if has("summary") && has("timeline") && has("fingerprint") => Some(Kind::Simulate),
            () if has("options") && has("settings") && has("provenance") => Some(Kind::Plan),
            () if has("scenarios") && has("headline") && has("head") => Some(Kind::Diff),
            () if has("point") && has("replication") && has("capacity_state") => Some(Kind::Sweep),
            () => None,
        }
    }
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// Identifier, unique among the charts of a result.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// How to read it, in a sentence; what is estimated, out of range or overloaded is said first.
    pub caption: String,
    /// Vega-Lite v5, data inlined.
    pub spec: Value,
}

/// Why a result has no such chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoChart(pub String);

/// All charts that a result has data for; in the order in which they are to be read.
pub fn charts_of(kind: Kind, result: &Value) -> Vec<Chart> {
    match kind {
        Kind::Simulate => simulate::charts(result),
        Kind::Plan => plan::charts(result),
        Kind::Diff => diff::charts(result),
        Kind::Sweep => sweep::charts(result),
    }
}

/// What the reader must know before any figure: what is not calibrated, unstable or out of range. Empty if there is nothing.
pub fn warnings_of(kind: Kind, result: &Value) -> Vec<String> {
    match kind {
        Kind::Simulate => simulate::warnings(result),
        Kind::Plan => plan::warnings(result),
        Kind::Diff => diff::warnings(result),
        Kind::Sweep => sweep::warnings(result),
    }
}
