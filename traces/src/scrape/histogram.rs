//! A histogram's counts as a distribution.

use crate::fit::Table;

/// A first bucket from zero is taken to begin at so much of its bound.
const FIRST: f64 = 0.1;
/// Points within a bucket, at most, and how far they are apart in logarithms.
const PIECES: usize = 4;
const PIECE: f64 = 0.25;
/// Longest sequence that makes sense [tokens].
const LONGEST: f64 = 1e9;
/// Steepest tilt within buckets that is tried.
const TILT_MAX: f64 = 60.0;
/// Between two buckets that do not touch [probability].
const JUMP: f64 = 2e-6;

/// What was counted, by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, inclusive, ascending; the last one is infinite.
    pub bounds: Vec<f64>,
    /// Values in each bucket.
    pub counts: Vec<f64>,
    /// Sum of all values.
    pub sum: f64,
}

/// A distribution of whole numbers of tokens that has the histogram's counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Points of its inverse, to be interpolated in logarithms.
    pub table: Table,
    /// Whether it has the histogram's mean: one outside of what the buckets allow cannot be met.
    pub mean_met: bool,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1.0;
        self.sum += value;
    }

    /// Values.
    pub fn count(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count()
    }

    /// Share of the values that are at most `bound`, which is one of its bounds.
    pub fn upto(&self, bound: f64) -> Option<f64> {
        let place = self.bounds.iter().position(|b| *b == bound)?;
        Some(self.counts[..=place].iter().sum::<f64>() / self.count())
    }

    /// Its values, where they lie in one bucket and their mean is a whole number: then they are likely all the same.
    pub fn only(&self) -> Option<u32> {
        let filled = self.counts.iter().filter(|count| **count > 0.0).count();
        let mean = self.mean();
        (filled == 1 && mean.fract() == 0.0 && (1.0..f64::from(u32::MAX)).contains(&mean)).then_some(mean as u32)
    }

    /// Buckets with counts: (share, smallest and largest whole number in it). What is above the last finite bound goes up to
    /// `most`.
    fn filled(&self, most: u32) -> Vec<(f64, f64, f64)> {
        let total = self.count();
        let below = std::iter::once(0.0).chain(self.bounds.iter().copied());
        let buckets = below.zip(&self.bounds).zip(&self.counts).filter(|(_, count)| **count > 0.0);
        let filled = buckets.map(|((below, bound), count)| {
            let low = if below >= 1.0 { below.floor() + 1.0 } else { (bound * FIRST).floor().max(1.0) };
            let high = if bound.is_finite() { bound.floor() } else { f64::from(most).max(2.0 * below.floor()) };
            let high = high.clamp(1.0, LONGEST);
            (count / total, low.min(high), high)
        });
        filled.collect()
    }

    /// The distribution of tokens. Within a bucket values lie evenly in logarithms, tilted alike in all buckets until the mean is
    /// that of the sum. `most` is the longest that there can be.
    pub fn shape(&self, most: u32) -> Shape {
        let filled = self.filled(most);
        let want = self.mean();
        let (mut low, mut high) = (-TILT_MAX, TILT_MAX);
        let within = mean(&table(&filled, low)) <= want && want <= mean(&table(&filled, high));
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if mean(&table(&filled, middle)) < want { low = middle } else { high = middle }
        }
        Shape { table: table(&filled, 0.5 * (low + high)), mean_met: within }
    }
}

/// The inverse distribution of buckets whose densities go with `x^(tilt - 1)`.
fn table(filled: &[(f64, f64, f64)], tilt: f64) -> Table {
    let mut points: Table = Vec::new();
    let mut from = 0.0;
    for (k, &(share, low, high)) in filled.iter().enumerate() {
        let to = if k + 1 == filled.len() { 1.0 } else { from + share };
        match points.last() {
            None => points.push((0.0, low)),
            // The next whole number.
            Some((_, last)) if low <= last + 1.0 => {}
            Some((p, _)) => points.push(((p + JUMP).min(0.5 * (from + to)), low)),
        }
        let span = (high / low).ln();
        let pieces = ((span / PIECE).ceil() as usize).clamp(1, PIECES);
        for piece in 1..=pieces {
            let q = piece as f64 / pieces as f64;
            // Exact at both ends, and stable for steep tilts.
            let value = if piece == pieces {
                high
            } else if (tilt * span).abs() < 1e-6 {
                low * (span * q).exp()
            } else if tilt > 0.0 {
                high * ((1.0 - (1.0 - q) * -(-tilt * span).exp_m1()).ln() / tilt).exp()
            } else {
                low * ((q * (tilt * span).exp_m1()).ln_1p() / tilt).exp()
            };
            points.push((from + (to - from) * q, value.clamp(low, high)));
        }
        from = to;
    }
    points.dedup_by(|next, last| next.0 <= last.0);
    points
}

