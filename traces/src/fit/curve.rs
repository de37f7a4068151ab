//! The rate of a trace as a curve of steps, with as much detail as there is in it and no noise.
//!
//! Counts in equal bins are taken apart by scale (the Haar wavelet: half against half, again and again). What a Poisson process of
//! the smooth rate would show at a scale is noise; the rest of the variance is the rate's own. Details are shrunk so that their
//! variance is the rate's: a Poisson process along the curve then has the dispersion of the trace at every scale, where a curve of
//! the bare counts would count their noise twice.

/// A scale's details count if their variance is above that of noise by so many of its standard deviations.
const SIGNIFICANT: f64 = 3.0;

/// Steps of equal rates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Start [s] and rate [1/s] of each step, from time zero on.
    pub steps: Vec<(f64, f64)>,
    /// Its end [s].
    pub end_s: f64,
}

impl Curve {
    /// The curve of arrivals at `times` [s], ascending from about zero, over `span_s`, of at most `steps_max` steps.
    pub fn fit(times: &[f64], span_s: f64, steps_max: usize) -> Curve {
        // As many bins as a power of two has within the limit, none shorter than half a second.
        let finest = (span_s / 0.5).max(1.0).min(steps_max as f64);
        let levels = finest.log2().floor().max(0.0) as u32;
        let bins = 1usize << levels;
        let width = span_s / bins as f64;
        let mut counts = vec![0.0; bins];
        for time in times {
            counts[((time / width) as usize).min(bins - 1)] += 1.0;
        }
        Curve { end_s: span_s, ..Curve::of_bins(&shrink(&counts), width) }
    }

    /// The curve of counts in intervals (start [s], end [s], count) that follow one another from time zero on.
    pub fn counted(intervals: &[(f64, f64, f64)]) -> Curve {
        let end_s = intervals.last().map_or(0.0, |last| last.1);
        let bins = 1usize << intervals.len().max(1).ilog2();
        let width = end_s / bins as f64;
        let mut counts = vec![0.0; bins];
        for &(start, end, count) in intervals.iter().filter(|interval| interval.1 > interval.0) {
            let bins = ((start / width) as usize).min(bins - 1)..((end / width) as usize + 1).min(bins);
            for (bin, sum) in bins.clone().zip(&mut counts[bins]) {
                let (from, to) = (bin as f64 * width, (bin + 1) as f64 * width);
                *sum += count * (end.min(to) - start.max(from)).max(0.0) / (end - start);
            }
        }
        Curve::of_bins(&shrink(&counts), width)
    }

    /// Steps of equal bins, those that are alike as one.
    fn of_bins(counts: &[f64], width: f64) -> Curve {
        let mut curve = Curve { steps: Vec::new(), end_s: width * counts.len() as f64 };
        for (bin, count) in counts.iter().enumerate() {
            let rate = count / width;
            if curve.steps.last().is_none_or(|(_, last)| (last - rate).abs() > 1e-9 * rate.max(1e-9)) {
                curve.steps.push((bin as f64 * width, rate));
            }
        }
        curve
    }

    /// The curve of some of the arrivals it was fitted to: its rate times their share, where that changes by more than chance.
    pub fn share(&self, all: &[f64], some: &[f64]) -> Curve {
        if all.len() == some.len() {
            return self.clone();
        }
        // As many stretches as have about 400 arrivals each.
        let stretches = (all.len() / 400).clamp(1, 64);
        let bounds: Vec<f64> = (1..stretches).map(|k| all[all.len() * k / stretches]).collect();
        let counts = |times: &[f64]| {
            let mut counts = vec![0.0; stretches];
            times.iter().for_each(|t| counts[bounds.partition_point(|bound| bound <= t)] += 1.0);
            counts
        };
        let (whole, part) = (counts(all), counts(some));
        let mean = some.len() as f64 / all.len() as f64;
        // Variance of the shares beyond that of drawing so many: the part that is their own.
        let seen: f64 = whole.iter().zip(&part).map(|(n, k)| (k - mean * n).powi(2)).sum();
        let noise: f64 = whole.iter().map(|n| n * mean * (1.0 - mean)).sum();
        let chance = SIGNIFICANT * (2.0 / stretches as f64).sqrt();
        let own = if seen > noise * (1.0 + chance) { (1.0 - noise / seen).sqrt() } else { 0.0 };
        let shares: Vec<f64> =
            whole.iter().zip(&part).map(|(n, k)| (mean + own * (k / n.max(1.0) - mean)).clamp(0.0, 1.0)).collect();
        let mut curve = Curve { steps: Vec::new(), end_s: self.end_s };
        let mut starts: Vec<f64> =
            self.steps.iter().map(|step| step.0).chain(if own > 0.0 { bounds.clone() } else { Vec::new() }).collect();
        starts.sort_by(f64::total_cmp);
        starts.dedup();
        for start in starts {
            let share = shares[bounds.partition_point(|bound| *bound <= start)];
            curve.steps.push((start, self.at(start) * share));
        }
        curve
    }

