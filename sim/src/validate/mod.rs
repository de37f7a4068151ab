//! Predicted against measured: replays what a benchmark did, and says how far the simulation is from what it saw.
//!
//! A *run* is one benchmark with its requests, one row each; a *point* is one benchmark of which only lengths, concurrency and
//! means are known. Both become the same [`replay`]; a run is compared request by request and by percentiles ([`compare`]), points
//! by their means, in groups ([`groups`]). A [`manifest`] lists data sets with what was fitted on them and what others reached
//! there ([`evaluate`]).
//!
//! ```text
//! file -> traces/src/measured/ -> Run | Point -> replay (deployment from a scenario) -> compare -> SetReport
//!      -> text, JSON, Markdown, plot
//! ```
//!
//! Definitions, whatever the tool that measured: TTFT and e2e from submission; TPOT = (last - first token) / (output - 1),
//! undefined for one token; throughput = all output tokens over the time from the first submission to the last token.

pub mod compare;
pub mod deploy;
pub mod evaluate;
pub mod gate;
pub mod groups;
pub mod manifest;
pub mod points;
pub mod replay;
pub mod report;
pub mod stats;

pub use tokentide_traces::measured;
