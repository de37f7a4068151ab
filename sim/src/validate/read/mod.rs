//! Readers of what benchmarks leave behind. A file is told by its content, never by its name.

pub mod csv;
pub mod table;

use std::path::Path;

use super::measured::Run;
use crate::workload::trace::TraceError;

/// Reads a benchmark's requests. `blocks` is a file with the identities of each prompt's blocks, if there is one.
///
/// # Errors
/// With file, line, column, value and reason.
pub fn read_run(path: &Path, blocks: Option<&Path>) -> Result<Run, TraceError> {
    csv::read(path, blocks)
}
