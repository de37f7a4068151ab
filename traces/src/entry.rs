//! What a reader makes of one record of a file.

use crate::error::FaultKind;
use crate::row::TraceRow;

/// A record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request in it.
    pub row: TraceRow,
    /// Why it is no load as it stands: it failed, came from a cache, was a warm-up.
    pub aside: Option<FaultKind>,
    /// Name of the record: two of one name are one request, logged twice.
    pub id: Option<u64>,
}

impl Entry {
    /// A request that was served; without an answer it failed.
    pub fn of(row: TraceRow) -> Entry {
        let aside = match (row.input_tokens, row.output_tokens) {
            (0, _) => Some(FaultKind::ZeroInput),
            (_, 0) => Some(FaultKind::ZeroOutput),
            _ => None,
        };
        Entry { row, aside, id: None }
    }

    /// The same with a reason to set it aside, if there is one.
    pub fn aside(mut self, reason: Option<FaultKind>) -> Entry {
        self.aside = reason.or(self.aside);
        self
    }
}
