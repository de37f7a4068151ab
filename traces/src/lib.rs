//! Requests that somebody recorded: every format, checked and normalised; their statistics; changes to them.
//!
//! ```text
//! file -> bytes -> detect -> Reader (schema, logs, spans, sessions, measured) -> Entry
//!      -> import (policy, order, survey) -> TraceRow -> inspect, transform; tables; sim
//! ```
//!
//! A [`Reader`] gives the records of a file as they stand. [`import`] decides which of them are load, puts them in order and says
//! what it met. Prompts' texts are never read: lengths and identities of blocks are all that leaves a reader.

mod blocks;
mod bytes;
pub mod columns;
mod detect;
pub mod document;
pub mod entry;
pub mod error;
pub mod fit;
pub mod format;
pub mod import;
pub mod inspect;
pub mod lines;
mod logs;
pub mod measured;
pub mod number;
#[cfg(test)]
mod number_tests;
pub mod options;
mod order;
pub mod reader;
pub mod record;
pub mod row;
pub mod schema;
pub mod scrape;
pub mod servegen;
mod sessions;
mod source;
mod spans;
pub mod survey;
pub mod table;
pub mod transform;
mod warnings;

pub use columns::NATIVE_COLUMNS;
pub use error::{Fault, FaultKind, TraceError};
pub use format::TraceFormat;
pub use lines::line_text;
pub use options::ReadOptions;
pub use reader::Reader;
pub use row::{Ended, Observed, TraceRow, identity};
pub use source::Source;
