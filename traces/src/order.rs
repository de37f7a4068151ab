//! Puts rows in order of arrival, holding few of them.

use std::collections::VecDeque;

use crate::row::TraceRow;

/// Rows that are held, and what they take [bytes]: a log in order of completion is out of order by the longest answer.
const ROWS_MAX: usize = 1 << 17;
const BYTES_MAX: usize = 64 << 20;

/// Rows that may still be preceded by one that comes later.
#[derive(Debug, Default)]
pub struct Reorder {
    held: VecDeque<Box<TraceRow>>,
    bytes: usize,
    /// Holds all of them.
    whole: bool,
    given: Option<i128>,
    /// Rows that came before one that stood ahead of them in the file.
    pub moved: u64,
    latest: Option<i128>,
}

/// A row that comes earlier than what has been given already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate {
    /// By how much [ps].
    pub by_ps: i128,
}

impl Reorder {
    /// `whole`: holds all rows, however many.
    pub fn new(whole: bool) -> Reorder {
        Reorder { whole, ..Reorder::default() }
    }

    /// Takes a row; rows of one arrival stay in their order.
    ///
    /// # Errors
    /// If it comes earlier than a row that was given already.
    pub fn push(&mut self, row: TraceRow) -> Result<(), TooLate> {
        let arrival = row.arrival_ps;
        if let Some(given) = self.given.filter(|given| arrival < *given) {
            return Err(TooLate { by_ps: given - arrival });
        }
        self.bytes += size(&row);
        if self.latest.is_none_or(|latest| arrival >= latest) {
            self.latest = Some(arrival);
            self.held.push_back(Box::new(row));
        } else {
            self.moved += 1;
            let place = self.held.partition_point(|held| held.arrival_ps <= arrival);
            self.held.insert(place, Box::new(row));
        }
        Ok(())
    }

    /// A row that none can precede any more, as far as can be known without holding more.
    pub fn next_settled(&mut self) -> Option<TraceRow> {
        let full = !self.whole && (self.held.len() > ROWS_MAX || self.bytes > BYTES_MAX);
        if full { self.next() } else { None }
    }
}

/// All that is left, once no more rows come.
impl Iterator for Reorder {
    type Item = TraceRow;

    fn next(&mut self) -> Option<TraceRow> {
        let row = self.held.pop_front()?;
        self.bytes -= size(&row);
        self.given = Some(row.arrival_ps);
        Some(*row)
    }
}

fn size(row: &TraceRow) -> usize {
    size_of::<TraceRow>() + row.prefix_hashes.len() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arrival_ps: i128, input_tokens: u32) -> TraceRow {
        TraceRow { arrival_ps, input_tokens, ..TraceRow::default() }
    }

    #[test]
    fn rows_come_out_in_order_and_equal_ones_as_they_came() {
        let mut order = Reorder::new(false);
        for (n, arrival) in (0..).zip([5, 3, 3, 9, 5, 1]) {
            order.push(row(arrival, n)).unwrap();
        }
        assert_eq!(order.moved, 4);
        let out: Vec<(i128, u32)> = order.by_ref().map(|r| (r.arrival_ps, r.input_tokens)).collect();
        assert_eq!(out, [(1, 5), (3, 1), (3, 2), (5, 0), (5, 4), (9, 3)]);
        assert_eq!(order.push(row(4, 0)), Err(TooLate { by_ps: 5 }));
    }
}
