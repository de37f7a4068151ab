//! Changes to a trace: what if the same users came more often, were given more text, or were cut shorter?
//!
//! All rows are held in memory. The order of the changes is that of the fields of [`Changes`]; the same rows, changes and seed give
//! the same rows.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};
use tokentide_models::units::PS_PER_S;

use crate::row::TraceRow;
use crate::source::Source;

/// Text that more than this share of the rows begins with is everybody's, also that of a copy's users.
const SHARED_BY: f64 = 0.01;

/// What to change.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Only rows with an arrival within [s after the first], re-based.
    pub window: Option<(f64, f64)>,
    /// So many times the requests: thinned below 1, copies shifted in time above. Bursts stay what they are.
    pub rate: Option<f64>,
    /// Time passes so many times faster: bursts become steeper, too.
    pub speed: Option<f64>,
    /// Retrieved text of so many chunks becomes that of so many.
    pub top_k: Option<(u32, u32)>,
    /// So many times the history.
    pub history: Option<f64>,
    /// No answer is longer than this [tokens].
    pub output_cap: Option<u32>,
    /// Arrivals are spread uniformly over this long [s].
    pub jitter: Option<f64>,
    /// Names and identities are replaced by numbers.
    pub anonymize: bool,
}

/// Why a trace cannot be changed so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransformError {
    /// The change is to a source of prompts, and no row tells it.
    #[error(
        "no row says how many of its input tokens are {what}: the trace needs in_* columns (`trace import --map in_{what}=...`)"
    )]
    NoSource {
        /// Name of the source.
        what: &'static str,
    },
    /// The change is to prompts that later turns carry on.
    #[error("prompts of turns that carry on a conversation (history_tokens) cannot be changed one by one")]
    Conversation,
    /// No row is left.
    #[error("no row is left: the trace spans {span_s:.1} s")]
    Empty {
        /// Of the trace.
        span_s: f64,
    },
}

/// Changes rows that are in order of arrival, and says what was done.
///
/// # Errors
/// If a change makes no sense for these rows.
pub fn transform(mut rows: Vec<TraceRow>, changes: &Changes, seed: u64) -> Result<(Vec<TraceRow>, Vec<String>), TransformError> {
    let mut notes = Vec::new();
    let span = |rows: &[TraceRow]| match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => last.arrival_ps - first.arrival_ps,
        _ => 0,
    };
    let span_s = span(&rows) as f64 / PS_PER_S as f64;
    if let Some((start, end)) = changes.window {
        let first = rows.first().map_or(0, |row| row.arrival_ps);
        let ps = |s: f64| first + (s * PS_PER_S as f64).round() as i128;
        let within = ps(start)..ps(end);
        rows.retain(|row| within.contains(&row.arrival_ps));
        notes.push(format!("{} rows lie within the window", rows.len()));
    }
    if let Some(rate) = changes.rate {
        rows = scaled(rows, rate, seed, &mut notes);
    }
    if let Some(speed) = changes.speed {
        let first = rows.first().map_or(0, |row| row.arrival_ps);
        rows.iter_mut().for_each(|row| row.arrival_ps = ((row.arrival_ps - first) as f64 / speed).round() as i128);
        notes.push(format!("time passes {speed} times faster: gaps and bursts shrink alike, delays of turns stay"));
    }
    if let Some((from, to)) = changes.top_k {
        let changed = grow(&mut rows, Source::Retrieved, f64::from(to) / f64::from(from))?;
        notes.push(format!("retrieved text of {from} chunks is that of {to} now, in {changed} rows"));
    }
    if let Some(factor) = changes.history {
        let changed = grow(&mut rows, Source::History, factor)?;
        notes.push(format!("history is {factor} times as long, in {changed} rows"));
    }
    if let Some(cap) = changes.output_cap {
        let cut = cap_output(&mut rows, cap);
        notes.push(format!("{cut} answers are cut to {cap} tokens"));
    }
    if let Some(tick) = changes.jitter {
        jitter(&mut rows, tick, seed);
        notes.push(format!("arrivals are spread uniformly over {tick} s"));
    }
    // Stable: turns stay behind the one that they wait for.
    rows.sort_by_key(|row| row.arrival_ps);
    if changes.anonymize {
        Names::default().replace(&mut rows);
        notes.push("names, sessions and identities of blocks are numbers in order of first appearance".to_owned());
    }
    if rows.is_empty() {
        return Err(TransformError::Empty { span_s });
    }
    Ok((rows, notes))
}

