//! A scenario with something changed, without typing it anew: replicas, load, speed, time of day, who is served.
//!
//! None of these changes a draw: random streams belong to (seed, purpose, class, request), so two scenarios made from one see the
//! same requests wherever both have them.

use tokentide_models::units::{Duration, Time};

use super::{Arrivals, Class, ClusterConfig, Distribution, Horizon, Rate, Scenario, Serves, Session, Slo, SloTarget, TraceConfig};

/// Whole cycles of a rate are unrolled up to this many; beyond it, they repeat.
const CYCLES_MAX: u64 = 10_000;

impl Scenario {
    /// The same workload on `n` replicas.
    pub fn with_replicas(&self, n: u32) -> Scenario {
        Scenario { cluster: ClusterConfig { replicas: n, ..self.cluster.clone() }, ..self.clone() }
    }

    /// The same workload on replicas that stay, without the scenario's autoscaler, failures and schedule: how many are needed is
    /// one question, and what changes them another. Whether there was anything to leave out is told.
    pub fn with_replicas_that_stay(&self) -> (Scenario, bool) {
        let fixed = ClusterConfig { dynamics: None, ..self.cluster.clone() };
        let mut scenario = Scenario { cluster: fixed, ..self.clone() };
        let left_out = self.cluster.dynamics.is_some();
        if left_out {
            scenario.notes.retain(|note| !note.contains("cluster.startup"));
        }
        (scenario, left_out)
    }

    /// `factor` times the load: request rates of open loops, clients of closed ones (rounded, at least one), and the rate scale of
    /// a trace. The requests stay what they were; they come faster.
    pub fn with_load(&self, factor: f64) -> Scenario {
        let load = |arrivals: &Arrivals| match arrivals {
            Arrivals::Open { gaps, rate } => Arrivals::Open { gaps: *gaps, rate: scaled_rate(rate, factor) },
            Arrivals::Closed { concurrency, think } => {
                let clients = (f64::from(*concurrency) * factor).round().clamp(1.0, f64::from(u32::MAX));
                Arrivals::Closed { concurrency: clients as u32, think: think.clone() }
            }
        };
        let class = |class: &Class| Class { arrivals: class.arrivals.as_ref().map(load), ..class.clone() };
        Scenario { classes: self.classes.iter().map(class).collect(), trace: self.faster_trace(factor), ..self.clone() }
    }

    /// As if every step took `factor` times as long, and the front end's host time with it: the cost curve as a whole may be off,
    /// and the host's terms are part of it.
    ///
    /// Multiplying durations would round them, and leaps need exact sums. So time is dilated instead: a server that is `factor`
    /// times slower is the same server in a world that runs `factor` times faster. Arrivals, horizon, warm-up, think times,
    /// timeouts and limits are divided by `factor`. Shares (attainment, utilisation, load) then are those of the slower server;
    /// times that are measured must be multiplied by `factor`, and rates divided by it.
    pub fn with_cost_factor(&self, factor: f64) -> Scenario {
        let class = |class: &Class| Class {
            arrivals: class.arrivals.as_ref().map(|arrivals| match arrivals {
                Arrivals::Open { gaps, rate } => Arrivals::Open { gaps: *gaps, rate: faster_clock(rate, factor) },
                Arrivals::Closed { concurrency, think } => {
                    Arrivals::Closed { concurrency: *concurrency, think: divided(think, factor) }
                }
            }),
            session: class.session.as_ref().map(|s| Session { think: divided(&s.think, factor), ..s.clone() }),
            timeout: class.timeout.map(|timeout| shorter(timeout, factor)),
            slo: Slo { targets: class.slo.targets.iter().map(|t| SloTarget { limit: shorter(t.limit, factor), ..*t }).collect() },
            ..class.clone()
        };
        Scenario {
            classes: self.classes.iter().map(class).collect(),
            trace: self.faster_trace(factor),
            horizon: Horizon { duration: self.horizon.duration.map(|end| earlier(end, factor)), ..self.horizon },
            warmup: earlier(self.warmup, factor),
            ..self.clone()
        }
    }

