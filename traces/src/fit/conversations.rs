//! Conversations: which request goes on from which one before it.
//!
//! A turn that waits says so itself. Of rows with arrivals, a request goes on from an earlier one if its prompt begins with all
//! full blocks of that one's prompt and is longer; where there are no hashes, if it is the next one of its session and its prompt
//! has room for the whole prompt and answer before it.

use std::collections::HashMap;

use tokentide_models::hash::mix;
use tokentide_models::units::PS_PER_S;

use crate::row::TraceRow;
use crate::survey::prefix::{IdMap, IdSet};

/// Where prompts go on otherwise than the one before did more often than this, there is text that many share, and no conversation.
const WAYS_MAX: u32 = 16;
/// Conversations that are drawn to see how many turns come too late.
const DRAWS: usize = 20_000;

/// A request within its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its row.
    pub row: usize,
    /// Of its prompt, what was said in the conversation before; `None` in a first turn, and in one that begins afresh [tokens].
    pub history: Option<u32>,
    /// From the end of the answer before to its arrival; 0 for a first turn [ps].
    pub wait_ps: u64,
}

impl Turn {
    /// What it brings beyond what was said before [tokens]; `None` as for `history`.
    pub fn added(&self, rows: &[TraceRow]) -> Option<u32> {
        Some(rows[self.row].input_tokens - self.history?)
    }
}

/// The turns of one conversation, one at least.
pub type Conversation = Vec<Turn>;

/// Whether turns wait for answers: then what goes on from what is known.
pub fn wait(rows: &[TraceRow]) -> bool {
    rows.iter().any(|row| row.delay_ps.is_some())
}

/// All rows by conversation, in order of their first turns. `waits` is what [`wait`] says.
pub fn find(rows: &[TraceRow], waits: bool) -> Vec<Conversation> {
    let ways = if waits { Ways::default() } else { Ways::count(rows) };
    let mut found: Vec<Conversation> = Vec::new();
    // The conversation of a session, of waiting turns and where there are no hashes.
    let mut sessions: HashMap<&str, usize> = HashMap::new();
    // Of each block, the conversation of the last prompt that had it.
    let mut owners: IdMap<usize> = IdMap::default();
    for (index, row) in rows.iter().enumerate() {
        let session = row.session.as_deref();
        let of_session = session.and_then(|name| sessions.get(name).copied());
        let before = match row.delay_ps {
            Some(_) => of_session,
            None if waits => None,
            None if row.prefix_hashes.is_empty() => of_session.filter(|c| says_more(&rows[last(&found[*c])], row)),
            None => ways.known(row, &owners).filter(|(c, blocks)| begins_with(&rows[last(&found[*c])], row, *blocks)).map(|k| k.0),
        };
        let conversation = before.unwrap_or(found.len());
        match before {
            Some(before) => {
                let turn = turn(&rows[last(&found[before])], row, index);
                found[before].push(turn);
            }
            None => found.push(vec![Turn { row: index, history: None, wait_ps: 0 }]),
        }
        session.map(|name| sessions.insert(name, conversation));
        if !waits {
            owners.extend(row.prefix_hashes.iter().map(|id| (*id, conversation)));
        }
    }
    found
}

/// How many times as many conversations have to begin as did, so that as many turns as in the trace come before its end. Those
/// that were under way at the end are shorter than they would have been, and drawn at random, turn by turn, they are cut by the
/// end again. `starts` are those of the conversations [s].
pub fn cut_short(conversations: &[Conversation], starts: &[f64], span_s: f64) -> f64 {
    let waits: Vec<f64> = conversations.iter().flat_map(|turns| &turns[1..]).map(|turn| seconds(turn.wait_ps)).collect();
    if waits.is_empty() {
        return 1.0;
    }
    // Enough draws for a share within a percent.
    let rounds = (DRAWS / starts.len()).max(1);
    let (mut state, mut in_time) = (0, 0);
    let mut random = |below: usize| {
        state += 1;
        (mix(state) % below as u64) as usize
    };
    for start in (0..rounds).flat_map(|_| starts) {
        let mut time = *start;
        for _ in 0..conversations[random(conversations.len())].len() {
            if time >= span_s {
                break;
            }
            in_time += 1;
            time += waits[random(waits.len())];
        }
    }
    let turns: usize = conversations.iter().map(Vec::len).sum();
    (turns * rounds) as f64 / in_time.max(1) as f64
}

