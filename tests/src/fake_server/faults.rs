//! What goes wrong with the fake server.

use std::time::Duration;

/// Something that befalls each `every`-th request, counted from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every<T> {
    /// 1: each of them.
    pub every: u32,
    /// What befalls it.
    pub what: T,
}

impl<T: Copy> Every<T> {
    /// What befalls request number `n`, from 0.
    pub fn of(this: Option<Every<T>>, n: u32) -> Option<T> {
        this.filter(|fault| n % fault.every == fault.every - 1).map(|fault| fault.what)
    }
}

/// Requests of somebody else inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// From one to the next.
    pub every: Duration,
    /// Prompt [tokens].
    pub input: u32,
    /// Answer [tokens].
    pub output: u32,
}

/// Steps that take longer than they should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outliers {
    /// Of all steps.
    pub share: f64,
    /// Times the right duration.
    pub factor: f64,
}

/// What goes wrong; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The first byte is late by so much.
    pub slow_first_byte: Option<Every<Duration>>,
    /// The connection is closed after so many tokens.
    pub drop_after: Option<Every<u32>>,
    /// The request is refused with this status.
    pub status: Option<Every<u16>>,
    /// Two tokens come in one chunk, at each so many chunks.
    pub coalesce: Option<u32>,
    /// Chunks are late by up to so much, at random.
    pub jitter: Option<Duration>,
    /// Somebody else's requests.
    pub foreign: Option<Foreign>,
    /// Steps that take longer than they should.
    pub outliers: Option<Outliers>,
    /// From this request on, steps take so many times as long.
    pub slow_from: Option<(u32, f64)>,
    /// Answers come whole, as JSON.
    pub not_streaming: bool,
    /// `/v1/completions` is not there, `/v1/chat/completions` is.
    pub chat_only: bool,
    /// `/metrics` tells so many KV blocks, whatever there are.
    pub claimed_blocks: Option<u32>,
    /// `/metrics` is not there.
    pub no_metrics: bool,
    /// Chunks do not count their tokens.
    pub no_usage: bool,
    /// Prompts of token ids are refused.
    pub text_only: bool,
    /// Token ids from here on are refused.
    pub vocab: Option<u32>,
    /// Answers end after so many tokens at most.
    pub short_answers: Option<u32>,
    /// Requests without this key are refused.
    pub api_key: Option<String>,
    /// `/start_profile` and `/stop_profile` are there.
    pub profiler: bool,
}
