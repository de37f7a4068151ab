//! What can be wrong with measurements.

use thiserror::Error;
use tokentide_models::architecture::Architecture;
use tokentide_models::catalogue::CatalogueError;
use tokentide_models::cost::CostError;
use tokentide_models::gpu::Gpu;

/// Why no profile could be made.
#[derive(Debug, Error)]
pub enum CalibrateError {
    /// A table could not be opened.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A table has rows or columns that cannot be read.
    #[error("{path}: {source}")]
    Row {
        /// The file.
        path: String,
        /// Where and why.
        source: csv::Error,
    },
    /// A time or size that cannot be.
    #[error("{path}: {message}")]
    Value {
        /// The file.
        path: String,
        /// The row and what is wrong with it.
        message: String,
    },
    /// The tables do not name what was asked for.
    #[error("{what} {asked} is not in the tables; known are {known}")]
    Unknown {
        /// GPU, number formats or the like.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// Too few points for a fit.
    #[error("{what}: {found} points of {selection}, at least {least} are needed")]
    TooFew {
        /// Kind of point.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many it takes.
        least: usize,
        /// What was asked for.
        selection: String,
    },
    /// A deployment that the tables cannot say anything about.
    #[error("{selection}: {reason}")]
    Refused {
        /// What was asked for.
        selection: String,
        /// Why.
        reason: String,
    },
    /// No such GPU or model.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The profile made is not a valid one.
    #[error(transparent)]
    Profile(#[from] CostError),
}

impl CalibrateError {
    /// That `asked` is not among those `known`.
    pub(crate) fn unknown(what: &'static str, asked: &str, known: impl IntoIterator<Item: Into<String>>) -> CalibrateError {
        let known: Vec<String> = known.into_iter().map(Into::into).collect();
        CalibrateError::Unknown { what, asked: asked.into(), known: known.join(", ") }
    }
}

/// GPU and model by their names or aliases in the catalogue.
///
/// # Errors
///
/// [`CalibrateError::Unknown`] for the first that the catalogue lacks, with those that it has.
pub(crate) fn of_catalogue(gpu: &str, model: &str) -> Result<(Gpu, Architecture), CalibrateError> {
    let gpus = || Gpu::all().iter().map(|gpu| gpu.name.as_str());
    let models = || Architecture::all().iter().map(|model| model.name.as_str());
    Ok((
        Gpu::find(gpu).map_err(|_| CalibrateError::unknown("gpu", gpu, gpus()))?,
        Architecture::find(model).map_err(|_| CalibrateError::unknown("model", model, models()))?,
    ))
}
