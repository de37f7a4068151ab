//! The rate curve as a clock: how long until the integral of the rate has grown by a given amount.
//!
//! The position is an integer number of picoseconds and each step solves for the way ahead only, so nothing is lost to large sums
//! however long a run is; the rounding to a picosecond is unbiased and below 1e-9 of a gap up to 1000 arrivals per second.

use std::f64::consts::{PI, TAU};

use tokentide_models::units::{Duration, PS_PER_S, Time};

use crate::scenario::Rate;

/// A position on a rate curve.
#[derive(Clone, Debug)]
pub struct Clock {
    now: u64,
    curve: Curve,
}

#[derive(Clone, Debug)]
enum Curve {
    /// Picoseconds per arrival.
    Constant(f64),
    Pieces(Pieces),
    Sine(Sine),
    /// No arrival ever again.
    Over,
}

impl Clock {
    /// The clock of `rate` at time zero.
    pub fn new(rate: &Rate) -> Clock {
        let curve = match rate {
            Rate::Constant(rate) if *rate > 0.0 => Curve::Constant(PS_PER_S as f64 / rate),
            Rate::Constant(_) => Curve::Over,
            Rate::Piecewise { points, period } => Curve::Pieces(Pieces::piecewise(points, *period)),
            Rate::Diurnal { base, amplitude, period, phase } if *base > 0.0 && period.0 > 0 => {
                Curve::Sine(Sine { base: *base, amplitude: amplitude.clamp(0.0, 1.0), period: period.0, phase: *phase })
            }
            Rate::Diurnal { .. } => Curve::Over,
            Rate::Bursts { base, peak, every, length } => Curve::Pieces(Pieces::bursts(*base, *peak, *every, *length)),
        };
        Clock { now: 0, curve }
    }

    /// Moves on until the integral of the rate has grown by `arrivals` (at least 0) and gives the time; `None` if it never does.
    pub fn advance(&mut self, arrivals: f64) -> Option<Time> {
        let next = match &mut self.curve {
            Curve::Constant(ps) => later(self.now, arrivals * *ps),
            Curve::Pieces(pieces) => pieces.advance(self.now, arrivals),
            Curve::Sine(sine) => later(self.now, sine.solve(self.now, arrivals) * PS_PER_S as f64),
            Curve::Over => None,
        };
        match next {
            Some(next) => {
                self.now = next;
                Some(Time(next))
            }
            None => {
                self.curve = Curve::Over;
                None
            }
        }
    }
}

/// `ps` after `now`, rounded; `None` beyond the range of [`Time`].
fn later(now: u64, ps: f64) -> Option<u64> {
    // 2^63 as a float: far beyond any run, and exact to compare with.
    if !(0.0..9.2e18).contains(&ps) {
        return None;
    }
    now.checked_add(ps.round() as u64).filter(|&t| t < u64::MAX)
}

/// Linear pieces, of which the last ones may repeat.
#[derive(Clone, Debug)]
struct Pieces {
    pieces: Vec<Piece>,
    /// Where the cycle begins; `pieces.len()` if nothing repeats: then the last piece has no end.
    cycle: usize,
    /// Arrivals and picoseconds of a whole cycle.
    cycle_arrivals: f64,
    cycle_length: u64,
    at: usize,
    /// When piece `at` began.
    start: u64,
}

/// A stretch of time with a linear rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// [ps]
    length: u64,
    /// At its start [1/s].
    rate: f64,
    /// [1/s^2]
    slope: f64,
}

impl Piece {
    fn line(length: u64, from: f64, to: f64) -> Piece {
        Piece { length, rate: from, slope: if length == 0 { 0.0 } else { (to - from) / seconds(length) } }
    }

    /// Arrivals between two offsets [s] in the piece.
    fn arrivals(&self, from: f64, to: f64) -> f64 {
        (to - from) * (self.rate + 0.5 * self.slope * (from + to)).max(0.0)
    }

    /// Seconds after offset `from` [s] at which `arrivals` have come.
    fn solve(&self, from: f64, arrivals: f64) -> f64 {
        let rate = (self.rate + self.slope * from).max(0.0);
        // Of r d + s d^2 / 2 = a, the root in the form that does not cancel.
        let root = (rate * rate + 2.0 * self.slope * arrivals).max(0.0).sqrt();
        if arrivals <= 0.0 { 0.0 } else { 2.0 * arrivals / (rate + root) }
    }
}

impl Pieces {
    /// Points beyond the period are cut off; before the first point and after the last one the rate is theirs.
    fn piecewise(points: &[(Time, f64)], period: Option<Time>) -> Pieces {
        let end = period.map_or(u64::MAX, |p| p.0);
        let mut pieces = Vec::with_capacity(points.len() + 1);
        let (mut time, mut rate) = (0, points.first().map_or(0.0, |p| p.1));
        for &(Time(next), next_rate) in points {
            if next > end {
                let share = (end - time) as f64 / (next - time) as f64;
                pieces.push(Piece::line(end - time, rate, rate + share * (next_rate - rate)));
                time = end;
                break;
            }
            pieces.push(Piece::line(next - time, rate, next_rate));
            (time, rate) = (next, next_rate);
        }
        if time < end {
            pieces.push(Piece::line(end - time, rate, rate));
        }
        let cycle = if period.is_some_and(|p| p.0 > 0) { 0 } else { pieces.len() };
        Pieces::new(pieces, cycle)
    }