/// How long a conversation may last at most, of those whose turns wait: its waits, and its answers, which come with `per_token`
/// [s].
pub fn longest(rows: &[TraceRow], conversations: &[Conversation], per_token: f64) -> f64 {
    let answer = |turn: &Turn| f64::from(rows[turn.row].output_tokens) * per_token;
    let lasts = |turns: &Conversation| turns.iter().map(|turn| seconds(turn.wait_ps) + answer(turn)).sum::<f64>();
    conversations.iter().map(lasts).fold(0.0, f64::max)
}

fn seconds(ps: u64) -> f64 {
    ps as f64 / PS_PER_S as f64
}

/// Row of the last turn so far.
fn last(conversation: &Conversation) -> usize {
    conversation[conversation.len() - 1].row
}

fn turn(before: &TraceRow, row: &TraceRow, index: usize) -> Turn {
    if let Some(delay) = row.delay_ps {
        return Turn { row: index, history: row.history_tokens, wait_ps: delay };
    }
    let history = said(before).min(row.input_tokens.saturating_sub(1));
    let gap = u64::try_from(row.arrival_ps - before.arrival_ps).unwrap_or(0);
    Turn { row: index, history: Some(history), wait_ps: gap.saturating_sub(before.observed.e2e_ps.unwrap_or(0)) }
}

/// Prompt and answer; what was only thought is not carried on.
fn said(row: &TraceRow) -> u32 {
    let thought = row.observed.reasoning_tokens.unwrap_or(0);
    row.input_tokens.saturating_add(row.output_tokens.saturating_sub(thought))
}

fn says_more(before: &TraceRow, row: &TraceRow) -> bool {
    row.input_tokens > said(before)
}

fn begins_with(before: &TraceRow, row: &TraceRow, blocks: usize) -> bool {
    let block = row.prefix_block_tokens.unwrap_or(u32::MAX);
    row.input_tokens > before.input_tokens && blocks >= (before.input_tokens / block).max(1) as usize
}

/// Blocks after which prompts go on in many ways.
#[derive(Default)]
struct Ways {
    many: IdSet,
}

impl Ways {
    fn count(rows: &[TraceRow]) -> Ways {
        // What followed a block when it was met last, and how often that was something else than the time before.
        let mut ways: IdMap<(Option<u64>, u32)> = IdMap::default();
        for row in rows {
            for (place, id) in row.prefix_hashes.iter().enumerate() {
                let next = row.prefix_hashes.get(place + 1).copied();
                let (before, changes) = ways.entry(*id).or_insert((next, 0));
                *changes += u32::from(*before != next || next.is_none());
                *before = next;
            }
        }
        Ways { many: ways.into_iter().filter(|(_, (_, changes))| *changes > WAYS_MAX).map(|(id, _)| id).collect() }
    }

