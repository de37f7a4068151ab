//! What a column of a trace holds.

use crate::source::Source;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Name of the record: two rows of one name are one request, logged twice.
    Id,
    /// Arrival time.
    Arrival,
    /// Delay after the previous turn.
    Delay,
    /// Prompt length.
    InputTokens,
    /// Realised length of the answer.
    OutputTokens,
    /// Requested maximum.
    MaxTokens,
    /// Name of a class of the scenario.
    Class,
    /// Tenant label.
    Tenant,
    /// Route label.
    Route,
    /// Model.
    Model,
    /// Name of the session.
    Session,
    /// Turn of the session, from 0.
    Turn,
    /// Conversation so far.
    HistoryTokens,
    /// Identities of the prompt's blocks.
    PrefixHashes,
    /// Tokens per identity.
    PrefixBlockTokens,
    /// Input tokens from this source.
    In(Source),
    /// Of the answer, reasoning.
    ReasoningTokens,
    /// Of the prompt, found in a cache.
    CachedTokens,
    /// Images in the prompt.
    Images,
    /// Arrival to first scheduling.
    Queue,
    /// Arrival to first token.
    Ttft,
    /// Arrival to last token.
    E2e,
    /// How it ended.
    Finish,
}

/// Names that native traces use, in every file format; the first three must be there.
pub const NATIVE_COLUMNS: [&str; 29] = [
    "arrival_s",
    "input_tokens",
    "output_tokens",
    "max_tokens",
    "class",
    "tenant",
    "route",
    "session",
    "prefix_hashes",
    "prefix_block_tokens",
    "in_system",
    "in_developer",
    "in_history",
    "in_retrieved",
    "in_tools",
    "in_user",
    "in_metadata",
    "in_formatting",
    "model",
    "turn",
    "delay_s",
    "history_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "images",
    "queue_ms",
    "ttft_ms",
    "e2e_ms",
    "finish_reason",
];

impl Column {
    /// The column of this name, as native traces and column maps call it.
    pub fn named(name: &str) -> Option<Column> {
        Some(match name {
            "id" => Column::Id,
            "arrival_s" | "arrival" => Column::Arrival,
            "delay_s" | "delay" => Column::Delay,
            "input_tokens" | "input" => Column::InputTokens,
            "output_tokens" | "output" => Column::OutputTokens,
            "max_tokens" => Column::MaxTokens,
            "class" => Column::Class,
            "tenant" => Column::Tenant,
            "route" => Column::Route,
            "model" => Column::Model,
            "session" => Column::Session,
            "turn" => Column::Turn,
            "history_tokens" => Column::HistoryTokens,
            "prefix_hashes" => Column::PrefixHashes,
            "prefix_block_tokens" => Column::PrefixBlockTokens,
            "reasoning_tokens" => Column::ReasoningTokens,
            "cached_tokens" => Column::CachedTokens,
            "images" => Column::Images,
            "queue_ms" | "queue" => Column::Queue,
            "ttft_ms" | "ttft" => Column::Ttft,
            "e2e_ms" | "e2e" => Column::E2e,
            "finish_reason" | "finish" => Column::Finish,
            _ => Column::In(Source::ALL.into_iter().find(|s| name.strip_prefix("in_") == Some(s.name()))?),
        })
    }

    /// Whether a trace may do without it.
    pub fn optional(self) -> bool {
        !matches!(self, Column::Arrival | Column::InputTokens | Column::OutputTokens)
    }

    /// Whether it holds a length of time.
    pub fn is_time(self) -> bool {
        matches!(self, Column::Delay | Column::Queue | Column::Ttft | Column::E2e)
    }
}
