//! What prompts are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

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

/// One part of the prompt.
#[derive(Clone, Debug)]
pub struct PromptPart {
    /// Where it comes from.
    pub source: Source,
    /// How many tokens: `count` draws of `tokens`, summed (`count` is 1 but for retrieved chunks: top_k).
    pub tokens: Distribution,
    /// See `tokens`.
    pub count: u32,
    /// Whether the text is the same in every request that draws the same length, so that a prefix cache can share it. Only
    /// the leading parts that are all shared form a shared prefix: text behind something private is never at the same place.
    pub shared: bool,
    /// The text of assumed length that it stands for, where it is one of a prompt file.
    pub assumed: Option<Assumed>,
}

/// A text of a prompt file that each request brings, of which only a length is assumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumed {
    /// The template's variable, such as `docs` or `user.name`.
    pub name: String,
    /// How often the template puts it in, at least 1: the same text each time, so its tokens are drawn once.
    pub times: u32,
}
