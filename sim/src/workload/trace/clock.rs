//! From a trace's time to the run's: origin, window, rate scale, jitter.

use rand::RngExt;
use tokentide_models::units::{PS_PER_S, Time};

use crate::scenario::TraceConfig;
use crate::stream::{Purpose, Stream};
use tokentide_traces::{Fault, FaultKind};

/// From the trace's time to the run's.
#[derive(Clone, Copy, Debug)]
pub struct TraceClock {
    seed: u64,
    /// First row [ps in the trace's time].
    pub first: i128,
    /// Window after the first row [ps].
    start: i128,
    end: i128,
    rate_scale: f64,
    /// Longest offset [ps in the trace's time]; 0 is none.
    pub jitter: u64,
}

impl TraceClock {
    /// The clock of a trace whose first row is at zero, until `first` is set.
    pub fn new(config: &TraceConfig, seed: u64) -> Result<TraceClock, Fault> {
        let bad = |expected: &str| Fault::new(FaultKind::BadSetting, expected);
        if !(config.rate_scale.is_finite() && config.rate_scale > 0.0) {
            return Err(bad("rate_scale is a number above 0").text(&config.rate_scale.to_string()));
        }
        let (start, end) = config.window.unwrap_or((0.0, f64::INFINITY));
        if !(start >= 0.0 && end > start) {
            return Err(bad("a window is [start, end) with 0 <= start < end").text(&format!("[{start}, {end})")));
        }
        let ps = |seconds: f64| (seconds * PS_PER_S as f64).round() as i128;
        let jitter = config.jitter.map_or(0, |j| j.0);
        Ok(TraceClock { seed, first: 0, start: ps(start), end: ps(end), rate_scale: config.rate_scale, jitter })
    }

    /// Whether a row is to be replayed.
    pub fn in_window(&self, arrival_ps: i128) -> bool {
        (self.start..self.end).contains(&(arrival_ps - self.first))
    }

    /// Whether neither this row nor any later one is to be replayed.
    pub fn past_window(&self, arrival_ps: i128) -> bool {
        arrival_ps - self.first >= self.end
    }

    /// Where in its tick row `index` lies [ps].
    pub fn offset(&self, index: u64) -> u64 {
        match self.jitter {
            0 => 0,
            jitter => Stream::new(self.seed, Purpose::Trace, 0, index).random_range(0..jitter),
        }
    }

    /// Time of a row `offset` [ps] after its stamp. A trace spans at most 208 days, but a low `rate_scale` may stretch it beyond
    /// all time.
    pub fn time(&self, arrival_ps: i128, offset: u64) -> Time {
        let ps = arrival_ps - self.first - self.start + i128::from(offset);
        if self.rate_scale == 1.0 {
            Time(u64::try_from(ps).unwrap_or(u64::MAX))
        } else {
            Time((ps as f64 / self.rate_scale).round() as u64)
        }
    }
}