/// Puts another trace beside `rows`: both begin at the same time, their sessions and blocks have nothing in common.
pub fn mix_in(rows: &mut Vec<TraceRow>, other: Vec<TraceRow>, number: u64) {
    let first = rows.first().map_or(0, |row| row.arrival_ps);
    let shift = first - other.first().map_or(0, |row| row.arrival_ps);
    rows.extend(other.into_iter().map(|mut row| {
        row.arrival_ps += shift;
        apart(&mut row, number, &|_| false);
        row
    }));
    rows.sort_by_key(|row| row.arrival_ps);
}

/// Gives a row's session and blocks to a population of their own, but for blocks that are `shared`.
fn apart(row: &mut TraceRow, number: u64, shared: &dyn Fn(u64) -> bool) {
    if let Some(session) = &mut row.session {
        *session = format!("{session}~{number}");
    }
    for id in row.prefix_hashes.iter_mut().filter(|id| !shared(**id)) {
        *id = mix(*id ^ mix(number));
    }
}

/// A whole session, or a single row, is kept or left out: its number among all.
fn unit(row: &TraceRow, index: usize) -> u64 {
    row.session.as_ref().map_or_else(|| mix(index as u64), |name| fnv1a(FNV_OFFSET, name.as_bytes()))
}

fn chance(seed: u64, unit: u64, copy: u64) -> f64 {
    SmallRng::seed_from_u64(mix(mix(seed ^ mix(copy)) ^ unit)).random()
}

fn scaled(rows: Vec<TraceRow>, rate: f64, seed: u64, notes: &mut Vec<String>) -> Vec<TraceRow> {
    if rate <= 1.0 {
        let total = rows.len();
        let mut index = 0;
        let kept: Vec<TraceRow> = rows
            .into_iter()
            .filter(|row| {
                index += 1;
                chance(seed, unit(row, index), 0) < rate
            })
            .collect();
        notes.push(format!("thinned: {} of {total} rows are kept, sessions whole", kept.len()));
        return kept;
    }
    let (first, last) = (rows.first().map_or(0, |r| r.arrival_ps), rows.last().map_or(0, |r| r.arrival_ps));
    let span = last - first + 1;
    let shared = shared_blocks(&rows);
    let mut out = rows.clone();
    for copy in 1..rate.ceil() as u64 {
        let share = (rate - copy as f64).min(1.0);
        // Around the end of the trace and on from its start.
        let shift = (chance(seed, u64::MAX, copy) * span as f64) as i128;
        for (index, row) in rows.iter().enumerate() {
            if chance(seed, unit(row, index + 1), copy) >= share {
                continue;
            }
            let mut row = row.clone();
            row.arrival_ps = first + (row.arrival_ps - first + shift) % span;
            apart(&mut row, copy, &|id| shared.contains_key(&id));
            out.push(row);
        }
    }
    notes.push(format!(
        "superposed: {} rows of {}, copies shifted by random times; of their text, what more than 1 % of the rows begin with stays \
         shared, all else is the copy's own",
        out.len(),
        rows.len()
    ));
    out
}

/// Blocks in more than [`SHARED_BY`] of the rows.
fn shared_blocks(rows: &[TraceRow]) -> HashMap<u64, u64> {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for id in rows.iter().flat_map(|row| &row.prefix_hashes) {
        *counts.entry(*id).or_default() += 1;
    }
    counts.retain(|_, count| *count as f64 > SHARED_BY * rows.len() as f64);
    counts
}

/// Multiplies the tokens of a source. What stands behind it in the prompt moves, so that its blocks are others.
fn grow(rows: &mut [TraceRow], source: Source, factor: f64) -> Result<u64, TransformError> {
    let place = source as usize;
    let mut changed = 0;
    for row in rows.iter_mut().filter(|row| row.sources[place] > 0) {
        if row.history_tokens.is_some() {
            return Err(TransformError::Conversation);
        }
        let before = row.sources[place];
        let after = (f64::from(before) * factor).round().min(f64::from(1u32 << 24)) as u32;
        row.sources[place] = after;
        row.input_tokens = (row.input_tokens - before + after).max(1);
        if let Some(block) = row.prefix_block_tokens.filter(|block| *block > 0) {
            let ahead: u32 = row.sources[..place].iter().sum();
            row.prefix_hashes.truncate((ahead / block) as usize);
        }
        changed += 1;
    }
    if changed == 0 { Err(TransformError::NoSource { what: source.name() }) } else { Ok(changed) }
}

/// Cuts answers. What a later turn carries on is shorter by what was cut of the turns before.
fn cap_output(rows: &mut [TraceRow], cap: u32) -> u64 {
    let mut missing: HashMap<String, u32> = HashMap::new();
    let mut cut = 0;
    for row in rows.iter_mut() {
        let less = row.session.as_ref().and_then(|session| missing.get(session)).copied().unwrap_or(0);
        if let Some(history) = &mut row.history_tokens {
            let less = less.min(*history);
            *history -= less;
            row.input_tokens -= less;
        }
        let over = row.output_tokens.saturating_sub(cap);
        cut += u64::from(over > 0);
        row.output_tokens -= over;
        row.max_tokens = row.max_tokens.map(|max| max.min(cap));
        if let Some(session) = row.session.as_ref().filter(|_| over > 0) {
            *missing.entry(session.clone()).or_default() += over;
        }
    }
    cut
}

