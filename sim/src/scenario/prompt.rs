//! What prompts are made of.

use super::{Distribution, Source};

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