    fn bursts(base: f64, peak: f64, every: Time, length: Time) -> Pieces {
        let (every, length) = (every.0, length.0.min(every.0));
        let (first, burst, calm) =
            (Piece::line(every, base, base), Piece::line(length, peak, peak), Piece::line(every - length, base, base));
        match every {
            0 => Pieces::new(vec![Piece::line(u64::MAX, base, base)], 1),
            _ => Pieces::new(vec![first, burst, calm], 1),
        }
    }

    fn new(pieces: Vec<Piece>, cycle: usize) -> Pieces {
        let repeated = pieces.get(cycle..).unwrap_or(&[]);
        let cycle_arrivals = repeated.iter().map(|p| p.arrivals(0.0, seconds(p.length))).sum();
        let cycle_length = repeated.iter().map(|p| p.length).sum();
        Pieces { cycle, cycle_arrivals, cycle_length, pieces, at: 0, start: 0 }
    }

    fn advance(&mut self, mut now: u64, mut arrivals: f64) -> Option<u64> {
        loop {
            let piece = *self.pieces.get(self.at)?;
            let from = seconds(now - self.start);
            let left = piece.arrivals(from, seconds(piece.length));
            if arrivals <= left {
                // Rounding must not carry the time over the piece's end.
                let next = later(now, piece.solve(from, arrivals) * PS_PER_S as f64)?;
                return Some(next.min(self.start + piece.length)).filter(|&t| t < u64::MAX);
            }
            arrivals -= left;
            self.start = self.start.checked_add(piece.length)?;
            now = self.start;
            self.at += 1;
            if self.at == self.pieces.len() && self.cycle < self.pieces.len() {
                self.at = self.cycle;
                now = self.skip_cycles(&mut arrivals)?;
            }
        }
    }

    /// Whole cycles at once, so that a long gap costs no more than a short one. At the start of a cycle; gives the start of the one
    /// that `arrivals` end in.
    fn skip_cycles(&mut self, arrivals: &mut f64) -> Option<u64> {
        if self.cycle_arrivals <= 0.0 || self.cycle_length == 0 {
            return None;
        }
        let cycles = (*arrivals / self.cycle_arrivals).floor();
        if cycles >= 1.0 {
            *arrivals = (*arrivals - cycles * self.cycle_arrivals).max(0.0);
            self.start = later(self.start, cycles * self.cycle_length as f64).map(|_| self.start)?;
            self.start = self.start.checked_add((cycles as u64).checked_mul(self.cycle_length)?)?;
        }
        Some(self.start)
    }
}

/// `base * (1 + amplitude * sin(2 pi (t / period + phase)))` [1/s].
#[derive(Clone, Debug)]
struct Sine {
    base: f64,
    amplitude: f64,
    /// [ps]
    period: u64,
    phase: f64,
}

impl Sine {
    /// Seconds after `now` [ps] in which `arrivals` come: Newton's method, kept inside a bracket that bisection shrinks.
    fn solve(&self, now: u64, arrivals: f64) -> f64 {
        if arrivals <= 0.0 {
            return 0.0;
        }
        let period = seconds(self.period);
        let angle = TAU * (seconds(now % self.period) / period + self.phase);
        let swing = self.amplitude * period / TAU;
        // cos(a) - cos(a + d) = 2 sin(a + d/2) sin(d/2), which does not cancel for small d.
        let grown = |d: f64| {
            let half = PI * d / period;
            self.base * (d + swing * 2.0 * (angle + half).sin() * half.sin()) - arrivals
        };
        let mean = arrivals / self.base;
        let mut low = (mean - 2.0 * swing).max(mean / (1.0 + self.amplitude));
        let mut high = (mean + 2.0 * swing).min(mean / (1.0 - self.amplitude));
        // The rate now is the best guess for a short gap.
        let mut d = (mean / (1.0 + self.amplitude * angle.sin())).clamp(low, high);
        // Bisection alone needs 53 halvings; Newton takes about four steps.
        for _ in 0..80 {
            let excess = grown(d);
            match excess > 0.0 {
                true => high = d,
                false => low = d,
            }
            let rate = self.base * (1.0 + self.amplitude * (angle + TAU * d / period).sin());
            let newton = d - excess / rate;
            // A picosecond is what a time can tell apart.
            if (newton - d).abs() < 1e-12 || high - low < 1e-12 {
                return newton.clamp(low, high);
            }
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            d = next;
        }
        d
    }
}

fn seconds(ps: u64) -> f64 {
    Duration(ps).as_secs_f64()
}