/// Where in its tick a row lies [s].
pub(crate) fn offset(seed: u64, index: usize, tick_s: f64) -> f64 {
    chance(seed, index as u64, 1 << 32) * tick_s
}

fn jitter(rows: &mut [TraceRow], tick_s: f64, seed: u64) {
    let mut session: Option<(String, i128)> = None;
    for (index, row) in rows.iter_mut().enumerate() {
        match &session {
            // Turns that wait begin with their session.
            Some((name, offset)) if row.delay_ps.is_some() && row.session.as_ref() == Some(name) => row.arrival_ps += offset,
            _ => {
                let offset = (offset(seed, index, tick_s) * PS_PER_S as f64) as i128;
                row.arrival_ps += offset;
                session = row.session.clone().map(|name| (name, offset));
            }
        }
    }
}

/// Numbers in place of names.
#[derive(Default)]
struct Names {
    known: HashMap<(&'static str, String), usize>,
    count: HashMap<&'static str, usize>,
    blocks: HashMap<u64, u64>,
}

impl Names {
    fn replace(&mut self, rows: &mut [TraceRow]) {
        for row in rows {
            for (kind, name) in [
                ("tenant", &mut row.tenant),
                ("route", &mut row.route),
                ("model", &mut row.model),
                ("class", &mut row.class),
                ("session", &mut row.session),
            ] {
                if let Some(name) = name {
                    *name = self.number(kind, std::mem::take(name));
                }
            }
            for id in &mut row.prefix_hashes {
                let next = self.blocks.len() as u64;
                *id = *self.blocks.entry(*id).or_insert(next);
            }
        }
    }

