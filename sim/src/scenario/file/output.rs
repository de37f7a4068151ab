//! `[class.output]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::DistributionFile;
use crate::scenario::at::At;

/// What the model answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Maximum that the client asks for [tokens]; none by default.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<At<u32>>,
    /// Tokens the model would give without that maximum [tokens].
    #[schemars(required)]
    pub tokens: Option<At<DistributionFile<f64>>>,
}
