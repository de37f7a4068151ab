//! Charts of results as Vega-Lite specifications (version 5, <https://vega.github.io/vega-lite/>), which notebooks, Altair and
//! browsers draw. Made of results as JSON, so that whoever has a result has its charts; data is inlined and small.
//!
//! `run` has the charts of a simulation, `sweep` those of a sweep; `spec` is what all have in common.

pub mod run;
pub mod spec;
pub mod sweep;

use serde_json::Value;

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Identifies it among those of a result, such as `ttft_cdf`.
    pub name: &'static str,
    /// A Vega-Lite specification.
    pub spec: Value,
}

/// Why there is no such chart of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoChart(pub String);

impl std::fmt::Display for NoChart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoChart {}
