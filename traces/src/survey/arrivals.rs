//! How arrivals lie in time.

use serde::Serialize;
use tokentide_models::units::PS_PER_S;

/// Lengths of windows whose counts are compared [s].
const WINDOWS_S: [u64; 3] = [1, 10, 60];
/// Different gaps that are remembered, to find a tick.
const GAPS: usize = 4096;

/// Arrivals, in order.
#[derive(Clone, Debug)]
pub struct ArrivalStats {
    first: Option<i128>,
    last: i128,
    rows: u64,
    /// Gaps: sum and sum of squares [s].
    sum: f64,
    squares: f64,
    equal: u64,
    windows: [Windows; 3],
    /// Lengths of the first gaps that are not zero [ps].
    gaps: Vec<i128>,
}

/// Counts in windows of one length.
#[derive(Clone, Copy, Debug, Default)]
struct Windows {
    /// Which window is being counted, and what is in it.
    current: u64,
    count: u64,
    whole: u64,
    sum: f64,
    squares: f64,
    peak: u64,
}

/// What is said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Arrivals {
    /// From the first to the last [s].
    pub span_s: f64,
    /// (n - 1) / span [1/s].
    pub rate: f64,
    /// Coefficient of variation of the gaps; 1 of a Poisson process.
    pub cv: Option<f64>,
    /// Variance over mean of the counts in windows of 1, 10 and 60 s; 1 of a Poisson process.
    pub dispersion: [Option<f64>; 3],
    /// Highest count in a minute over the mean.
    pub peak_to_mean: Option<f64>,
    /// Of the gaps, how many are zero.
    pub equal_share: f64,
    /// Length of the ticks that the stamps lie on [s], if more than half of the gaps are zero.
    pub tick_s: Option<f64>,
}

impl Default for ArrivalStats {
    fn default() -> ArrivalStats {
        let windows = [Windows::default(); 3];
        ArrivalStats { first: None, last: 0, rows: 0, sum: 0.0, squares: 0.0, equal: 0, windows, gaps: Vec::new() }
    }
}

impl Windows {
    /// Counts an arrival at `ps` after the first.
    fn add(&mut self, window: u64) {
        if window != self.current {
            self.close();
            self.current = window;
        }
        self.count += 1;
    }

    fn close(&mut self) {
        self.sum += self.count as f64;
        self.squares += (self.count as f64).powi(2);
        self.peak = self.peak.max(self.count);
        (self.count, self.whole) = (0, self.current + 1);
    }

    /// Variance over mean of the whole windows, those without arrivals included.
    fn dispersion(&self) -> Option<f64> {
        let n = self.whole as f64;
        let mean = self.sum / n;
        (self.whole >= 2 && mean > 0.0).then(|| (self.squares / n - mean * mean).max(0.0) / mean)
    }
}

impl ArrivalStats {
    /// Counts an arrival [ps], not before the last one.
    pub fn add(&mut self, arrival_ps: i128) {
        let first = *self.first.get_or_insert(arrival_ps);
        if self.rows > 0 {
            let gap = arrival_ps - self.last;
            self.equal += u64::from(gap == 0);
            if gap > 0 && self.gaps.len() < GAPS {
                self.gaps.push(gap);
            }
            let gap = gap as f64 / PS_PER_S as f64;
            self.sum += gap;
            self.squares += gap * gap;
        }
        self.rows += 1;
        self.last = arrival_ps;
        // 128-bit division is slow: up to 213 days it goes in 64 bits.
        let since = (arrival_ps - first).clamp(0, i128::from(u64::MAX)) as u64;
        let second = since / PS_PER_S;
        for (windows, length) in self.windows.iter_mut().zip(WINDOWS_S) {
            windows.add(second / length);
        }
    }

    /// What is said of them. The window that the last arrival lies in is left out: it is not whole.
    pub fn figures(&self) -> Arrivals {
        let gaps = self.rows.saturating_sub(1) as f64;
        let span_s = self.first.map_or(0.0, |first| (self.last - first) as f64 / PS_PER_S as f64);
        let mean = self.sum / gaps;
        let cv = (gaps >= 2.0 && mean > 0.0).then(|| (self.squares / gaps - mean * mean).max(0.0).sqrt() / mean);
        let minutes = &self.windows[2];
        let peak = (minutes.whole >= 2).then(|| minutes.peak as f64 / (minutes.sum / minutes.whole as f64));
        let equal_share = if gaps > 0.0 { self.equal as f64 / gaps } else { 0.0 };
        Arrivals {
            span_s,
            rate: if span_s > 0.0 { gaps / span_s } else { 0.0 },
            cv,
            dispersion: self.windows.map(|windows| windows.dispersion()),
            peak_to_mean: peak,
            equal_share,
            tick_s: (equal_share > 0.5).then(|| self.tick()).flatten(),
        }
    }

    /// The median of the first gaps that are not zero [s].
    fn tick(&self) -> Option<f64> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let tick = *gaps.get(gaps.len() / 2)? as f64 / PS_PER_S as f64;
        // Stamps jitter around their ticks by milliseconds.
        Some((tick * 100.0).round() / 100.0).filter(|tick| *tick > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispersion_is_that_of_the_counts() {
        let mut stats = ArrivalStats::default();
        // Counts per second 3, 0, 1, 4 and an open last one.
        for ms in [0, 100, 900, 2500, 3000, 3100, 3200, 3300, 4000] {
            stats.add(ms * 1_000_000_000);
        }
        let counts = [3.0, 0.0, 1.0, 4.0];
        let mean = 2.0;
        let variance = counts.iter().map(|c: &f64| (c - mean).powi(2)).sum::<f64>() / 4.0;
        let figures = stats.figures();
        assert!((figures.dispersion[0].unwrap() - variance / mean).abs() < 1e-12);
        assert_eq!((figures.dispersion[1], figures.span_s, figures.rate), (None, 4.0, 2.0));
        assert_eq!((figures.equal_share, figures.tick_s), (0.0, None));
    }

    #[test]
    fn ticks_are_found() {
        let mut stats = ArrivalStats::default();
        for tick in 0..100 {
            for _ in 0..5 {
                stats.add(tick * 3_000_000_000_000 + (tick % 3) * 1_000_000_000);
            }
        }
        let figures = stats.figures();
        assert_eq!(figures.tick_s, Some(3.0));
        assert!(figures.equal_share > 0.7);
    }
}