    fn number(&mut self, kind: &'static str, name: String) -> String {
        let count = self.count.entry(kind).or_default();
        let number = self.known.entry((kind, name)).or_insert_with(|| {
            *count += 1;
            *count
        });
        format!("{kind}-{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(second: i128, input_tokens: u32) -> TraceRow {
        TraceRow { arrival_ps: second * 1_000_000_000_000, input_tokens, output_tokens: 10, ..TraceRow::default() }
    }

    fn many() -> Vec<TraceRow> {
        (0..2000).map(|i| row(i, 100 + i as u32)).collect()
    }

    fn changed(rows: Vec<TraceRow>, changes: Changes) -> Vec<TraceRow> {
        transform(rows, &changes, 7).unwrap().0
    }

    #[test]
    fn rates_scale_by_thinning_and_by_copies() {
        for (rate, want) in [(0.3, 600.0), (1.0, 2000.0), (2.5, 5000.0), (3.0, 6000.0)] {
            let rows = changed(many(), Changes { rate: Some(rate), ..Changes::default() });
            assert!((rows.len() as f64 / want - 1.0).abs() < 0.06, "{rate}: {}", rows.len());
            assert!(rows.is_sorted_by_key(|row| row.arrival_ps));
            assert!(rows.last().unwrap().arrival_ps - rows[0].arrival_ps <= 2000 * 1_000_000_000_000);
        }
        // A thinned trace is part of the whole one, and more of it holds less of it.
        let rows = |rate| changed(many(), Changes { rate: Some(rate), ..Changes::default() });
        let (few, more) = (rows(0.2), rows(0.6));
        assert!(few.iter().all(|row| more.contains(row)));
        let fast = changed(many(), Changes { speed: Some(4.0), ..Changes::default() });
        assert_eq!((fast.len(), fast[4].arrival_ps), (2000, 1_000_000_000_000));
    }

    #[test]
    fn sessions_are_kept_whole_and_their_copies_apart() {
        let mut rows = Vec::new();
        for s in 0..300 {
            let session = Some(format!("s{s}"));
            let first = TraceRow {
                session: session.clone(),
                prefix_hashes: vec![1, 1000 + s],
                prefix_block_tokens: Some(16),
                ..row(s.into(), 30)
            };
            rows.push(first);
            rows.push(TraceRow { session, delay_ps: Some(5), history_tokens: Some(40), ..row(s.into(), 50) });
        }
        for rate in [0.5, 2.0] {
            let out = changed(rows.clone(), Changes { rate: Some(rate), jitter: Some(2.0), ..Changes::default() });
            for pair in out.chunks(2) {
                assert_eq!((pair[0].delay_ps, pair[1].delay_ps), (None, Some(5)));
                assert_eq!((&pair[0].session, pair[0].arrival_ps), (&pair[1].session, pair[1].arrival_ps));
            }
        }
        let out = changed(rows, Changes { rate: Some(2.0), ..Changes::default() });
        let ids =
            |at: usize| out.iter().filter_map(|row| row.prefix_hashes.get(at).copied()).collect::<std::collections::HashSet<_>>();
        assert_eq!((ids(0).len(), ids(1).len()), (1, 600), "the system prompt is everybody's, the rest nobody else's");
    }

    #[test]
    fn top_k_scales_what_is_retrieved_and_nothing_else() {
        let sources = [700, 400, 0, 2000, 0, 12, 0, 300];
        let hashes: Vec<u64> = (0..214).collect();
        let before = TraceRow { sources, prefix_hashes: hashes, prefix_block_tokens: Some(16), ..row(0, 3412) };
        let after = changed(vec![before.clone()], Changes { top_k: Some((4, 12)), ..Changes::default() }).remove(0);
        assert_eq!((after.input_tokens, after.sources), (7412, [700, 400, 0, 6000, 0, 12, 0, 300]));
        // Blocks ahead of the retrieved text are what they were; those behind it have moved.
        assert_eq!(after.prefix_hashes, before.prefix_hashes[..1100 / 16]);
        after.check(crate::row::Cover::Prefix).unwrap();
        let none = transform(vec![row(0, 5)], &Changes { top_k: Some((4, 12)), ..Changes::default() }, 1).unwrap_err();
        assert!(none.to_string().contains("in_retrieved"), "{none}");
        let grown = changed(
            vec![TraceRow { sources: [0, 0, 10, 0, 0, 5, 0, 0], ..row(0, 15) }],
            Changes { history: Some(3.0), ..Changes::default() },
        );
        assert_eq!((grown[0].input_tokens, grown[0].sources[2]), (35, 30));
    }

    #[test]
    fn a_cap_shortens_what_later_turns_carry_on() {
        let turn = |input: u32, output: u32, history: Option<u32>| TraceRow {
            session: Some("s".into()),
            delay_ps: history.map(|_| 1),
            history_tokens: history,
            output_tokens: output,
            max_tokens: Some(500),
            ..row(0, input)
        };
        let rows = vec![turn(100, 300, None), turn(450, 50, Some(400)), turn(600, 400, Some(500))];
        let out = changed(rows, Changes { output_cap: Some(100), ..Changes::default() });
        let facts: Vec<_> = out.iter().map(|r| (r.input_tokens, r.output_tokens, r.history_tokens, r.max_tokens)).collect();
        assert_eq!(facts, [(100, 100, None, Some(100)), (250, 50, Some(200), Some(100)), (400, 100, Some(300), Some(100))]);
    }

    #[test]
    fn windows_jitter_mixing_and_names() {
        let out = changed(many(), Changes { window: Some((10.0, 20.0)), ..Changes::default() });
        assert_eq!((out.len(), out[0].input_tokens), (10, 110));
        let ticks: Vec<TraceRow> = (0..3000).map(|i| row(i / 10 * 3, 5)).collect();
        let out = changed(ticks, Changes { jitter: Some(3.0), ..Changes::default() });
        let mut stats = crate::survey::arrivals::ArrivalStats::default();
        out.iter().for_each(|row| stats.add(row.arrival_ps));
        // Of ten uniform times in an interval the gaps have a CV of sqrt(10 / 12).
        assert!((stats.figures().cv.unwrap() - 0.913).abs() < 0.03, "{:?}", stats.figures());

        let mut rows = vec![TraceRow { session: Some("s".into()), prefix_hashes: vec![1], ..row(100, 5) }];
        let other = vec![TraceRow { session: Some("s".into()), prefix_hashes: vec![1], ..row(900, 6) }];
        mix_in(&mut rows, other, 1);
        assert_eq!((rows.len(), rows[0].arrival_ps), (2, rows[1].arrival_ps));
        assert!(rows[0].session != rows[1].session && rows[0].prefix_hashes != rows[1].prefix_hashes);

        let named = |tenant: &str| TraceRow { tenant: Some(tenant.into()), prefix_hashes: vec![77, 99], ..row(0, 40) };
        let out = changed(vec![named("acme"), named("beta"), named("acme")], Changes { anonymize: true, ..Changes::default() });
        assert_eq!(out.iter().map(|r| r.tenant.as_deref().unwrap()).collect::<Vec<_>>(), ["tenant-1", "tenant-2", "tenant-1"]);
        assert_eq!(out[2].prefix_hashes, [0, 1]);
        assert!(transform(many(), &Changes { window: Some((9e6, 9e7)), ..Changes::default() }, 1).is_err());
    }
}
