//! Tables at the edge: what happened to each request, and what became of each point of a sweep, as Parquet, CSV or data frames;
//! traces from Parquet.
//!
//! The only crate that uses polars (its eager part): the engine never waits for its build, nor for its types.

mod columns;
mod error;
mod records;
mod sweep;
#[cfg(test)]
mod testing;
mod trace;
mod trace_writer;
mod writer;

pub use columns::{ColumnInfo, Labels, RECORD_COLUMNS};
pub use error::TableError;
pub use records::{RecordTable, RecordWriter};
pub use sweep::{Merged, SWEEP_COLUMNS, SweepStore, SweepTableError, merge_sweeps, open_sweep, sweep_columns};
pub use trace::{TraceCache, TraceReader, read_trace, trace_rows};
pub use trace_writer::{TRACE_COLUMNS, TraceWriter};
pub use writer::{TableFormat, write_table};
