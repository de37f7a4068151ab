//! What can go wrong with a view.

use std::path::{Path, PathBuf};

use tokentide_models::units::{Duration, Time};

use crate::meter::POINTS_MAX;

/// A view that cannot be made. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// An extension that says nothing.
    #[error("cannot tell the format of `{}` from its extension: use {expected}", path.display())]
    UnknownExtension {
        /// As given.
        path: PathBuf,
        /// Those that say something.
        expected: &'static str,
    },
    /// The file system refused.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Nothing happened in the window.
    #[error("nothing happens from {} to {} s: the run ended at {} s", from.as_secs_f64(), until.as_secs_f64(), end.as_secs_f64())]
    EmptyWindow {
        /// Its start.
        from: Time,
        /// Its end.
        until: Time,
        /// The run's.
        end: Time,
    },
    /// A page of a time that is not in the run.
    #[error("there are no metrics at {} s: the run ended at {} s", at.as_secs_f64(), end.as_secs_f64())]
    AfterTheEnd {
        /// That time.
        at: Time,
        /// The run's end.
        end: Time,
    },
    /// Samples too close to each other.
    #[error("samples every {} s are more than {POINTS_MAX}, all engine cores together: take longer intervals", every.as_secs_f64())]
    TooManySamples {
        /// Their distance.
        every: Duration,
    },
}

impl ViewError {
    /// For `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ViewError {
        let path = path.to_owned();
        move |source| ViewError::Io { path, source }
    }
}
