//! A cost profile of a live server, fitted to what a probe saw of it.
//!
//! ```text
//! Observations -> samples (solo prompts; engine steps as decode streams show them; what arrivals take from the steps around)
//!   -> points (samples of like steps, without outliers)
//!   -> non-negative fit of the physical basis, knots chosen by points left out -> coefficients with intervals -> Profile
//! ```
//!
//! Reading order: [`clock`] (engine steps out of the times at which tokens came), [`sample`], [`basis`] (what a step's time is
//! made of), [`points`], [`regress`] (the fit), [`fit`] (the whole, and the profile), [`host`] (what the
//! profiler adds), [`logs`] (from files to a profile and what is said of it, [`report`]).

pub mod basis;
pub mod benchmark;
pub mod clock;
pub mod fit;
pub mod host;
pub mod logs;
pub mod points;
pub mod regress;
pub mod report;
pub mod sample;

pub use basis::{Basis, Term};
pub use benchmark::{BenchmarkRequest, log_of};
pub use fit::{Coefficient, LiveFit, fit_live};
pub use host::HostShare;
pub use logs::{Fitted, fit_logs};
pub use sample::{Sample, SampleKind, Samples, samples};
