//! Where the tokens of a prompt come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where input tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Source {
    /// System prompt.
    System,
    /// Developer prompt.
    Developer,
    /// Conversation so far.
    History,
    /// Retrieved text.
    Retrieved,
    /// Tool definitions and results.
    Tools,
    /// What the user typed.
    User,
    /// Citations and metadata.
    Metadata,
    /// Templates, separators, markup.
    Formatting,
}

impl Source {
    /// All of them, in the order of their index.
    pub const ALL: [Source; 8] = [
        Source::System,
        Source::Developer,
        Source::History,
        Source::Retrieved,
        Source::Tools,
        Source::User,
        Source::Metadata,
        Source::Formatting,
    ];

    /// Name in scenarios, traces and records.
    pub fn name(self) -> &'static str {
        match self {
            Source::System => "system",
            Source::Developer => "developer",
            Source::History => "history",
            Source::Retrieved => "retrieved",
            Source::Tools => "tools",
            Source::User => "user",
            Source::Metadata => "metadata",
            Source::Formatting => "formatting",
        }
    }
}
