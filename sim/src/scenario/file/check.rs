//! `[[check]]`: a budget on what a scenario does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// A budget, such as `assert = "ttft.p95 <= 800ms"`, or relative to the base of a change: `assert = "input_tokens.p95 <= +10%"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    /// What it is called, unique; by default its assertion.
    pub id: Option<At<String>>,
    /// `metric.statistic op limit`: op is <=, <, >= or >; the limit has a unit (ms, s, tok, %, $), and a sign if it is relative to
    /// the base. `tokentide explain checks` lists the metrics.
    #[schemars(required)]
    pub assert: Option<At<String>>,
    /// Whose requests; by default all.
    #[serde(rename = "where")]
    pub only: Option<At<WhereFile>>,
    /// What a breach means; "error" by default.
    pub level: Option<Level>,
}

/// What a breach of a budget means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The check is not made.
    Off,
    /// It is told.
    Warn,
    /// The build fails.
    #[default]
    Error,
}

/// Which requests, by their labels: those that have all that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhereFile {
    /// Of this scenario, by its name.
    pub scenario: Option<At<String>>,
    /// Of this class.
    pub class: Option<At<String>>,
    /// Of this tenant.
    pub tenant: Option<At<String>>,
    /// Of this route.
    pub route: Option<At<String>>,
    /// Of scenarios with this model.
    pub model: Option<At<String>>,
    /// Of this bucket of prompt lengths, such as "513-2048".
    pub input_bucket: Option<At<String>>,
}
