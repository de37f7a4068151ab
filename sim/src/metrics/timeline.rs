//! Levels over time, in bins that widen as the run grows: memory stays constant, whatever the length.

use tokentide_models::units::Time;

use crate::engine::Levels;
use crate::report;

/// Bins at most; when they run out, neighbours merge and the width doubles.
const BINS: usize = 512;
/// Width of the first bins [ps]: 0.1 s.
const FIRST_WIDTH: u64 = 100_000_000_000;

/// Sums over one bin. Levels are integrals over time [level x ps].
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    arrivals: u64,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    running: u128,
    waiting: u128,
    waiting_tokens: u128,
    kv_used: u128,
    kv_used_max: u32,
    slo_requests: u64,
    slo_good: u64,
}

impl Bin {
    fn merge(&mut self, other: &Bin) {
        self.arrivals += other.arrivals;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.running += other.running;
        self.waiting += other.waiting;
        self.waiting_tokens += other.waiting_tokens;
        self.kv_used += other.kv_used;
        self.kv_used_max = self.kv_used_max.max(other.kv_used_max);
        self.slo_requests += other.slo_requests;
        self.slo_good += other.slo_good;
    }
}

/// The series of a run, summed over replicas.
#[derive(Clone, Debug)]
pub struct Timeline {
    width: u64,
    bins: Vec<Bin>,
    /// The bin of the latest interval.
    current: Current,
}

#[derive(Clone, Copy, Debug, Default)]
struct Current {
    index: usize,
    start: u64,
    end: u64,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { width: FIRST_WIDTH, bins: Vec::new(), current: Current::default() }
    }
}

impl Timeline {
    /// A request arrived, and was to find `cached_tokens` of its prompt in the prefix cache.
    pub fn arrival(&mut self, at: Time, input_tokens: u32, cached_tokens: u32) {
        let bin = self.bin(at.0);
        bin.arrivals += 1;
        bin.input_tokens += u64::from(input_tokens);
        bin.cached_tokens += u64::from(cached_tokens);
    }

    /// A request that arrived then has ended, of a class with targets.
    pub fn judged(&mut self, arrival: Time, good: bool) {
        let bin = self.bin(arrival.0);
        bin.slo_requests += 1;
        bin.slo_good += u64::from(good);
    }

    /// Levels of one replica held from `from` until `to`.
    pub fn levels(&mut self, from: Time, to: Time, levels: &Levels) {
        // Nearly every interval lies in the bin of the one before.
        if from.0 >= self.current.start && to.0 <= self.current.end {
            let dt = u128::from(to.0 - from.0);
            let bin = &mut self.bins[self.current.index];
            bin.output_tokens += levels.tokens;
            bin.running += u128::from(levels.running) * dt;
            bin.waiting += u128::from(levels.waiting) * dt;
            bin.waiting_tokens += u128::from(levels.waiting_tokens) * dt;
            bin.kv_used += (u128::from(levels.kv_used_from) + u128::from(levels.kv_used_to)) * dt / 2;
            bin.kv_used_max = bin.kv_used_max.max(levels.kv_used_to);
            return;
        }
        self.spread(from, to, levels);
    }

