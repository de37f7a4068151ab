//! How often each whole number occurred: exact statistics of any number of requests, mergeable in any order.

use std::collections::BTreeMap;

/// Values below this are counted by index.
const DENSE: u32 = 1 << 16;

/// Occurrences of whole numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// By value, as far as any has occurred.
    dense: Vec<u64>,
    sparse: BTreeMap<u32, u64>,
    count: u64,
    sum: u64,
}

impl Counts {
    /// Counts `value` once.
    pub fn add(&mut self, value: u32) {
        self.add_many(value, 1);
    }

    fn add_many(&mut self, value: u32, times: u64) {
        if value < DENSE {
            let index = value as usize;
            if self.dense.len() <= index {
                self.dense.resize(index + 1, 0);
            }
            self.dense[index] += times;
        } else {
            *self.sparse.entry(value).or_default() += times;
        }
        self.count += times;
        self.sum += u64::from(value) * times;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Counts) {
        other.ascending().for_each(|(value, times)| self.add_many(value, times));
    }

    fn ascending(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> + '_ {
        let dense = self.dense.iter().enumerate().map(|(value, &times)| (value as u32, times));
        dense.chain(self.sparse.iter().map(|(&value, &times)| (value, times))).filter(|(_, times)| *times > 0)
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Their mean; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The largest; `None` without any.
    pub fn max(&self) -> Option<u32> {
        self.ascending().next_back().map(|(value, _)| value)
    }

    /// The value of rank `ceil(q * count)`, the convention of the run's histograms; `None` without any.
    pub fn quantile(&self, q: f64) -> Option<u32> {
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        self.ascending().find_map(|(value, times)| {
            below += times;
            (below >= rank).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn statistics_are_those_of_the_sorted_values() {
        let mut state = 7u64;
        let mut values: Vec<u32> = (0..5000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as u32 >> (i % 24)
            })
            .collect();
        let (mut all, mut halves) = (Counts::default(), [Counts::default(), Counts::default()]);
        for (i, &value) in values.iter().enumerate() {
            all.add(value);
            halves[i % 2].add(value);
        }
        let [mut merged, other] = halves;
        merged.merge(&other);
        values.sort_unstable();
        assert!(values[4999] > 1 << 16 && values[0] < 1 << 16);
        for counts in [&all, &merged] {
            for q in [0.0, 0.001, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let rank = ((q * 5000.0f64).ceil() as usize).clamp(1, 5000);
                assert_eq!(counts.quantile(q), Some(values[rank - 1]), "{q}");
            }
            assert_eq!((counts.count(), counts.max()), (5000, values.last().copied()));
            assert_eq!(counts.sum(), values.iter().map(|&v| u64::from(v)).sum::<u64>());
        }
        let none = Counts::default();
        assert_eq!((none.quantile(0.5), none.max(), none.mean()), (None, None, None));
    }
}
