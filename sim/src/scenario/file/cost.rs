//! `[cost]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// Where the time of an engine step comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostFile {
    /// "auto" (default: the best that is there for this model and GPU), "roofline" (from the hardware's peaks), the name of a
    /// profile, or the path of one, relative to the scenario: a text with a `/` or ending in `.toml`.
    #[schemars(example = &"auto", example = &"roofline", example = &"profiles/my-h100.toml")]
    pub profile: Option<At<String>>,
}
