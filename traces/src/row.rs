//! One row of a trace, whatever the format.

use std::hash::{Hash, Hasher};

use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};

use super::error::{Fault, FaultKind};

/// One request of a trace: what arrives, and, for comparison only, what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceRow {
    /// Arrival [ps] from any origin: only differences count. Of a row with a delay, that of its session's first turn.
    pub arrival_ps: i128,
    /// From the end of the previous turn of its session to this one [ps]: such a row has no arrival of its own.
    pub delay_ps: Option<u64>,
    /// Prompt length [tokens].
    pub input_tokens: u32,
    /// Realised length of the answer [tokens], reasoning included.
    pub output_tokens: u32,
    /// Requested maximum.
    pub max_tokens: Option<u32>,
    /// Name of a class of the scenario; the first one if there is none.
    pub class: Option<String>,
    /// Tenant label.
    pub tenant: Option<String>,
    /// Route label.
    pub route: Option<String>,
    /// Model that was asked for.
    pub model: Option<String>,
    /// Name of the session.
    pub session: Option<String>,
    /// Turn of the session, from 0.
    pub turn: Option<u32>,
    /// Of the prompt, how much is the session's conversation so far: prompt and answer of the turns before, unchanged.
    pub history_tokens: Option<u32>,
    /// Identities of the prompt's blocks, in order; empty if unknown.
    pub prefix_hashes: Vec<u64>,
    /// Tokens per identity; `None`: as the trace's configuration says.
    pub prefix_block_tokens: Option<u32>,
    /// Input tokens by source, in the order of [`crate::Source::ALL`]; all zero if unknown.
    pub sources: [u32; 8],
    /// What was seen of it where it was served.
    pub observed: Observed,
}

/// What the server that recorded a request said of it: to compare with, never a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Of the answer [tokens].
    pub reasoning_tokens: Option<u32>,
    /// Of the prompt, found in a cache [tokens].
    pub cached_tokens: Option<u32>,
    /// Images in the prompt.
    pub images: Option<u32>,
    /// Arrival to first scheduling [ps].
    pub queue_ps: Option<u64>,
    /// Arrival to first token [ps].
    pub ttft_ps: Option<u64>,
    /// Arrival to last token [ps].
    pub e2e_ps: Option<u64>,
    /// How it ended.
    pub finish: Option<Ended>,
}

/// How a recorded request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ended {
    /// The model ended its answer.
    Stop,
    /// A limit cut it.
    Length,
    /// The client left.
    Abort,
    /// It failed.
    Error,
}

impl Ended {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Stop => "stop",
            Ended::Length => "length",
            Ended::Abort => "abort",
            Ended::Error => "error",
        }
    }

    /// From what servers, and our own records, call it; `None` for words that are not known.
    pub fn named(word: &str) -> Option<Ended> {
        match word.to_ascii_lowercase().as_str() {
            "stop" | "end_turn" | "eos" | "tool_use" | "tool_calls" | "function_call" | "repetition" => Some(Ended::Stop),
            "length" | "max_tokens" | "truncated" => Some(Ended::Length),
            "abort" | "cancelled" | "canceled" | "timed_out" => Some(Ended::Abort),
            "error" | "failure" | "failed" | "rejected_context" | "rejected_queue" | "lost" | "unavailable" => Some(Ended::Error),
            _ => None,
        }
    }
}

/// How many hashes a prompt must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Those of a prefix, as long as one likes.
    Prefix,
    /// All blocks, the last one may be partial.
    Ceil,
    /// All full blocks.
    Floor,
}

/// FNV-1a of what is hashed.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv1a(self.0, bytes);
    }
}

impl TraceRow {
    /// Goes on with a hash of rows.
    pub fn digest(&self, hash: u64) -> u64 {
        let mut hasher = Fnv(hash);
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Checks what one row can be checked for.
    ///
    /// # Errors
    /// With the kind of fault and what was expected.
    pub fn check(&self, cover: Cover) -> Result<(), Fault> {
        if self.arrival_ps.unsigned_abs() >= 10u128.pow(30) {
            return Err(Fault::new(FaultKind::TooLarge, "expected an arrival time below 1e18 s"));
        }
        if self.input_tokens == 0 {
            return Err(Fault::new(FaultKind::ZeroInput, "a prompt has at least 1 token"));
        }
        if self.output_tokens == 0 {
            return Err(Fault::new(FaultKind::ZeroOutput, "an answer has at least 1 token"));
        }
        self.check_parts(cover)
    }

    /// The same, but that a request may have failed: without an answer.
    ///
    /// # Errors
    /// See [`TraceRow::check`].
    pub fn check_parts(&self, cover: Cover) -> Result<(), Fault> {
        if self.max_tokens == Some(0) {
            return Err(Fault::new(FaultKind::ZeroMaxTokens, "a maximum is at least 1 token"));
        }
        let by_source: u64 = self.sources.iter().map(|&tokens| u64::from(tokens)).sum();
        if by_source != 0 && by_source != u64::from(self.input_tokens) {
            let expected = format!("the in_* columns hold {by_source} tokens, input_tokens {}", self.input_tokens);
            return Err(Fault::new(FaultKind::BadSources, expected));
        }
        if self.delay_ps.is_some() && self.session.is_none() {
            return Err(Fault::new(FaultKind::BadSession, "a row with a delay needs a session, whose previous turn it follows"));
        }
        if let Some(history) = self.history_tokens.filter(|history| *history >= self.input_tokens.max(1)) {
            let expected = format!("a prompt of {} tokens goes beyond its history of {history}", self.input_tokens);
            return Err(Fault::new(FaultKind::BadSession, expected));
        }
        self.check_blocks(cover)
    }

    fn check_blocks(&self, cover: Cover) -> Result<(), Fault> {
        let ids = self.prefix_hashes.len() as u64;
        if ids == 0 && cover == Cover::Prefix {
            return Ok(());
        }
        let input = u64::from(self.input_tokens);
        let Some(block) = self.prefix_block_tokens.filter(|b| *b > 0).map(u64::from) else {
            return Err(Fault::new(FaultKind::BadBlocks, "set block_tokens: how many tokens each prefix hash stands for"));
        };
        let whole = input.div_ceil(block);
        let least = match cover {
            Cover::Prefix => 0,
            Cover::Ceil => whole,
            Cover::Floor => input / block,
        };
        if ids > whole || ids < least {
            let fits = BLOCK_SIZES.into_iter().map(u64::from).find(|&b| input.div_ceil(b) == ids || input / b == ids);
            let hint = fits.map_or(String::new(), |b| format!("; {b} tokens per hash would fit: set block_tokens"));
            let expected = format!(
                "{ids} hashes of {block} tokens for {input} input tokens: expected ceil({input} / {block}) = {whole}{hint}"
            );
            return Err(Fault::new(FaultKind::BadBlocks, expected));
        }
        Ok(())
    }
}

/// Tokens per block that traces are known to use.
pub const BLOCK_SIZES: [u32; 6] = [16, 32, 64, 128, 256, 512];

/// Identity of a prefix hash: a number as it is, other text by a hash.
pub fn identity(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| mix(fnv1a(FNV_OFFSET, text.as_bytes())))
}
