//! How long at least one of many intervals lasts, between any two times.

/// The union of intervals.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Disjoint, in order: beginning and end [ns].
    pieces: Vec<(u64, u64)>,
    /// Length of all pieces before each [ns].
    before: Vec<u64>,
}

impl Coverage {
    /// The union of intervals, beginning and end [ns], in any order.
    pub fn of(intervals: impl IntoIterator<Item = (u64, u64)>) -> Coverage {
        let mut all: Vec<(u64, u64)> = intervals.into_iter().collect();
        all.sort_unstable();
        all.dedup_by(|next, last| {
            let overlaps = next.0 <= last.1;
            if overlaps {
                last.1 = last.1.max(next.1);
            }
            overlaps
        });
        let mut sum = 0;
        let mut before = Vec::with_capacity(all.len());
        for (start, end) in &all {
            before.push(sum);
            sum += end - start;
        }
        Coverage { pieces: all, before }
    }

    /// Length of the union between two times [ns]; 0 if the second is not later.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        if from < to { self.until(to) - self.until(from) } else { 0 }
    }

    fn until(&self, time: u64) -> u64 {
        match self.pieces.partition_point(|piece| piece.0 < time) {
            0 => 0,
            n => self.before[n - 1] + (time.min(self.pieces[n - 1].1) - self.pieces[n - 1].0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_count_once() {
        let coverage = Coverage::of([(10, 20), (15, 25), (25, 30), (40, 50), (42, 44)]);
        assert_eq!(coverage.between(0, 100), 30);
        assert_eq!((coverage.between(12, 18), coverage.between(28, 45), coverage.between(31, 39)), (6, 7, 0));
        assert_eq!((coverage.between(45, 41), Coverage::default().between(0, 9)), (0, 0));
    }
}