    /// Only what arrives from `start` to `end`, moved to the start of the run, with as much of the time before `start` for a
    /// warm-up as the scenario has. The requests are others than those that a whole run has there.
    pub fn with_window(&self, start: Time, end: Time) -> Scenario {
        let warmup = if start == Time::ZERO { self.warmup } else { Time(self.warmup.0.min(start.0)) };
        let from = if start == Time::ZERO { start } else { Time(start.0 - warmup.0) };
        let class = |class: &Class| Class {
            arrivals: class.arrivals.as_ref().map(|arrivals| match arrivals {
                Arrivals::Open { gaps, rate } => Arrivals::Open { gaps: *gaps, rate: moved(rate, from, end) },
                closed @ Arrivals::Closed { .. } => closed.clone(),
            }),
            ..class.clone()
        };
        let trace = self.trace.as_ref().map(|trace| {
            let first = trace.window.map_or(0.0, |(first, _)| first);
            let at = |time: Time| first + time.as_secs_f64() * trace.rate_scale;
            TraceConfig {
                window: Some((at(from), trace.window.map_or(f64::INFINITY, |(_, last)| last).min(at(end)))),
                ..trace.clone()
            }
        });
        Scenario {
            classes: self.classes.iter().map(class).collect(),
            trace,
            horizon: Horizon { duration: Some(Time(end.0 - from.0)), requests: self.horizon.requests },
            warmup,
            ..self.clone()
        }
    }

    /// Only the requests that `serves` admits, in addition to what the scenario itself leaves out. Each keeps its draws and its
    /// number, so that the pools of a split see between them the very requests of the shared one. (Beside sessions and closed loops
    /// requests are numbered anew: a random router then draws differently.)
    ///
    /// # Errors
    /// A split by length with sessions or closed loops: a client waits for the answer of a request before it sends the next, and
    /// requests that are served elsewhere have no end here.
    pub fn serving(&self, serves: &Serves) -> Result<Scenario, String> {
        let both = self.serves.and(serves);
        if both.splits_by_length()
            && let Some(class) = self.classes.iter().find(|class| class.waits_for_answers())
        {
            return Err(format!(
                "class \"{}\" has sessions or a closed loop, which wait for answers: requests served elsewhere would have none, so \
                 it cannot be split by length",
                class.name
            ));
        }
        // Where anybody waits for answers, the run goes by what the source has next, which must be something that is served.
        let waits = self.classes.iter().any(Class::waits_for_answers);
        let class = |(i, class): (usize, &Class)| {
            let arrivals = class.arrivals.clone().filter(|_| both.serves_class(i as u16) || !waits);
            Class { arrivals, ..class.clone() }
        };
        let classes = self.classes.iter().enumerate().map(class).collect();
        Ok(Scenario { classes, serves: both, ..self.clone() })
    }

    fn faster_trace(&self, factor: f64) -> Option<TraceConfig> {
        self.trace.as_ref().map(|trace| TraceConfig { rate_scale: trace.rate_scale * factor, ..trace.clone() })
    }
}

impl Class {
    /// Whether its requests depend on how earlier ones end.
    pub fn waits_for_answers(&self) -> bool {
        self.session.is_some() || matches!(self.arrivals, Some(Arrivals::Closed { .. }))
    }
}

impl Rate {
    /// The highest rate that is ever reached [requests/s].
    pub fn highest(&self) -> f64 {
        match self {
            Rate::Constant(rate) => *rate,
            Rate::Piecewise { points, .. } => points.iter().map(|p| p.1).fold(0.0, f64::max),
            Rate::Diurnal { base, amplitude, .. } => base * (1.0 + amplitude),
            Rate::Bursts { base, peak, .. } => base.max(*peak),
        }
    }
}

fn earlier(time: Time, factor: f64) -> Time {
    Time((time.0 as f64 / factor).round() as u64)
}

fn shorter(span: Duration, factor: f64) -> Duration {
    Duration((span.0 as f64 / factor).round() as u64)
}

fn scaled_rate(rate: &Rate, factor: f64) -> Rate {
    match rate {
        Rate::Constant(rate) => Rate::Constant(rate * factor),
        Rate::Piecewise { points, period } => {
            Rate::Piecewise { points: points.iter().map(|(time, rate)| (*time, rate * factor)).collect(), period: *period }
        }
        Rate::Diurnal { base, amplitude, period, phase } => {
            Rate::Diurnal { base: base * factor, amplitude: *amplitude, period: *period, phase: *phase }
        }
        Rate::Bursts { base, peak, every, length } => {
            Rate::Bursts { base: base * factor, peak: peak * factor, every: *every, length: *length }
        }
    }
}

/// The rate on a clock that runs `factor` times as fast: the same arrivals at times divided by it.
fn faster_clock(rate: &Rate, factor: f64) -> Rate {
    let time = |time: Time| earlier(time, factor);
    match scaled_rate(rate, factor) {
        Rate::Constant(rate) => Rate::Constant(rate),
        Rate::Piecewise { points, period } => {
            Rate::Piecewise { points: points.into_iter().map(|(at, rate)| (time(at), rate)).collect(), period: period.map(time) }
        }
        Rate::Diurnal { base, amplitude, period, phase } => Rate::Diurnal { base, amplitude, period: time(period), phase },
        Rate::Bursts { base, peak, every, length } => Rate::Bursts { base, peak, every: time(every), length: time(length) },
    }
}