/// Mean of a table that is interpolated in logarithms.
pub fn mean(table: &Table) -> f64 {
    let piece = |pair: &[(f64, f64)]| {
        let (a, b) = (pair[0].1, pair[1].1);
        let log = (b / a).ln();
        (pair[1].0 - pair[0].0) * if log.abs() < 1e-9 { a } else { (b - a) / log }
    };
    table.windows(2).map(piece).sum()
}

/// The value at a probability.
pub fn at(table: &Table, p: f64) -> f64 {
    let place = table.partition_point(|point| point.0 < p).clamp(1, table.len() - 1);
    let (a, b) = (table[place - 1], table[place]);
    a.1 * ((b.1 / a.1).ln() * ((p - a.0) / (b.0 - a.0)).clamp(0.0, 1.0)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64], counts: &[f64], mean: f64) -> Histogram {
        let bounds: Vec<f64> = bounds.iter().copied().chain([f64::INFINITY]).collect();
        Histogram { sum: mean * counts.iter().sum::<f64>(), bounds, counts: counts.to_vec() }
    }

    #[test]
    fn counts_and_mean_are_kept() {
        for mean_of in [130.0, 180.0, 260.0] {
            let h = histogram(&[50.0, 100.0, 200.0, 500.0, 1000.0], &[0.0, 20.0, 50.0, 20.0, 10.0, 0.0], mean_of);
            let shape = h.shape(4096);
            let feasible = (51.0 * 0.2 + 101.0 * 0.5 + 201.0 * 0.2 + 501.0 * 0.1) <= mean_of;
            assert_eq!(shape.mean_met, feasible, "{mean_of}");
            assert!(!feasible || (mean(&shape.table) / mean_of - 1.0).abs() < 1e-6);
            for (bound, share) in [(100.0, 0.2), (200.0, 0.7), (500.0, 0.9), (1000.0, 1.0)] {
                assert!((at(&shape.table, share) / bound - 1.0).abs() < 1e-6, "{bound} of {:?}", shape.table);
            }
            assert!(shape.table.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            assert_eq!((shape.table[0].0, shape.table.last().unwrap().0), (0.0, 1.0));
        }
    }

    /// Values of a power law, counted: its quantiles come out again.
    #[test]
    fn the_mean_says_how_values_lie_within_buckets() {
        let values: Vec<f64> = (0..10_000).map(|i| (100.0 * (1.0 - (f64::from(i) + 0.5) / 10_000.0).powf(-0.5)).round()).collect();
        let bounds = [100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0];
        let mut counts = vec![0.0; bounds.len() + 1];
        values.iter().for_each(|v| counts[bounds.partition_point(|b| b < v)] += 1.0);
        let h = histogram(&bounds, &counts, values.iter().sum::<f64>() / 1e4);
        let shape = h.shape(32_768);
        assert!(shape.mean_met);
        for p in [0.1, 0.3, 0.5, 0.8, 0.9, 0.97] {
            let (want, found) = (values[(p * 1e4) as usize], at(&shape.table, p));
            assert!((found / want - 1.0).abs() < 0.06, "{p}: {found} {want}");
        }
    }

    #[test]
    fn buckets_that_do_not_touch_and_values_that_are_alike() {
        let h = histogram(&[1.0, 2.0, 5.0, 1000.0, 2000.0], &[10.0, 0.0, 0.0, 0.0, 10.0, 0.0], 512.5);
        let shape = h.shape(4096);
        assert!(at(&shape.table, 0.49) <= 1.0 && at(&shape.table, 0.51) > 1000.0, "{:?}", shape.table);
        assert_eq!(histogram(&[1000.0, 2000.0], &[0.0, 7.0, 0.0], 1024.0).only(), Some(1024));
        assert_eq!(histogram(&[1000.0, 2000.0], &[0.0, 7.0, 0.0], 1024.5).only(), None);
        assert_eq!(histogram(&[1000.0, 2000.0], &[1.0, 7.0, 0.0], 1024.0).only(), None);
        // Above the last bound: up to what there can be.
        assert_eq!(histogram(&[100.0], &[0.0, 5.0], 150.0).shape(400).table.last(), Some(&(1.0, 400.0)));
    }
}
