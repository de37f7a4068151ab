//! Why a probe could not be made, and what to do about it.

use thiserror::Error;

/// What went wrong, after what was tried, and what to change. Neither has a key or the user part of a URL in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ProbeError {
    /// What was tried and what came of it.
    pub message: String,
    /// What to change.
    pub help: String,
}

impl ProbeError {
    /// With both.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> ProbeError {
        ProbeError { message: message.into(), help: help.into() }
    }
}

/// Why the experiment ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The user asked for it.
    Interrupted,
    /// It cannot go on.
    Failed(ProbeError),
}

impl From<ProbeError> for Halt {
    fn from(error: ProbeError) -> Halt {
        Halt::Failed(error)
    }
}
