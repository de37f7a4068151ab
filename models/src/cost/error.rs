//! What can be wrong with a cost model.

use thiserror::Error;

/// Why no cost model could be built.
#[derive(Debug, Error)]
pub enum CostError {
    /// A profile's text is not of the expected form.
    #[error("profile {name}: {message}")]
    Invalid {
        /// Name or path of the profile.
        name: String,
        /// What is wrong, with the key.
        message: String,
    },
    /// A profile is for another deployment.
    #[error("profile {name} is for {field} {profile}, the scenario has {scenario}")]
    Mismatch {
        /// Name of the profile.
        name: String,
        /// The field that differs.
        field: &'static str,
        /// Its value in the profile.
        profile: String,
        /// Its value in the scenario.
        scenario: String,
    },
    /// No shipped profile has this name.
    #[error("no profile is named {name}; the nearest of the {count} shipped are {nearest}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names nearest to it.
        nearest: String,
        /// How many there are.
        count: usize,
    },
    /// A profile's file could not be read.
    #[error("profile {path}: {source}")]
    Read {
        /// The path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The profile claims times that the hardware cannot reach.
    #[error("profile {name} is faster than physics allows: {message}")]
    BelowFloor {
        /// Name of the profile.
        name: String,
        /// Which coefficient, its value and the least possible.
        message: String,
    },
    /// The deployment itself makes no sense.
    #[error("deployment: {0}")]
    Deployment(String),
    /// A recording without steps.
    #[error("a recording needs at least one step")]
    EmptyRecording,
}
