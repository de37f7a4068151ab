//! Measures a live model server from outside, through its completions API, and writes down all that it saw.
//!
//! The experiment, in order ([`experiment`]): requests that warm the server up; limits that it does not tell ([`limits`]); prompts
//! alone, over lengths; decodes, over batches and contexts; prompts sent into steady decodes ([`design`]); a burst that gives the
//! capacity, and an open-loop run at a share of it, kept for validation ([`load`]). Between these a short beat shows whether the
//! server's own speed drifts. What time is left goes to repeats of the points that are least certain ([`figure`]).
//!
//! One repeat ([`repeat`]): requests, a thread for each ([`flight`], [`client`]), whose chunks are timed as their bytes arrive and
//! taken apart afterwards ([`events`]); what the server's `/metrics` tells meanwhile ([`watch`], [`metrics`]); what to beware of
//! ([`marks`]). Everything goes to a log at once ([`log`], [`crate::observation`]).

pub mod client;
pub mod clock;
pub mod design;
pub mod discover;
pub mod error;
pub mod events;
pub mod experiment;
pub mod figure;
pub mod flight;
pub mod limits;
pub mod load;
pub mod log;
pub mod marks;
pub mod metrics;
pub mod options;
pub mod pace;
pub mod point;
pub mod prompts;
pub mod repeat;
pub mod summary;
pub mod tally;
pub mod watch;

pub use error::ProbeError;
pub use experiment::{Progress, probe};
pub use options::ProbeOptions;
pub use summary::{KindSummary, Summary};