/// A distribution of times, each divided by `factor`.
fn divided(distribution: &Distribution, factor: f64) -> Distribution {
    let by = |value: &f64| value / factor;
    let values = |pairs: &[(f64, f64)]| pairs.iter().map(|(p, value)| (*p, by(value))).collect();
    match distribution {
        Distribution::Fixed(value) => Distribution::Fixed(by(value)),
        Distribution::Uniform { min, max } => Distribution::Uniform { min: by(min), max: by(max) },
        Distribution::LogNormal { median, p95, min, max } => {
            Distribution::LogNormal { median: by(median), p95: by(p95), min: by(min), max: by(max) }
        }
        Distribution::Exponential { mean } => Distribution::Exponential { mean: by(mean) },
        Distribution::Quantiles(points) => Distribution::Quantiles(values(points)),
        Distribution::Pmf(pairs) => Distribution::Pmf(pairs.iter().map(|(value, weight)| (by(value), *weight)).collect()),
    }
}

/// The rate as it goes on from `start`, up to `end` at least.
fn moved(rate: &Rate, start: Time, end: Time) -> Rate {
    match rate {
        _ if start == Time::ZERO => rate.clone(),
        Rate::Constant(rate) => Rate::Constant(*rate),
        Rate::Diurnal { base, amplitude, period, phase } => {
            let turned = (start.0 % period.0) as f64 / period.0 as f64;
            Rate::Diurnal { base: *base, amplitude: *amplitude, period: *period, phase: (phase + turned).fract() }
        }
        Rate::Piecewise { points, period } => unrolled(points, *period, Time::ZERO, start, end),
        Rate::Bursts { base, peak, every, length } => {
            // A jump is a slope of one picosecond. The first burst starts after one cycle, so cycles are counted from there.
            let step = |at: u64, rate: f64| (Time(at), rate);
            let (every, length) = (every.0, length.0.min(every.0));
            let cycle: Vec<(Time, f64)> = match length {
                0 => vec![step(0, *base)],
                all if all + 2 > every => vec![step(0, *peak)],
                _ => vec![step(0, *peak), step(length, *peak), step(length + 1, *base), step(every - 1, *base)],
            };
            match start.0 < every {
                true => {
                    let mut points = vec![step(0, *base), step(every - 1 - start.0, *base)];
                    points.dedup_by_key(|p| p.0);
                    let rest = unrolled(&cycle, Some(Time(every)), Time(every), Time(every), end);
                    if let Rate::Piecewise { points: rest, .. } = rest {
                        points.extend(rest.into_iter().map(|(at, rate)| (Time(at.0 + every - start.0), rate)));
                    }
                    Rate::Piecewise { points, period: None }
                }
                false => unrolled(&cycle, Some(Time(every)), Time(every), start, end),
            }
        }
    }
}

/// The points of a curve whose cycles begin at `origin`, as seen from `start` on, up to the first cycle that ends behind `end`.
fn unrolled(points: &[(Time, f64)], period: Option<Time>, origin: Time, start: Time, end: Time) -> Rate {
    let (start, end) = (start.0 - origin.0, end.0 - origin.0);
    let length = period.map_or(u64::MAX, |p| p.0);
    let (first, last) = (start / length, (end / length).min(start / length + CYCLES_MAX));
    let mut seen = vec![(Time::ZERO, at(points, length, start % length))];
    for cycle in first..=last {
        for (time, rate) in points.iter().filter(|(time, _)| time.0 < length) {
            let time = cycle * if period.is_some() { length } else { 0 } + time.0;
            if time > start {
                // Where a cycle ends on another rate than the next begins on, the jump takes a picosecond.
                let before = at(points, length, length - 1);
                if period.is_some() && time % length == 0 && before != *rate && time > start + 1 {
                    push(&mut seen, time - 1 - start, before);
                }
                push(&mut seen, time - start, *rate);
            }
        }
    }
    Rate::Piecewise { points: seen, period: None }
}

/// Adds a point behind the others; one at the same time is already there.
fn push(points: &mut Vec<(Time, f64)>, time: u64, rate: f64) {
    if points.last().is_none_or(|(last, _)| last.0 < time) {
        points.push((Time(time), rate));
    }
}

/// The rate at `offset` [ps] into a cycle of `length`.
fn at(points: &[(Time, f64)], length: u64, offset: u64) -> f64 {
    let next = points.partition_point(|(time, _)| time.0 <= offset);
    let Some(&(from, rate)) = points[..next].last() else { return points.first().map_or(0.0, |p| p.1) };
    match points.get(next).filter(|(to, _)| to.0 <= length.max(offset)) {
        Some(&(to, then)) => rate + (then - rate) * ((offset - from.0) as f64 / (to.0 - from.0) as f64),
        None => rate,
    }
}
