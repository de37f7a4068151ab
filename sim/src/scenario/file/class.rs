//! `[[class]]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrivals::ArrivalsFile;
use super::output::OutputFile;
use super::prompt::PromptFile;
use super::session::SessionFile;
use super::slo::SloFile;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;

/// One kind of traffic. With a trace, classes give labels and targets to its rows, and need no arrivals, prompt or output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassFile {
    /// Its name, unique in the scenario.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Tenant or team label.
    pub tenant: Option<At<String>>,
    /// Route or feature label.
    pub route: Option<At<String>>,
    /// Lower is served first under the priority policy; 0 by default.
    pub priority: Option<At<i32>>,
    /// When requests come; with sessions, when sessions start.
    pub arrivals: Option<At<ArrivalsFile>>,
    /// Where the input tokens come from.
    pub prompt: Option<At<PromptFile>>,
    /// What the model answers.
    pub output: Option<At<OutputFile>>,
    /// Rank correlation of input and output lengths, -1 to 1; 0 by default.
    #[schemars(range(min = -1, max = 1))]
    pub correlation: Option<At<f64>>,
    /// Multi-turn conversations.
    pub session: Option<At<SessionFile>>,
    /// The client gives up this long after sending, such as "30s"; never by default.
    pub timeout: Option<At<TimeSpan>>,
    /// Targets: what its users are promised.
    pub slo: Option<At<SloFile>>,
}
