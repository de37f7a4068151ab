//! Tokens by label: who makes the work.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::row::TraceRow;
use crate::survey::counts::{Counts, Quantiles};

/// Labels that are told apart; what comes with a new one beyond them is counted together.
const LABELS_MAX: usize = 65_536;
/// Seconds of a bin of the series.
const BIN_S: usize = 60;

/// Rows by one kind of label.
#[derive(Clone, Debug, Default)]
pub struct ByLabel {
    places: HashMap<String, usize>,
    rows: Vec<One>,
    /// Rows without a label, and beyond [`LABELS_MAX`].
    unnamed: One,
    others: One,
}

#[derive(Clone, Debug, Default)]
struct One {
    name: String,
    rows: u64,
    input: Counts,
    output: Counts,
    /// Tokens by minute, of the minutes that have any: most labels come rarely.
    minutes: BTreeMap<usize, u64>,
}

/// A label's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelRow {
    /// Name; `(none)` of rows without one, `(others)` of those that are not listed.
    pub name: String,
    /// Requests.
    pub rows: u64,
    /// Of all requests.
    pub row_share: f64,
    /// Of all tokens, prompts and answers.
    pub token_share: f64,
    /// Prompts [tokens].
    pub input: Quantiles,
    /// Answers [tokens].
    pub output: Quantiles,
    /// Tokens in each minute of the trace, prompts and answers.
    pub tokens_per_minute: Vec<u64>,
}

impl One {
    fn add(&mut self, row: &TraceRow, second: usize) {
        self.rows += 1;
        self.input.add(row.input_tokens);
        self.output.add(row.output_tokens);
        *self.minutes.entry(second / BIN_S).or_default() += u64::from(row.input_tokens) + u64::from(row.output_tokens);
    }

    fn tokens(&self) -> u64 {
        self.input.sum() + self.output.sum()
    }
}

impl ByLabel {
    /// Takes a row with this label.
    pub fn add(&mut self, name: Option<&str>, row: &TraceRow, second: usize) {
        let Some(name) = name else { return self.unnamed.add(row, second) };
        let place = match self.places.get(name) {
            Some(place) => *place,
            None if self.rows.len() >= LABELS_MAX => return self.others.add(row, second),
            None => {
                self.places.insert(name.to_owned(), self.rows.len());
                self.rows.push(One { name: name.to_owned(), ..One::default() });
                self.rows.len() - 1
            }
        };
        self.rows[place].add(row, second);
    }

    /// Whether any row has a label of this kind.
    pub fn is_named(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Different labels.
    pub fn different(&self) -> usize {
        self.rows.len()
    }

    /// The labels with most tokens, and what all others have together.
    pub fn top(&self, most: usize) -> Vec<LabelRow> {
        let mut ranked: Vec<&One> = self.rows.iter().collect();
        ranked.sort_by(|a, b| b.tokens().cmp(&a.tokens()).then_with(|| a.name.cmp(&b.name)));
        let (listed, rest) = ranked.split_at(most.min(ranked.len()));
        let all = || self.rows.iter().chain([&self.unnamed, &self.others]);
        let (rows, tokens) = (all().map(|one| one.rows).sum::<u64>() as f64, all().map(One::tokens).sum::<u64>() as f64);
        let minutes = all().filter_map(|one| one.minutes.last_key_value()).map(|(minute, _)| minute + 1).max().unwrap_or(0);
        let row = |name: &str, one: &One| LabelRow {
            name: name.to_owned(),
            rows: one.rows,
            row_share: one.rows as f64 / rows,
            token_share: one.tokens() as f64 / tokens,
            input: one.input.quantiles(),
            output: one.output.quantiles(),
            tokens_per_minute: (0..minutes).map(|minute| one.minutes.get(&minute).copied().unwrap_or(0)).collect(),
        };
        let mut out: Vec<LabelRow> = listed.iter().map(|one| row(&one.name, one)).collect();
        let mut others = self.others.clone();
        rest.iter().for_each(|one| others.absorb(one));
        out.extend((others.rows > 0).then(|| row("(others)", &others)));
        out.extend((self.unnamed.rows > 0).then(|| row("(none)", &self.unnamed)));
        out
    }
}

impl One {
    fn absorb(&mut self, other: &One) {
        self.rows += other.rows;
        self.input.merge(&other.input);
        self.output.merge(&other.output);
        other.minutes.iter().for_each(|(minute, tokens)| *self.minutes.entry(*minute).or_default() += tokens);
    }
}
