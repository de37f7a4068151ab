//! Tables at the edge: what happened to each request as Parquet or CSV, and traces from Parquet.
//!
//! The only crate that uses polars (its eager part): the engine never waits for its build, nor for its types.

mod columns;
mod error;
mod records;
#[cfg(test)]
mod testing;
mod trace;

pub use columns::{Labels, RECORD_COLUMNS, RecordColumn};
pub use error::TableError;
pub use records::{RecordFormat, RecordWriter};
pub use trace::read_trace;
