//! A rate curve window by window: what following it would save against staying at its peak.

use rayon::prelude::*;
use serde::Serialize;
use tokentide_models::units::Time;

use super::arrivals::ArrivalCounts;
use super::option::Settings;
use super::size::Bench;
use crate::run::RunError;
use crate::scenario::Scenario;
use crate::workload::trace::TraceRow;

/// The windows of a scenario's span.
#[derive(Clone, Debug, Serialize)]
pub struct Day {
    /// Length of a window [s].
    pub window_s: f64,
    /// In order of time.
    pub windows: Vec<Window>,
    /// Most replicas of any window; `None` if one has no answer.
    pub peak_replicas: Option<u32>,
    /// When that is: the start of the first such window [s].
    pub peak_start_s: Option<f64>,
    /// Replica-hours of the span at the peak's count.
    pub replica_hours_at_peak: Option<f64>,
    /// Replica-hours of the span with each window's own count, as if replicas came and went at once.
    pub replica_hours_following: Option<f64>,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Start [s].
    pub start_s: f64,
    /// End [s].
    pub end_s: f64,
    /// Requests of the first seed.
    pub requests: u64,
    /// Least replicas that meet every target; 0 without requests.
    pub replicas: Option<u32>,
    /// One replica fewer is known to miss one.
    pub sure: bool,
}

/// Sizes each window of `length` of the scenario's span. Load left over from the window before is not seen, but what comes in a
/// warm-up before the window is.
///
/// # Errors
/// If the trace cannot be read.
pub fn day(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    settings: &Settings,
    counts: &ArrivalCounts,
    length: Time,
) -> Result<Day, RunError> {
    let end = scenario.horizon.duration.unwrap_or(length);
    let starts: Vec<u64> = (0..end.0).step_by(length.0.max(1) as usize).collect();
    let window = |start: &u64| -> Result<Window, RunError> {
        let (from, to) = (Time(*start), Time(end.0.min(start.saturating_add(length.0))));
        let part = scenario.with_window(from, to);
        let known = counts.of(&part, rows, part.seed)?;
        let requests = known.as_ref().map_or(0, |counts| counts.iter().sum());
        let (replicas, sure) = match known.is_some() && requests == 0 {
            true => (Some(0), true),
            false => {
                let sizing = Bench::new(&part, rows, settings, counts).size()?;
                (sizing.replicas, sizing.sure)
            }
        };
        Ok(Window { start_s: from.as_secs_f64(), end_s: to.as_secs_f64(), requests, replicas, sure })
    };
    let windows: Vec<Window> = starts.par_iter().map(window).collect::<Result<_, _>>()?;
    let all: Option<Vec<u32>> = windows.iter().map(|w| w.replicas).collect();
    let peak = all.as_ref().and_then(|all| all.iter().copied().max());
    let hours = |w: &Window| (w.end_s - w.start_s) / 3600.0;
    let following = all.map(|all| all.iter().zip(&windows).map(|(n, w)| f64::from(*n) * hours(w)).sum());
    Ok(Day {
        window_s: length.as_secs_f64(),
        peak_replicas: peak,
        peak_start_s: windows.iter().find(|w| w.replicas.is_some() && w.replicas == peak).map(|w| w.start_s),
        replica_hours_at_peak: peak.map(|peak| f64::from(peak) * windows.iter().map(hours).sum::<f64>()),
        replica_hours_following: following,
        windows,
    })
}