    /// An interval that may touch several bins.
    fn spread(&mut self, from: Time, to: Time, levels: &Levels) {
        let (mut at, span) = (from.0, to.0 - from.0);
        self.bin(to.0 - 1);
        let mut tokens = levels.tokens;
        let grown = f64::from(levels.kv_used_to) - f64::from(levels.kv_used_from);
        while at < to.0 {
            let width = self.width;
            let end = ((at / width + 1) * width).min(to.0);
            let dt = u128::from(end - at);
            // Within a leap the cache grows steadily: the middle of the piece stands for it.
            let middle = ((at - from.0) as f64 + (end - at) as f64 / 2.0) / span as f64;
            let used = (f64::from(levels.kv_used_from) + grown * middle).round() as u32;
            let share = if end == to.0 { tokens } else { (levels.tokens as u128 * dt / u128::from(span)) as u64 };
            tokens -= share;
            let bin = &mut self.bins[(at / width) as usize];
            bin.output_tokens += share;
            bin.running += u128::from(levels.running) * dt;
            bin.waiting += u128::from(levels.waiting) * dt;
            bin.waiting_tokens += u128::from(levels.waiting_tokens) * dt;
            bin.kv_used += u128::from(used) * dt;
            bin.kv_used_max = bin.kv_used_max.max(if end == to.0 { levels.kv_used_to } else { used });
            at = end;
        }
        let index = (to.0 - 1) / self.width;
        self.current = Current { index: index as usize, start: index * self.width, end: (index + 1) * self.width };
    }

    fn bin(&mut self, at: u64) -> &mut Bin {
        while at / self.width >= BINS as u64 {
            self.widen();
        }
        let index = (at / self.width) as usize;
        if index >= self.bins.len() {
            self.bins.resize(index + 1, Bin::default());
        }
        &mut self.bins[index]
    }

    fn widen(&mut self) {
        self.width *= 2;
        self.current = Current::default();
        for i in 0..self.bins.len().div_ceil(2) {
            let mut bin = self.bins[2 * i];
            if let Some(other) = self.bins.get(2 * i + 1) {
                bin.merge(other);
            }
            self.bins[i] = bin;
        }
        self.bins.truncate(self.bins.len().div_ceil(2));
    }

    /// The mean number of blocks in use over engine cores that served for `served_ps` picoseconds in all.
    pub fn mean_kv_used(&self, served_ps: u128) -> f64 {
        let total: u128 = self.bins.iter().map(|b| b.kv_used).sum();
        if served_ps == 0 { 0.0 } else { total as f64 / served_ps as f64 }
    }

    /// The bins until `end`: from, to.
    pub fn bins(&self, end: Time) -> Vec<(Time, Time)> {
        let from = |i: u64| i * self.width;
        (0..self.bins.len() as u64).map(|i| (Time(from(i)), Time(end.0.max(from(i) + 1).min(from(i + 1))))).collect()
    }

    /// As printed; the last bin counts as far as the run went. `cores` is the mean number of engine cores in each bin.
    pub fn report(&self, end: Time, cores: &[f64], kv_blocks: u32) -> report::Timeline {
        let level = |index: usize, integral: u128| {
            let from = index as u64 * self.width;
            let span = (end.0.max(from + 1) - from).min(self.width);
            integral as f64 / span as f64
        };
        let column = |of: fn(&Bin) -> u128, scale: f64| -> Vec<f64> {
            self.bins.iter().enumerate().map(|(i, b)| level(i, of(b)) * scale).collect()
        };
        let kv = 1.0 / f64::from(kv_blocks);
        report::Timeline {
            bin_s: self.width as f64 / 1e12,
            arrivals: self.bins.iter().map(|b| b.arrivals).collect(),
            input_tokens: self.bins.iter().map(|b| b.input_tokens).collect(),
            cached_tokens: self.bins.iter().map(|b| b.cached_tokens).collect(),
            output_tokens: self.bins.iter().map(|b| b.output_tokens).collect(),
            running: column(|b| b.running, 1.0),
            waiting_requests: column(|b| b.waiting, 1.0),
            waiting_tokens: column(|b| b.waiting_tokens, 1.0),
            kv_use: column(|b| b.kv_used, kv).iter().zip(cores).map(|(use_, n)| if *n > 0.0 { use_ / n } else { 0.0 }).collect(),
            kv_use_max: self.bins.iter().map(|b| f64::from(b.kv_used_max) * kv).collect(),
            slo_requests: self.bins.iter().map(|b| b.slo_requests).collect(),
            slo_good: self.bins.iter().map(|b| b.slo_good).collect(),
        }
    }
}
