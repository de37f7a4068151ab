//! `[class.session]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::DistributionFile;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;

/// Multi-turn conversations: each turn's prompt is what the class composes, with the conversation so far as its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionFile {
    /// Turns of a session, at least 1.
    #[schemars(required)]
    pub turns: Option<At<DistributionFile<f64>>>,
    /// From the end of an answer to the next turn's arrival; "0s" by default.
    pub think: Option<At<DistributionFile<TimeSpan>>>,
    /// What the user brings to the first turn, in place of the prompt's `user` [tokens]; by default as in all turns.
    pub first_user: Option<At<DistributionFile<f64>>>,
    /// History beyond this is dropped, oldest first [tokens]; by default it grows up to the context limit.
    pub history_max: Option<At<u32>>,
}