    /// The rate at a time.
    pub fn at(&self, time: f64) -> f64 {
        let place = self.steps.partition_point(|(start, _)| *start <= time);
        self.steps[place.saturating_sub(1)].1
    }

    /// Variance over mean of the counts in a second of a Poisson process along the curve.
    pub fn dispersion(&self) -> f64 {
        let ends = self.steps.iter().skip(1).map(|(start, _)| *start).chain([self.end_s]);
        let mean = self.mean();
        let variance = self.steps.iter().zip(ends).map(|((start, rate), end)| (rate - mean).powi(2) * (end - start)).sum::<f64>();
        if mean > 0.0 { 1.0 + variance / self.end_s / mean } else { 1.0 }
    }

    /// Mean rate [1/s].
    pub fn mean(&self) -> f64 {
        let ends = self.steps.iter().skip(1).map(|(start, _)| *start).chain([self.end_s]);
        self.steps.iter().zip(ends).map(|((start, rate), end)| rate * (end - start)).sum::<f64>() / self.end_s
    }
}

/// Counts without the noise of counting, of a number of bins that is a power of two. Sums are kept.
fn shrink(counts: &[f64]) -> Vec<f64> {
    if counts.len() < 2 {
        return counts.to_vec();
    }
    let pairs: Vec<(f64, f64)> = counts.chunks(2).map(|pair| (pair[0] + pair[1], pair[0] - pair[1])).collect();
    let sums: Vec<f64> = pairs.iter().map(|(sum, _)| *sum).collect();
    // The difference of two Poisson counts has the variance of their sum.
    let (noise, seen) =
        pairs.iter().fold((0.0, 0.0), |(noise, seen), (sum, difference)| (noise + sum, seen + difference * difference));
    // Of n differences the variance is known to sqrt(2 / n).
    let chance = SIGNIFICANT * (2.0 / pairs.len() as f64).sqrt();
    let factor = if seen > noise * (1.0 + chance) { (1.0 - noise / seen).sqrt() } else { 0.0 };
    let smooth = shrink(&sums);
    pairs
        .iter()
        .zip(smooth)
        .flat_map(|((sum, difference), smooth)| {
            // A detail belongs to its own sum: where that was shrunk, it is as well. No rate falls below zero.
            let detail = if *sum > 0.0 { factor * difference / sum } else { 0.0 };
            let detail = detail.clamp(-1.0, 1.0) * smooth;
            [(smooth + detail) / 2.0, (smooth - detail) / 2.0]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, Exp1};

    /// A Poisson process along a rate.
    fn poisson(rate: impl Fn(f64) -> f64, most: f64, span: f64, seed: u64) -> Vec<f64> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut now, mut times) = (0.0, Vec::new());
        loop {
            let gap: f64 = Exp1.sample(&mut rng);
            now += gap / most;
            if now >= span {
                return times;
            }
            if rng.random::<f64>() * most < rate(now) {
                times.push(now);
            }
        }
    }

    fn dispersion(times: &[f64], window: f64, span: f64) -> f64 {
        let mut counts = vec![0.0; (span / window) as usize];
        let n = counts.len();
        times.iter().for_each(|t| counts[((t / window) as usize).min(n - 1)] += 1.0);
        let mean = counts.iter().sum::<f64>() / n as f64;
        counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n as f64 / mean
    }

    #[test]
    fn a_steady_rate_stays_steady() {
        let curve = Curve::fit(&poisson(|_| 5.0, 5.0, 4000.0, 1), 4000.0, 2048);
        assert!((curve.mean() - 5.0).abs() < 0.15);
        let spread = curve.steps.iter().map(|(_, rate)| (rate - 5.0).abs()).fold(0.0, f64::max);
        assert!(spread < 1.0, "{spread}");
        // Counts that say nothing make no steps.
        assert!(curve.steps.len() < 20, "{}", curve.steps.len());
    }

    #[test]
    fn a_process_along_the_curve_has_the_dispersion_of_the_trace() {
        // Slow swing, and bursts of eight seconds.
        let rate = |t: f64| (6.0 + 4.0 * (t / 700.0).sin()) * if ((t / 8.0) as u64).is_multiple_of(5) { 3.0 } else { 0.5 };
        let span = 8192.0;
        let trace = poisson(rate, 30.0, span, 2);
        let curve = Curve::fit(&trace, span, 4096);
        let again = poisson(|t| curve.at(t), 60.0, span, 3);
        assert!((again.len() as f64 / trace.len() as f64 - 1.0).abs() < 0.03);
        for window in [2.0, 10.0, 60.0] {
            let (want, found) = (dispersion(&trace, window, span), dispersion(&again, window, span));
            assert!((found / want - 1.0).abs() < 0.15, "{window}: {found} {want}");
        }
    }
}
