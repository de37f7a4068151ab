//! How to read a file.

use crate::format::TraceFormat;
use crate::number::Unit;

/// How to read a file.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Its format, or detected from its content.
    pub format: TraceFormat,
    /// Column map `ours -> theirs` of a mapped CSV or JSONL, with an optional unit after a colon.
    pub columns: Vec<(String, String)>,
    /// Of arrival times, where the file leaves it open.
    pub time_unit: Option<Unit>,
    /// Tokens per prefix hash, where the file does not say it.
    pub block_tokens: Option<u32>,
    /// Which benchmark of a report, from 1, if it has several.
    pub benchmark: Option<usize>,
    /// Whether its bytes are hashed.
    pub hashed: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            format: TraceFormat::Detect,
            columns: Vec::new(),
            time_unit: None,
            block_tokens: None,
            benchmark: None,
            hashed: false,
        }
    }
}
