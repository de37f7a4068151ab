//! The result of a comparison: what `--format json` prints, field by field, and what every other format is made of.
//!
//! A value that is `null` does not exist: there was nothing to take it of, or more work arrived than could be done, so that
//! there is no steady one (`state` of the side then is `overloaded`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::report::Fingerprint;

use crate::budget::Place;
use crate::metric::{Stage, Unit};
use crate::verdict::Verdict;

/// Version of this format.
pub const SCHEMA_VERSION: u32 = 1;

/// Two sides of a change, compared.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// Version of this format.
    pub schema_version: u32,
    /// What the head is compared with; absent if there is nothing.
    pub base: Option<String>,
    /// What is compared.
    pub head: String,
    /// One sentence: what changed, why, and what it does.
    pub headline: String,
    /// Confidence of the intervals, 0 to 1.
    pub confidence: f64,
    /// Paired runs on each side.
    pub replications: u32,
    /// Scenario by scenario.
    pub scenarios: Vec<ScenarioComparison>,
    /// Each budget on each scenario that it is about.
    pub checks: Vec<CheckReport>,
    /// Checks by verdict, those that occur.
    pub verdicts: BTreeMap<String, u32>,
    /// What the reader must know.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether any figure surely changed, or a scenario came or went.
    pub fn changed(&self) -> bool {
        self.scenarios.iter().any(|s| s.presence != Presence::Both || s.rows.iter().any(|row| row.changed))
    }

    /// Whether anything changed, or a check did not pass.
    pub fn noteworthy(&self) -> bool {
        self.changed() || self.checks.iter().any(|check| !matches!(check.verdict, Verdict::Pass | Verdict::Skipped))
    }
}

/// Whether a scenario is on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// On both.
    Both,
    /// On the head only.
    Added,
    /// On the base only.
    Removed,
}

/// A scenario, compared.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScenarioComparison {
    /// Its name.
    pub name: String,
    /// Whether it is on both sides.
    pub presence: Presence,
    /// One sentence.
    pub headline: String,
    /// Settings that differ.
    pub changes: Vec<SettingChange>,
    /// Every figure that was compared, the ones that say most first.
    pub rows: Vec<Row>,
    /// Where the prompt tokens come from.
    pub sources: Vec<SourceRow>,
    /// By bucket of prompt lengths.
    pub buckets: Vec<BucketRow>,
    /// The base; absent if it was added.
    pub base: Option<SideReport>,
    /// The head; absent if it was removed.
    pub head: Option<SideReport>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SettingChange {
    /// Its path, as for `--set`.
    pub path: String,
    /// As it was; absent if it was not set.
    pub base: Option<String>,
    /// As it is.
    pub head: Option<String>,
}

/// A figure on both sides.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The metric, as in assertions.
    pub metric: String,
    /// As people call it.
    pub label: String,
    /// Whose requests, such as `class rag`; empty for all.
    pub only: String,
    /// Its unit.
    pub unit: Unit,
    /// Where it comes from.
    pub stage: Stage,
    /// On the base, in that unit.
    pub base: Option<f64>,
    /// On the head.
    pub head: Option<f64>,
    /// Head less base.
    pub difference: Option<f64>,
    /// Lower end of the interval of the difference; absent where it is exact or unknown.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Head over base, less 1.
    pub change: Option<f64>,
    /// Whether it surely changed, by enough to matter.
    pub changed: bool,
}

/// Prompt tokens of one source of one class.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SourceRow {
    /// The class; empty if there is only one, or none.
    pub class: String,
    /// The source.
    pub source: String,
    /// Mean tokens per request on the base.
    pub base: f64,
    /// On the head.
    pub head: f64,
}

/// Requests of a bucket of prompt lengths.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BucketRow {
    /// Such as `513-2048` [tokens].
    pub bucket: String,
    /// Requests per run, base and head.
    pub requests: [f64; 2],
    /// TTFT p95 [ms]; `null` where there is none.
    pub ttft_p95_ms: [Option<f64>; 2],
    /// TTFT p99 [ms].
    pub ttft_p99_ms: [Option<f64>; 2],
}

/// What is to be known of a side.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SideReport {
    /// `stable`, `near the knee`, `overloaded`, ... of the middle run; absent without runs.
    pub state: Option<String>,
    /// Whether step times come from measurements of this GPU and model.
    pub calibrated: bool,
    /// The profile, or the kind of the cost model.
    pub profile: String,
    /// Error assumed of a step's time [share].
    pub model_error: f64,
    /// Whether token counts needed no simulation.
    pub exact_tokens: bool,
    /// By how much the weakest target is met, by number of replicas tried: (replicas, attainment less percentile).
    pub replica_curve: Vec<(u32, f64)>,
    /// What makes it comparable with other results.
    pub fingerprint: Fingerprint,
    /// What left the ranges that were measured.
    pub out_of_range: Vec<String>,
    /// Assumptions and warnings.
    pub notes: Vec<String>,
}

/// A budget on one scenario.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CheckReport {
    /// What it is called.
    pub id: String,
    /// The scenario.
    pub scenario: String,
    /// The assertion as written.
    pub assert: String,
    /// The metric, as in assertions.
    pub metric: String,
    /// Its unit.
    pub unit: Unit,
    /// Where its value comes from.
    pub stage: Stage,
    /// Whose requests; empty for all.
    pub only: String,
    /// How it stands.
    pub verdict: Verdict,
    /// Whether the limit is relative to the base, and how: `value`, `difference` or `change`.
    pub against: crate::assertion::Against,
    /// `<=`, `<`, `>=` or `>`.
    pub op: crate::assertion::Op,
    /// The limit, in the metric's unit or as a share.
    pub limit: f64,
    /// On the base.
    pub base: Option<f64>,
    /// On the head.
    pub head: Option<f64>,
    /// What is held against the limit; `null` if it is infinite or does not exist.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The same if every step is faster by the model's error.
    pub faster: Option<f64>,
    /// If it is slower.
    pub slower: Option<f64>,
    /// Why, where the figures do not say it.
    pub reason: Option<String>,
    /// Base by seed.
    pub base_by_seed: Vec<Option<f64>>,
    /// Head by seed.
    pub head_by_seed: Vec<Option<f64>>,
    /// Requests that it is measured of, all seeds together.
    pub requests: u64,
    /// Where it is written.
    pub place: Place,
}