    /// The conversation that had the longest known beginning of a prompt last, and how many blocks that has. `None` if many go on
    /// from there.
    fn known(&self, row: &TraceRow, owners: &IdMap<usize>) -> Option<(usize, usize)> {
        let blocks = row.prefix_hashes.iter().take_while(|id| owners.contains_key(id)).count();
        let id = row.prefix_hashes.get(blocks.checked_sub(1)?)?;
        (!self.many.contains(id)).then(|| (owners[id], blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 16;

    fn row(second: u64, input_tokens: u32, output_tokens: u32, prefix_hashes: Vec<u64>) -> TraceRow {
        let arrival_ps = i128::from(second) * i128::from(PS_PER_S);
        TraceRow { arrival_ps, input_tokens, output_tokens, prefix_hashes, prefix_block_tokens: Some(BLOCK), ..TraceRow::default() }
    }

    fn of_session(name: &str, row: TraceRow) -> TraceRow {
        TraceRow { session: Some(name.to_owned()), ..row }
    }

    fn all(rows: &[TraceRow]) -> Vec<Conversation> {
        find(rows, wait(rows))
    }

    /// Rows of each conversation.
    fn found(rows: &[TraceRow]) -> Vec<Vec<usize>> {
        all(rows).iter().map(|turns| turns.iter().map(|turn| turn.row).collect()).collect()
    }

    #[test]
    fn prompts_that_begin_as_the_one_before_go_on() {
        let mut rows = vec![
            row(0, 40, 10, vec![1, 2, 3]),
            row(1, 40, 10, vec![1, 2, 4]),
            // The first one's full blocks and more, then one more, and one that says less than it needs to.
            row(8, 60, 10, vec![1, 2, 5, 6]),
            row(20, 90, 10, vec![1, 2, 5, 7, 8, 9]),
            row(30, 90, 10, vec![1, 2, 5, 7, 8, 10]),
            row(40, 30, 10, vec![1, 11]),
        ];
        // Two have the same full blocks: what goes on from both goes on from the last one.
        assert_eq!(found(&rows), [vec![0], vec![1, 2, 3], vec![4], vec![5]]);
        let turns = &all(&rows)[1];
        assert_eq!(turns[1], Turn { row: 2, history: Some(50), wait_ps: 7 * PS_PER_S });
        assert_eq!(turns[2], Turn { row: 3, history: Some(70), wait_ps: 12 * PS_PER_S });
        // What is known of the answer's time is not waited, and what was only thought is not carried on.
        rows[1].observed.e2e_ps = Some(5 * PS_PER_S);
        rows[1].observed.reasoning_tokens = Some(4);
        assert_eq!(all(&rows)[1][1], Turn { row: 2, history: Some(46), wait_ps: 2 * PS_PER_S });
        // A prompt carries on less than it is.
        rows[2].input_tokens = 42;
        assert_eq!(all(&rows)[1][1].history, Some(41));
    }

    #[test]
    fn text_that_many_share_is_no_conversation() {
        // A system prompt of two blocks, and questions that are longer and shorter than the one before.
        let rows: Vec<TraceRow> = (0..100).map(|i| row(i, 36 + (i as u32 * 7) % 11, 10, vec![1, 2])).collect();
        assert_eq!(found(&rows).len(), 100);
        let rows: Vec<TraceRow> = (0..100).map(|i| row(i, 50 + (i as u32 * 7) % 11, 10, vec![1, 2, 1000 + i])).collect();
        assert_eq!(found(&rows).len(), 100);
    }

    #[test]
    fn sessions_without_hashes_go_on_where_there_is_room() {
        let rows = [
            of_session("a", row(0, 40, 10, Vec::new())),
            of_session("b", row(1, 40, 10, Vec::new())),
            of_session("a", row(2, 55, 10, Vec::new())),
            // No room for what was said before: the prompt is another one, and the next goes on from it.
            of_session("b", row(3, 45, 10, Vec::new())),
            of_session("b", row(4, 60, 10, Vec::new())),
            row(5, 500, 10, Vec::new()),
        ];
        assert_eq!(found(&rows), [vec![0, 2], vec![1], vec![3, 4], vec![5]]);
    }

    #[test]
    fn turns_that_wait_say_so() {
        let waits = |row: TraceRow, history| TraceRow { delay_ps: Some(3), history_tokens: history, ..row };
        let rows = [
            of_session("a", row(0, 40, 10, vec![1, 2])),
            waits(of_session("a", row(0, 70, 10, Vec::new())), Some(50)),
            waits(of_session("a", row(0, 30, 10, Vec::new())), None),
            // It begins as the first did, and is of another session.
            of_session("b", row(9, 60, 10, vec![1, 2, 3])),
        ];
        assert_eq!(found(&rows), [vec![0, 1, 2], vec![3]]);
        let histories: Vec<_> = all(&rows)[0].iter().map(|turn| (turn.history, turn.wait_ps)).collect();
        assert_eq!(histories, [(None, 0), (Some(50), 3), (None, 3)]);
        assert!((longest(&rows, &all(&rows), 0.5) - 15.0).abs() < 1e-6);
    }

    /// Of conversations of two turns a minute apart, half of those that begin in the last two minutes lose one.
    #[test]
    fn as_many_more_begin_as_the_end_cuts() {
        let turn = |wait_ps| Turn { row: 0, history: None, wait_ps };
        let conversations: Vec<Conversation> = (0..600).map(|_| vec![turn(0), turn(60 * PS_PER_S)]).collect();
        let starts = |every: f64| (0..600).map(|i| f64::from(i) * every).collect::<Vec<_>>();
        assert_eq!(cut_short(&conversations, &starts(0.1), 1000.0), 1.0);
        // All begin within the last 120 s: a quarter of the turns are lost.
        assert!((cut_short(&conversations, &starts(0.2), 120.0) - 4.0 / 3.0).abs() < 0.01);
        assert_eq!(cut_short(&[vec![turn(0)]], &[0.0], 1.0), 1.0);
    }
}
