//! Counts of whole numbers, exactly.

use std::collections::BTreeMap;

use serde::Serialize;

/// Below this a number has a counter of its own, once there are so many different ones that looking them up costs more.
const DENSE: usize = 1 << 15;
const SPARSE: usize = 512;

/// How often each number came. Memory grows with the number of different ones only.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    dense: Vec<u64>,
    sparse: BTreeMap<u32, u64>,
    rows: u64,
    sum: u64,
}

/// A distribution of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Mean.
    pub mean: f64,
    /// Nearest-rank quantiles.
    pub p1: u32,
    /// See `p1`.
    pub p5: u32,
    /// See `p1`.
    pub p25: u32,
    /// See `p1`.
    pub p50: u32,
    /// See `p1`.
    pub p75: u32,
    /// See `p1`.
    pub p90: u32,
    /// See `p1`.
    pub p95: u32,
    /// See `p1`.
    pub p99: u32,
    /// Largest.
    pub max: u32,
    /// Sum.
    pub total: u64,
}

impl Counts {
    /// Counts a number.
    pub fn add(&mut self, value: u32) {
        self.rows += 1;
        self.sum += u64::from(value);
        match self.dense.get_mut(value as usize) {
            Some(count) => *count += 1,
            None => {
                *self.sparse.entry(value).or_default() += 1;
                if self.dense.is_empty() && self.sparse.len() > SPARSE {
                    self.spread();
                }
            }
        }
    }

    /// Gives small numbers counters of their own.
    fn spread(&mut self) {
        let large = self.sparse.split_off(&(DENSE as u32));
        let small = std::mem::replace(&mut self.sparse, large);
        self.dense = vec![0; DENSE];
        small.into_iter().for_each(|(value, count)| self.dense[value as usize] = count);
    }

    /// Counts all that `other` has counted.
    pub fn merge(&mut self, other: &Counts) {
        if self.dense.is_empty() {
            self.spread();
        }
        for (value, count) in other.iter() {
            match self.dense.get_mut(value as usize) {
                Some(own) => *own += count,
                None => *self.sparse.entry(value).or_default() += count,
            }
        }
        self.rows += other.rows;
        self.sum += other.sum;
    }

    /// How many numbers.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Numbers and how often they came, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let dense = self.dense.iter().enumerate().filter(|(_, count)| **count > 0).map(|(value, count)| (value as u32, *count));
        dense.chain(self.sparse.iter().map(|(value, count)| (*value, *count)))
    }

    /// The nearest-rank quantiles of `shares`, which ascend; zeros of nothing.
    pub fn quantiles_at<const N: usize>(&self, shares: [f64; N]) -> [u32; N] {
        let mut out = [0; N];
        let mut next = 0;
        let mut below = 0;
        for (value, count) in self.iter() {
            below += count;
            while next < N && below as f64 >= (shares[next] * self.rows as f64).ceil().max(1.0) {
                out[next] = value;
                next += 1;
            }
        }
        out
    }

    /// The distribution.
    pub fn quantiles(&self) -> Quantiles {
        let [p1, p5, p25, p50, p75, p90, p95, p99, max] = self.quantiles_at([0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0]);
        let mean = if self.rows == 0 { 0.0 } else { self.sum as f64 / self.rows as f64 };
        Quantiles { mean, p1, p5, p25, p50, p75, p90, p95, p99, max, total: self.sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorting and taking the rank.
    #[test]
    fn quantiles_are_those_of_the_sorted_numbers() {
        let numbers: Vec<u32> = (0..5000u64).map(|i| (tokentide_models::hash::mix(i) % 90_000) as u32).collect();
        let mut counts = Counts::default();
        numbers.iter().for_each(|n| counts.add(*n));
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let shares = [0.0, 0.001, 0.01, 0.25, 0.5, 0.999, 1.0];
        let want = shares.map(|share: f64| sorted[((share * 5000.0).ceil() as usize).max(1) - 1]);
        assert_eq!(counts.quantiles_at(shares), want);
        assert_eq!(counts.sum(), numbers.iter().map(|n| u64::from(*n)).sum::<u64>());
        assert_eq!(Counts::default().quantiles(), Quantiles::default());
    }
}
