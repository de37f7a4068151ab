//! Mergeable histograms of bounded relative error.

/// log2 of the sub-buckets per octave.
const SUB_BITS: u32 = 7;
/// Buckets of width 1 before octaves begin.
const LINEAR: u64 = 1 << (SUB_BITS + 1);

/// A log-linear histogram of integers, in units of `2^unit_bits`: one bucket per unit below 256 units, then 128 buckets per octave.
/// A quantile is the middle of its bucket, so it is within half a bucket, 1/256 < 0.4 % or half a unit, of an observed value. Sum
/// and maximum are exact. Counts are integers: merging is exact and order does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    unit_bits: u32,
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    /// For times [ps], in units of 2^17 ps = 0.13 us.
    pub fn of_times() -> Histogram {
        Histogram { unit_bits: 17, ..Histogram::default() }
    }

    /// For counts, in units of 1.
    pub fn of_counts() -> Histogram {
        Histogram::default()
    }

    /// Adds `value`.
    pub fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Adds `value` `times` times.
    pub fn add_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let index = index_of(value >> self.unit_bits);
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += times;
        self.count += times;
        self.sum += u128::from(value) * u128::from(times);
        self.max = self.max.max(value);
    }

    /// Adds `times` of each of `steps` values `first, first + slope, ...`: bucket by bucket, not value by value.
    pub fn add_progression(&mut self, first: u64, slope: u64, steps: u64, times: u64) {
        if slope == 0 || steps == 1 {
            self.add_many(first, times * steps);
            return;
        }
        let last = first + slope * (steps - 1);
        let top = index_of(last >> self.unit_bits);
        if top >= self.counts.len() {
            self.counts.resize(top + 1, 0);
        }
        let mut done = 0;
        while done < steps {
            let index = index_of((first + slope * done) >> self.unit_bits);
            // Values up to, not including, this one share the bucket.
            let bound = lower(index + 1) << self.unit_bits;
            let upto = if index == top { steps } else { (bound - first).div_ceil(slope) };
            self.counts[index] += times * (upto - done);
            done = upto;
        }
        let (k, a, b) = (u128::from(steps), u128::from(first), u128::from(slope));
        self.count += times * steps;
        self.sum += (k * a + b * (k * (k - 1) / 2)) * u128::from(times);
        self.max = self.max.max(last);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Observations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Exact mean; `None` without observations.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Exact maximum; `None` without observations.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Exact sum.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The cumulative distribution: ascending values, each with the share of observations up to it. At most some `points` of them,
    /// and as many again in the last hundredth, which is what percentiles of latencies are about; the last is the maximum.
    pub fn curve(&self, points: u32) -> Vec<(f64, f64)> {
        let step = 1.0 / f64::from(points);
        let (mut curve, mut seen, mut told) = (Vec::new(), 0, f64::NEG_INFINITY);
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            seen += count;
            let share = seen as f64 / self.count as f64;
            let wanted = if share > 0.99 { step / 100.0 } else { step };
            if share - told >= wanted || seen == self.count {
                curve.push((self.middle(index), share));
                told = share;
            }
        }
        if let Some(last) = curve.last_mut() {
            last.0 = self.max as f64;
        }
        curve
    }

    /// The value that stands for a bucket.
    fn middle(&self, index: usize) -> f64 {
        let (low, high) = (lower(index), lower(index + 1));
        let exact = high - low == 1 && self.unit_bits == 0;
        let middle = if exact { low as f64 } else { (low as f64 + high as f64) / 2.0 * (1u64 << self.unit_bits) as f64 };
        middle.min(self.max as f64)
    }

    /// The value of rank `ceil(q * count)` (nearest rank), to half a bucket; never above the maximum.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.quantile_of(q, self.count)
    }

    /// The same among `total` observations, of which those beyond `count` are infinite: `None` if the rank lies there.
    pub fn quantile_of(&self, q: f64, total: u64) -> Option<f64> {
        let rank = ((q * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(self.middle(index));
            }
        }
        None
    }
}

fn index_of(value: u64) -> usize {
    if value < LINEAR {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    ((u64::from(shift) << SUB_BITS) + (value >> shift)) as usize
}

/// The smallest value of bucket `index`.
fn lower(index: usize) -> u64 {
    let index = index as u64;
    if index < LINEAR {
        return index;
    }
    let shift = (index >> SUB_BITS) - 1;
    (index - (shift << SUB_BITS)).checked_shl(shift as u32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::mix;

    #[test]
    fn buckets_tile_the_integers() {
        for index in 0..6000 {
            assert_eq!(index_of(lower(index)), index);
            assert_eq!(index_of(lower(index + 1) - 1), index);
        }
    }

    #[test]
    fn quantiles_are_within_the_stated_error() {
        let mut values: Vec<u64> = (0..5000).map(|i| mix(i) >> (20 + mix(i + 9) % 40)).collect();
        let mut histogram = Histogram::of_counts();
        values.iter().for_each(|&v| histogram.add(v));
        values.sort_unstable();
        for q in [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let exact = values[((q * 5000.0_f64).ceil() as usize).max(1) - 1] as f64;
            let got = histogram.quantile(q).unwrap();
            assert!((got - exact).abs() <= exact * 0.004, "q {q}: {got} against {exact}");
        }
        let sum: u128 = values.iter().map(|&v| u128::from(v)).sum();
        assert_eq!(histogram.sum(), sum);
    }

    #[test]
    fn a_progression_is_its_values() {
        for case in 0..500u64 {
            let (first, slope, steps) = (mix(case) % 10_000_000_000, mix(case + 1) % 90_000_000, 1 + mix(case + 2) % 300);
            let (mut fast, mut slow) = (Histogram::of_times(), Histogram::of_times());
            fast.add_progression(first, slope, steps, 3);
            (0..steps).for_each(|k| slow.add_many(first + slope * k, 3));
            assert_eq!(fast, slow, "{first} {slope} {steps}");
        }
    }

    #[test]
    fn merging_is_adding() {
        let (mut a, mut b, mut all) = (Histogram::default(), Histogram::default(), Histogram::default());
        for i in 0..1000u64 {
            let v = mix(i) >> 30;
            if i % 3 == 0 { &mut a } else { &mut b }.add(v);
            all.add(v);
        }
        a.merge(&b);
        assert_eq!(a, all);
    }

    #[test]
    fn a_curve_is_the_quantiles() {
        let mut histogram = Histogram::of_times();
        for i in 1..=10_000u64 {
            histogram.add(i * i * 1_000_000);
        }
        let curve = histogram.curve(100);
        assert!(curve.len() > 80 && curve.len() <= 202, "{}", curve.len());
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        assert_eq!(curve.last(), Some(&(1e14, 1.0)));
        for (value, share) in &curve[..curve.len() - 1] {
            // A share is rounded: just below it is the same rank.
            assert_eq!(histogram.quantile(share - 1e-9), Some(*value));
        }
        assert!(Histogram::of_times().curve(100).is_empty());
    }
}
