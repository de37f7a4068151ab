//! Text that prompts begin with alike: all of a class, and groups of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use crate::row::TraceRow;
use crate::survey::prefix::IdMap;

/// Prompts that have to begin alike to be a group.
const GROUP_MIN: u32 = 16;
/// Groups at most: those that share most.
const GROUPS_MAX: usize = 64;
/// Groups share this part of the prompts' tokens, or else they are none.
const WORTH: f64 = 0.01;

/// What the prompts of a class begin with alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beginnings {
    /// All of them [tokens].
    pub shared: u32,
    /// Behind it, (tokens, prompts) of the texts of groups, each of another length, and of those without one; empty if there are
    /// no groups.
    pub groups: Vec<(u32, u64)>,
    /// Behind both, what is each prompt's own [tokens].
    pub own: Vec<u32>,
}

/// Finds them in prompts.
pub fn find(rows: &[&TraceRow]) -> Beginnings {
    let block = rows.iter().find_map(|row| row.prefix_block_tokens).unwrap_or(0);
    let mut uses: IdMap<u32> = IdMap::default();
    rows.iter().flat_map(|row| &row.prefix_hashes).for_each(|id| *uses.entry(*id).or_default() += 1);
    let blocks = |row: &TraceRow, least: u32| row.prefix_hashes.iter().take_while(|id| uses[*id] >= least).count();
    // What most of them begin with is common to all: in each place there can be one such block only.
    let most = rows.len() as u32 / 2 + 1;
    let common = rows.iter().map(|row| blocks(row, most)).max().unwrap_or(0);
    // A prompt that is no longer than what it shares would have nothing of its own.
    let shortest = rows.iter().map(|row| row.input_tokens).min().unwrap_or(0);
    let shared = (common as u32 * block).min(shortest.saturating_sub(1));
    // Of each prompt the longest beginning that is a group's.
    let of_group = |row: &TraceRow| {
        let blocks = blocks(row, GROUP_MIN);
        let tokens = (blocks as u32 * block).min(row.input_tokens.saturating_sub(1));
        (blocks > common).then(|| (row.prefix_hashes[blocks - 1], tokens - shared))
    };
    let of_groups: Vec<Option<(u64, u32)>> = rows.iter().map(|row| of_group(row)).collect();
    let lengths = lengths(&of_groups, rows.iter().map(|row| u64::from(row.input_tokens)).sum());
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    let mut own = Vec::with_capacity(rows.len());
    for (row, group) in rows.iter().zip(&of_groups) {
        let length = group.and_then(|(id, _)| lengths.get(&id).copied()).unwrap_or(0);
        *counts.entry(length).or_default() += 1;
        own.push(row.input_tokens.saturating_sub(shared + length).max(1));
    }
    let groups = if lengths.is_empty() { Vec::new() } else { counts.into_iter().collect() };
    Beginnings { shared, groups, own }
}

/// Lengths of the texts of groups [tokens], each another one; none if they share next to nothing of `input` tokens.
fn lengths(of_groups: &[Option<(u64, u32)>], input: u64) -> IdMap<u32> {
    let mut found: IdMap<(u32, u32)> = IdMap::default();
    for (id, tokens) in of_groups.iter().flatten() {
        let (length, count) = found.entry(*id).or_insert((*tokens, 0));
        *length = (*tokens).min(*length);
        *count += 1;
    }
    let shares = |tokens: u32, count: u32| u64::from(tokens) * u64::from(count);
    let mut groups: Vec<(u64, u32, u32)> = found.into_iter().map(|(id, (tokens, count))| (id, tokens, count)).collect();
    groups.retain(|(_, tokens, count)| *count >= GROUP_MIN && *tokens > 0);
    groups.sort_by_key(|(id, tokens, count)| (Reverse(shares(*tokens, *count)), *id));
    groups.truncate(GROUPS_MAX);
    let grouped: u64 = groups.iter().map(|(_, tokens, count)| shares(*tokens, *count)).sum();
    if (grouped as f64) < WORTH * input as f64 {
        return IdMap::default();
    }
    // A length tells the texts apart: where two have the same one, some are a few tokens shorter and as many longer.
    let mut taken: HashSet<u32> = HashSet::new();
    let mut length = |tokens: u32| {
        let mut near = (0..).flat_map(|by| [tokens.saturating_sub(by), tokens + by]);
        near.find(|length| *length > 0 && taken.insert(*length)).unwrap_or(tokens)
    };
    groups.into_iter().map(|(id, tokens, _)| (id, length(tokens))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(input_tokens: u32, prefix_hashes: Vec<u64>) -> TraceRow {
        TraceRow { input_tokens, prefix_hashes, prefix_block_tokens: Some(64), ..TraceRow::default() }
    }

    fn found(rows: &[TraceRow]) -> Beginnings {
        find(&rows.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_most_begin_with_is_common_to_all() {
        let rows: Vec<TraceRow> = (0..100).map(|i| row(192 + i as u32, vec![1, 2, 1000 + i])).collect();
        let all = found(&rows);
        assert_eq!((all.shared, all.groups.len(), all.own[..3].to_vec()), (128, 0, vec![64, 65, 66]));
        // It is shorter than the shortest prompt, and one without it does not matter.
        let mut some = rows.clone();
        some.push(row(100, vec![7]));
        assert_eq!((found(&some).shared, found(&some).own[100]), (99, 1));
        // Nothing is known, or nothing alike.
        assert_eq!(found(&[row(50, Vec::new())]).shared, 0);
        assert_eq!(found(&(0..50).map(|i| row(128, vec![100 + i, 200 + i])).collect::<Vec<_>>()).shared, 0);
    }

    /// Three products with a prompt of their own behind what they share, two of one length, and requests of neither.
    #[test]
    fn groups_are_told_apart_by_length() {
        let mut rows = Vec::new();
        for i in 0..400u64 {
            rows.push(match i % 4 {
                0 => row(512, vec![1, 10, 11, 12, 1000 + i]),
                1 => row(400, vec![1, 20, 21, 22, 1000 + i]),
                2 => row(300, vec![1, 30, 1000 + i]),
                _ => row(200, vec![1, 1000 + i]),
            });
        }
        let all = found(&rows);
        assert_eq!(all.shared, 64);
        let lengths: Vec<u32> = all.groups.iter().map(|group| group.0).collect();
        assert!(lengths == [0, 64, 191, 192] || lengths == [0, 64, 192, 193], "{lengths:?}");
        assert!(all.groups.iter().all(|group| group.1 == 100));
        // Prompts are as long as they were, and each group has its text.
        assert_eq!((all.own[2], all.own[3]), (300 - 128, 200 - 64));
        assert_eq!(all.own[0] + all.own[1], 512 + 400 - 2 * 64 - lengths[2] - lengths[3]);
    }

    #[test]
    fn a_few_that_begin_alike_are_no_group() {
        // Fifteen are too few, and sixteen among many share too little.
        let some = |alike: u64, all: u64| -> Vec<TraceRow> {
            (0..all).map(|i| row(512, vec![if i < alike { 5 } else { 100 + i }, 10_000 + i])).collect()
        };
        assert!(found(&some(15, 60)).groups.is_empty());
        assert_eq!(found(&some(16, 60)).groups, [(0, 44), (64, 16)]);
        assert!(found(&some(16, 2000)).groups.is_empty());
    }
}
