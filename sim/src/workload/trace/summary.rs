//! What a trace turned out to be.

use std::collections::BTreeMap;

use tokentide_traces::TraceRow;

/// What was found when a trace was read: to be shown, since a wrong unit or a wrong column is visible here at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSummary {
    /// Such as `azure`.
    pub format: String,
    /// Unit of the arrival times, such as `ms`.
    pub unit: String,
    /// Rows in the file, good or bad.
    pub rows_read: u64,
    /// Good rows, those outside the window included.
    pub rows_kept: u64,
    /// Rows that were left out, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Of the good rows, those within the window: these are replayed. All without a window.
    pub rows_in_window: u64,
    /// From the first good row to the last [s], as recorded.
    pub span_s: f64,
    /// Sum over the rows in the window [tokens].
    pub input_tokens: u64,
    /// Sum over the rows in the window [tokens].
    pub output_tokens: u64,
    /// Good rows with the same arrival time as the row before: many of them mean coarse stamps (see `jitter`).
    pub equal_stamps: u64,
    /// Rows in the window that wait for the turn before instead of having an arrival.
    pub rows_waiting: u64,
    /// Good rows with prefix hashes.
    pub rows_with_prefix: u64,
    /// Columns of the file that were not read.
    pub ignored_columns: Vec<String>,
    /// FNV-1a, 64 bits, of the file's bytes as they lie on disk (of the rows' values, if they come from elsewhere).
    pub content_hash: u64,
}

impl TraceSummary {
    /// Counts a good row.
    pub(super) fn add(&mut self, row: &TraceRow, before: Option<i128>, in_window: bool) {
        self.rows_kept += 1;
        self.equal_stamps += u64::from(before == Some(row.arrival_ps) && row.delay_ps.is_none());
        self.rows_with_prefix += u64::from(!row.prefix_hashes.is_empty());
        if in_window {
            self.rows_in_window += 1;
            self.rows_waiting += u64::from(row.delay_ps.is_some());
            self.input_tokens += u64::from(row.input_tokens);
            self.output_tokens += u64::from(row.output_tokens);
        }
    }

    /// What the user should know before trusting a replay; `jitter`: whether coarse stamps are spread.
    pub fn warnings(&self, jitter: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if !jitter && self.rows_kept > 1 && self.equal_stamps * 2 > self.rows_kept - 1 {
            let share = 100.0 * self.equal_stamps as f64 / (self.rows_kept - 1) as f64;
            warnings.push(format!(
                "{share:.0} % of the arrivals have the same time stamp as the one before: set `jitter` to the tick's length"
            ));
        }
        for (reason, rows) in &self.rejected {
            warnings.push(format!("{rows} of {} trace rows left out: {reason}", self.rows_read));
        }
        warnings
    }
}
