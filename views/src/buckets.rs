//! Histograms as Prometheus has them, in integers: exact, whatever their sum.

use tokentide_sim::engine::Progression;

/// Observations by upper bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Those at most each bound and above the one before, the ones above all bounds last; empty while there are none.
    counts: Vec<u64>,
    /// Their sum.
    sum: u128,
}

impl Buckets {
    /// One more, against ascending upper `bounds`.
    pub fn observe(&mut self, bounds: &[u64], value: u64) {
        self.observe_times(bounds, value, 1);
    }

    /// `times` more of the same.
    pub fn observe_times(&mut self, bounds: &[u64], value: u64, times: u64) {
        self.reserve(bounds);
        self.counts[bounds.partition_point(|&bound| bound < value)] += times;
        self.sum += u128::from(value) * u128::from(times);
    }

    /// The first `steps` values of an arithmetic progression, `times` each: as many operations as there are bounds.
    pub fn observe_progression(&mut self, bounds: &[u64], values: Progression, steps: u64, times: u64) {
        self.reserve(bounds);
        let mut below = 0;
        for (count, bound) in self.counts.iter_mut().zip(bounds.iter().map(Some).chain([None])) {
            let upto = bound.map_or(steps, |&bound| at_most(values, steps, bound));
            *count += (upto - below) * times;
            below = upto;
        }
        self.sum += u128::from(values.sum(steps).0) * u128::from(times);
    }

    /// Those of `other` as well.
    pub fn add(&mut self, other: &Buckets) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// How many are at most the bound of index `i`; beyond the last bound, all.
    pub fn upto(&self, i: usize) -> u64 {
        self.counts.iter().take(i + 1).sum()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    fn reserve(&mut self, bounds: &[u64]) {
        if self.counts.is_empty() {
            self.counts.resize(bounds.len() + 1, 0);
        }
    }
}

/// How many of the first `steps` values are at most `bound`.
fn at_most(values: Progression, steps: u64, bound: u64) -> u64 {
    match (bound.checked_sub(values.first), values.slope) {
        (None, _) => 0,
        (Some(_), 0) => steps,
        (Some(room), slope) => (room / slope + 1).min(steps),
    }
}

#[cfg(test)]
mod tests {
    use tokentide_models::hash::mix;

    use super::*;

    /// Against each value by itself, many of them on a bound.
    #[test]
    fn a_progression_is_its_values() {
        for case in 0..5000u64 {
            let draw = |purpose: u64, below: u64| mix(case * 31 + purpose) % below;
            let mut bounds: Vec<u64> = (0..draw(0, 8)).map(|i| draw(10 + i, 120)).collect();
            bounds.sort_unstable();
            bounds.dedup();
            let values = Progression { first: draw(1, 60), slope: draw(2, 4) };
            let (steps, times) = (draw(3, 50), draw(4, 3) + 1);
            let (mut fast, mut slow) = (Buckets::default(), Buckets::default());
            fast.observe_progression(&bounds, values, steps, times);
            slow.reserve(&bounds);
            for step in 0..steps {
                (0..times).for_each(|_| slow.observe(&bounds, values.first + values.slope * step));
            }
            assert_eq!(fast, slow, "{bounds:?} {values:?} {steps} {times}");
            let below = |bound: u64| (0..steps).filter(|step| values.first + values.slope * step <= bound).count() as u64 * times;
            for (i, &bound) in bounds.iter().enumerate() {
                assert_eq!(fast.upto(i), below(bound));
            }
            assert_eq!((fast.count(), fast.upto(bounds.len())), (steps * times, steps * times));
        }
    }

    #[test]
    fn an_empty_one_takes_any() {
        let (mut all, mut one) = (Buckets::default(), Buckets::default());
        one.observe(&[5, 10], 5);
        one.observe(&[5, 10], 11);
        all.add(&one);
        all.add(&Buckets::default());
        all.add(&one);
        assert_eq!(([all.upto(0), all.upto(1), all.upto(2)], all.count(), all.sum()), ([2, 2, 4], 4, 32));
    }
}
