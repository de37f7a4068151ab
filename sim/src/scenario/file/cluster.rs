//! `[cluster]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Router;
use crate::scenario::at::At;

/// Replicas behind a router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// How many replicas; 1 by default.
    #[schemars(range(min = 1))]
    pub replicas: Option<At<u32>>,
    /// Who gets a request; "round-robin" by default.
    pub router: Option<At<Router>>,
}
