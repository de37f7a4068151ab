//! Tables at the edge: what happened to each request, and what became of each point of a sweep, as Parquet or CSV; traces from
//! Parquet.
//!
//! The only crate that uses polars (its eager part): the engine never waits for its build, nor for its types.

mod columns;
mod error;
mod records;
mod sweep;
#[cfg(test)]
mod testing;
mod trace;
mod writer;

pub use columns::{ColumnInfo, Labels, RECORD_COLUMNS};
pub use error::TableError;
pub use records::RecordWriter;
pub use sweep::{Merged, SWEEP_COLUMNS, SweepTableError, merge_sweeps, read_sweep, sweep_columns, sweep_frame, write_sweep};
pub use trace::read_trace;
pub use writer::TableFormat;
