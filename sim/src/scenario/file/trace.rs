//! `[trace]`

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::TraceFormat;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;

/// A trace to replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceFile {
    /// The file, CSV or JSONL, plain or gzip, relative to the scenario.
    #[schemars(required)]
    pub path: Option<At<PathBuf>>,
    /// Its format; by default found from its content.
    pub format: Option<At<TraceFormat>>,
    /// Column map of a mapped file: our name = "their name", with a unit after a colon where theirs differs, such as
    /// arrival_s = "timestamp:ms".
    pub columns: Option<At<BTreeMap<String, String>>>,
    /// Arrivals come this many times faster; 1 by default.
    #[schemars(range(min = 0))]
    pub rate_scale: Option<At<f64>>,
    /// Only rows from start to before end, such as ["0s", "10m"], counted from the first row.
    pub window: Option<At<(TimeSpan, TimeSpan)>>,
    /// Spreads arrivals that share a coarse time stamp uniformly over this long, such as "3s"; off by default.
    pub jitter: Option<At<TimeSpan>>,
    /// Tokens per prefix hash, where the file does not say it.
    #[schemars(range(min = 1))]
    pub block_tokens: Option<At<u32>>,
    /// Count and leave out rows that cannot be used instead of refusing the file; false by default.
    pub skip_bad_rows: Option<At<bool>>,
}
