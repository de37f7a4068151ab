//! A class: lengths and conversations of a group.

use std::collections::{BTreeMap, HashMap};

use super::beginnings;
use super::conversations::Conversation;
use super::{FitOptions, FittedClass, FittedSession, Table, quantiles};
use crate::row::TraceRow;

/// Lengths and conversations of a group. Name, label and arrivals are the caller's.
pub fn class(rows: &[TraceRow], members: &[Conversation], options: &FitOptions) -> FittedClass {
    let table = |values: &mut dyn Iterator<Item = u32>| -> Table {
        let mut values: Vec<u32> = values.collect();
        values.sort_unstable();
        quantiles::table(&values, options.points_max)
    };
    let firsts: Vec<&TraceRow> = members.iter().map(|turns| &rows[turns[0].row]).collect();
    let all: Vec<&TraceRow> = members.iter().flatten().map(|turn| &rows[turn.row]).collect();
    let beginnings = beginnings::find(&firsts);
    let first = table(&mut beginnings.own.into_iter());
    let mut class = FittedClass {
        rows: all.len() as u64,
        shared: beginnings.shared,
        groups: beginnings.groups,
        output: table(&mut all.iter().map(|row| row.output_tokens)),
        max_tokens: common_maximum(&all),
        ..FittedClass::default()
    };
    if all.len() == members.len() {
        return FittedClass { added: first, ..class };
    }
    let later = || members.iter().flat_map(|turns| &turns[1..]);
    class.added = table(&mut later().filter_map(|turn| turn.added(rows)));
    let waits = table(&mut later().map(|turn| u32::try_from(turn.wait_ps / 1_000_000_000).unwrap_or(u32::MAX)));
    class.session = Some(FittedSession {
        turns: counts(members.iter().map(|turns| turns.len() as u32)),
        think: waits.into_iter().map(|(share, ms)| (share, ms / 1e3)).collect(),
        first,
    });
    class
}

fn counts(values: impl Iterator<Item = u32>) -> Vec<(u32, u64)> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts.into_iter().collect()
}

fn common_maximum(rows: &[&TraceRow]) -> Option<u32> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    rows.iter().filter_map(|row| row.max_tokens).for_each(|max| *counts.entry(max).or_default() += 1);
    let (max, count) = counts.into_iter().max_by_key(|(max, count)| (*count, *max))?;
    (count * 2 > rows.len()).then_some(max)
}
