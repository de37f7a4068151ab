//! Integer units: simulated time in picoseconds.
//!
//! Why integers: stepping a batch `k` times and leaping over `k` iterations at once must agree by arithmetic, not by
//! tolerance, and the closed form of a leap (an arithmetic series) only holds when nothing is rounded on the way.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};

/// Picoseconds in one second.
pub const PS_PER_S: u64 = 1_000_000_000_000;

/// Simulated time since the start of a run [ps]. 2^64 ps are 213 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A span of simulated time [ps].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub u64);

impl Time {
    /// The start of a run.
    pub const ZERO: Time = Time(0);
    /// Later than any event.
    pub const NEVER: Time = Time(u64::MAX);

    /// `seconds` after the start, rounded to the nearest picosecond; negative and NaN become zero, huge values saturate.
    pub fn from_secs_f64(seconds: f64) -> Time {
        Time(Duration::from_secs_f64(seconds).0)
    }

    /// Seconds since the start.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / PS_PER_S as f64
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);

    /// Rounded to the nearest picosecond; negative and NaN become zero, huge values saturate.
    pub fn from_secs_f64(seconds: f64) -> Duration {
        Duration((seconds * PS_PER_S as f64).round() as u64)
    }

    /// Milliseconds, rounded to the nearest picosecond.
    pub fn from_millis_f64(milliseconds: f64) -> Duration {
        Duration::from_secs_f64(milliseconds * 1e-3)
    }

    /// Microseconds, rounded to the nearest picosecond.
    pub fn from_micros_f64(microseconds: f64) -> Duration {
        Duration::from_secs_f64(microseconds * 1e-6)
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / PS_PER_S as f64
    }

    /// In milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::NEVER`], so that "never plus a bit" stays never.
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Time> for Time {
    type Output = Duration;
    /// Panics if `rhs` is later: a negative span is a bug, never a value.
    fn sub(self, rhs: Time) -> Duration {
        Duration(self.0.checked_sub(rhs.0).expect("time went backwards"))
    }
}

impl Add for Duration {
    type Output = Duration;
    fn add(self, rhs: Duration) -> Duration {
        Duration(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Mul<u64> for Duration {
    type Output = Duration;
    fn mul(self, rhs: u64) -> Duration {
        Duration(self.0.checked_mul(rhs).expect("a span over 213 days"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.as_secs_f64();
        match s {
            _ if s >= 1.0 => write!(f, "{s:.3} s"),
            _ if s >= 1e-3 => write!(f, "{:.3} ms", s * 1e3),
            _ => write!(f, "{:.1} us", s * 1e6),
        }
    }
}
