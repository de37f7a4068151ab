//! What a trace turned out to be: counted as its rows pass, in memory that does not grow with them.

pub mod arrivals;
pub mod counts;
pub mod prefix;

use std::collections::HashMap;

use serde::Serialize;
use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};

use self::arrivals::{ArrivalStats, Arrivals};
use self::counts::{Counts, Quantiles};
use self::prefix::{PrefixFigures, PrefixStats};
use crate::row::TraceRow;

/// Sessions whose last turn is remembered, at least: two generations of so many.
const SESSIONS: usize = 1 << 18;

/// Counts the rows of a trace.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    rows: u64,
    waiting: u64,
    input: Counts,
    output: Counts,
    total: Counts,
    max_tokens: Counts,
    reasoning_tokens: u64,
    cached_tokens: u64,
    arrivals: ArrivalStats,
    prefix: PrefixStats,
    turns: Turns,
}

/// Turns of sessions, each against the one before.
#[derive(Clone, Debug, Default)]
struct Turns {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
    sessions: u64,
    pairs: u64,
    /// Turns whose prompt is shorter than what was said before.
    shorter: u64,
}

/// What a survey found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Of them, turns that wait for the turn before instead of having an arrival.
    pub waiting: u64,
    /// Sessions, of rows that name one.
    pub sessions: u64,
    /// Arrivals of all rows that have one.
    pub arrivals: Arrivals,
    /// Prompts [tokens].
    pub input: Quantiles,
    /// Answers [tokens].
    pub output: Quantiles,
    /// Prompt and answer [tokens].
    pub total: Quantiles,
    /// Requested maximum [tokens], of rows that have one.
    pub max_tokens: Option<Quantiles>,
    /// Reasoning in all answers [tokens].
    pub reasoning_tokens: u64,
    /// Found in a cache, as observed [tokens].
    pub cached_tokens: u64,
    /// Prefixes; none if the trace knows nothing of them.
    pub prefix: Option<PrefixFigures>,
    /// Of turns that follow another one, how many have a prompt that is shorter than what was said before.
    pub shorter_turns: f64,
}

impl Survey {
    /// Counts a row, in order of arrival.
    pub fn add(&mut self, row: &TraceRow) {
        self.rows += 1;
        self.input.add(row.input_tokens);
        self.output.add(row.output_tokens);
        self.total.add(row.input_tokens.saturating_add(row.output_tokens));
        if let Some(max) = row.max_tokens {
            self.max_tokens.add(max);
        }
        self.reasoning_tokens += u64::from(row.observed.reasoning_tokens.unwrap_or(0));
        self.cached_tokens += u64::from(row.observed.cached_tokens.unwrap_or(0));
        match row.delay_ps {
            Some(_) => self.waiting += 1,
            None => self.arrivals.add(row.arrival_ps),
        }
        self.prefix.add(row);
        if let Some(session) = &row.session {
            self.turns.add(session, row);
        }
    }

    /// What it found.
    pub fn figures(&self) -> Figures {
        let pairs = self.turns.pairs.max(1) as f64;
        Figures {
            rows: self.rows,
            waiting: self.waiting,
            sessions: self.turns.sessions,
            arrivals: self.arrivals.figures(),
            input: self.input.quantiles(),
            output: self.output.quantiles(),
            total: self.total.quantiles(),
            max_tokens: (self.max_tokens.rows() > 0).then(|| self.max_tokens.quantiles()),
            reasoning_tokens: self.reasoning_tokens,
            cached_tokens: self.cached_tokens,
            prefix: self.prefix.figures(),
            shorter_turns: if self.turns.pairs >= 20 { self.turns.shorter as f64 / pairs } else { 0.0 },
        }
    }
}

impl Turns {
    fn add(&mut self, session: &str, row: &TraceRow) {
        let id = mix(fnv1a(FNV_OFFSET, session.as_bytes()));
        let said = u64::from(row.input_tokens) + u64::from(row.output_tokens);
        let before = self.young.insert(id, said).or_else(|| self.old.remove(&id));
        match before {
            Some(before) => {
                self.pairs += 1;
                self.shorter += u64::from(u64::from(row.input_tokens) < before);
            }
            None => self.sessions += 1,
        }
        if self.young.len() > SESSIONS {
            self.old = std::mem::take(&mut self.young);
        }
    }
}
