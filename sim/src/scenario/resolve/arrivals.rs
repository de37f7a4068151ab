//! When requests come.

use std::ops::Range;

use tokentide_models::units::Time;

use super::Context;
use super::check::{at_least_one, non_negative, number, positive};
use super::distribution::distribution;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;
use crate::scenario::file::arrivals::{ArrivalsFile, Process, RateFile, RateTable};
use crate::scenario::{Arrivals, Distribution, Gaps, Rate};

/// Cycle of a daily rate where none is given [s].
const DAY_S: f64 = 86_400.0;
/// Coefficients of variation outside are refused: below, gaps are constant but for rounding; above, a mean needs more than a
/// million requests to settle.
const CV_RANGE: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// Resolves arrivals; `None` if they make no sense (which is noted).
pub(super) fn arrivals(file: &At<ArrivalsFile>, context: &mut Context<'_>) -> Option<Arrivals> {
    let process = file.process.as_ref().map_or(Process::Poisson, |p| **p);
    if process == Process::Closed {
        return closed(file, context);
    }
    for (key, span) in [("concurrency", file.concurrency.as_ref().map(At::span)), ("think", file.think.as_ref().map(At::span))] {
        if let Some(span) = span {
            context.problems.add(Some(span), format!("`{key}` goes with process = \"closed\" only"), None);
        }
    }
    let gaps = gaps(process, file, context);
    let Some(rate) = &file.rate else {
        let help = Some("such as `rate = 6.0`, in requests per second".to_owned());
        context.problems.missing(Some(file.span()), "rate", "arrivals have no `rate`", help);
        return None;
    };
    let rate = match rate.get() {
        RateFile::Constant(value) if *value > RATE_MAX => {
            context.problems.at(rate.span(), format!("`rate` must be at most {RATE_MAX} requests per second, not {value}"));
            return None;
        }
        RateFile::Constant(value) if value.is_finite() && *value > 0.0 => Rate::Constant(*value),
        RateFile::Constant(value) => {
            context.problems.at(rate.span(), format!("`rate` must be above 0, not {value}"));
            return None;
        }
        RateFile::Table(table) => curve(table, rate.span(), context)?,
    };
    Some(Arrivals::Open { gaps: gaps?, rate })
}

/// More than any service has: beyond it a run would seem to hang.
const RATE_MAX: f64 = 100_000.0;

fn gaps(process: Process, file: &At<ArrivalsFile>, context: &mut Context<'_>) -> Option<Gaps> {
    let takes_cv = matches!(process, Process::Gamma | Process::Weibull);
    if let (Some(cv), false) = (&file.cv, takes_cv) {
        let help = Some("use process = \"gamma\" for gaps that vary more or less than Poisson's".to_owned());
        context.problems.add(Some(cv.span()), "`cv` goes with process = \"gamma\" or \"weibull\" only", help);
    }
    if !takes_cv {
        return Some(if process == Process::Constant { Gaps::Constant } else { Gaps::Poisson });
    }
    if file.cv.is_none() {
        context.problems.missing(Some(file.span()), "cv", "gamma and weibull gaps need a `cv`, such as cv = 1.5", None);
    }
    let cv = number("cv", file.cv.as_ref(), context, "between 0.01 and 100", |x| CV_RANGE.contains(&x))?;
    Some(if process == Process::Gamma { Gaps::Gamma { cv } } else { Gaps::Weibull { cv } })
}

fn closed(file: &At<ArrivalsFile>, context: &mut Context<'_>) -> Option<Arrivals> {
    for (key, span) in [("rate", file.rate.as_ref().map(At::span)), ("cv", file.cv.as_ref().map(At::span))] {
        if let Some(span) = span {
            context.problems.at(span, format!("`{key}` does not go with process = \"closed\": clients wait for answers"));
        }
    }
    if file.concurrency.is_none() {
        let message = "closed arrivals need `concurrency`, the number of clients";
        context.problems.missing(Some(file.span()), "concurrency", message, None);
    }
    let concurrency = at_least_one("concurrency", file.concurrency.as_ref(), context)?;
    let think = file.think.as_ref().map_or(Distribution::Fixed(0.0), |think| distribution("think", think, 0.0, context));
    Some(Arrivals::Closed { concurrency, think })
}

/// One of the three curves, told by their keys.
fn curve(table: &RateTable, span: Range<usize>, context: &mut Context<'_>) -> Option<Rate> {
    let bursts = table.peak.is_some() || table.every.is_some() || table.length.is_some();
    let day = table.amplitude.is_some() || table.phase.is_some();
    let points = table.points.is_some();
    match (day, points, bursts) {
        (true, false, false) => diurnal(table, span, context),
        (false, true, false) => piecewise(table, context),
        (false, false, true) => burst_train(table, span, context),
        (false, false, false) => {
            let message = "a rate's curve needs `amplitude` (a day), `points`, or `peak` (bursts)";
            context.problems.missing(Some(span), "amplitude", message, None);
            None
        }
        _ => {
            context.problems.at(span, "a rate has one curve: a day (amplitude, phase), points, or bursts (peak, every, length)");
            None
        }
    }
}

/// Notes a key that the curve needs and does not have.
fn need<'a, T>(key: &str, value: &'a Option<At<T>>, span: &Range<usize>, context: &mut Context<'_>) -> Option<&'a At<T>> {
    if value.is_none() {
        context.problems.missing(Some(span.clone()), key, format!("this rate needs `{key}`"), None);
    }
    value.as_ref()
}

/// A time above zero.
fn lasting(key: &str, value: &At<TimeSpan>, context: &mut Context<'_>) -> Option<Time> {
    if value.0.0 == 0 {
        context.problems.at(value.span(), format!("`{key}` must be longer than 0"));
    }
    Some(value.time()).filter(|t| t.0 > 0)
}

fn diurnal(table: &RateTable, span: Range<usize>, context: &mut Context<'_>) -> Option<Rate> {
    need("base", &table.base, &span, context);
    need("amplitude", &table.amplitude, &span, context);
    let base = positive("base", table.base.as_ref(), context);
    let amplitude = number("amplitude", table.amplitude.as_ref(), context, "between 0 and 1", |x| (0.0..=1.0).contains(&x));
    let period = match &table.period {
        Some(period) => lasting("period", period, context),
        None => Some(Time::from_secs_f64(DAY_S)),
    };
    let phase = number("phase", table.phase.as_ref(), context, "between 0 and 1", |x| (0.0..=1.0).contains(&x));
    Some(Rate::Diurnal { base: base?, amplitude: amplitude?, period: period?, phase: phase.unwrap_or(0.0) })
}

fn piecewise(table: &RateTable, context: &mut Context<'_>) -> Option<Rate> {
    let given = table.points.as_ref()?;
    if let Some(base) = &table.base {
        context.problems.at(base.span(), "`base` does not go with `points`");
    }
    let points: Vec<(Time, f64)> = given.iter().map(|(time, rate)| (time.time(), *rate)).collect();
    let span = given.span();
    if points.first().is_none_or(|(time, _)| *time != Time::ZERO) {
        context.problems.at(span, "`points` must begin at \"0s\"");
    } else if points.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        context.problems.at(span, "`points` must ascend in time");
    } else if points.iter().any(|(_, rate)| !(rate.is_finite() && *rate >= 0.0)) {
        context.problems.at(span, "the rates of `points` must be 0 or more");
    } else if points.iter().all(|(_, rate)| *rate == 0.0) {
        context.problems.at(span, "the rates of `points` are all 0: nothing would ever arrive");
    }
    let last = points.last().map_or(Time::ZERO, |(time, _)| *time);
    let period = table.period.as_ref().and_then(|period| {
        let time = lasting("period", period, context)?;
        if time < last {
            context.problems.at(period.span(), "`period` must not end before the last of `points`");
        }
        Some(time)
    });
    Some(Rate::Piecewise { points, period })
}

fn burst_train(table: &RateTable, span: Range<usize>, context: &mut Context<'_>) -> Option<Rate> {
    if let Some(period) = &table.period {
        context.problems.at(period.span(), "`period` does not go with bursts: they come `every` so often");
    }
    let base = non_negative("base", table.base.as_ref(), context);
    need("peak", &table.peak, &span, context);
    let peak = positive("peak", table.peak.as_ref(), context);
    let every = need("every", &table.every, &span, context).and_then(|every| lasting("every", every, context));
    let length = need("length", &table.length, &span, context).and_then(|length| lasting("length", length, context));
    if let (Some(given), Some(every), Some(length)) = (&table.length, every, length)
        && length > every
    {
        context.problems.at(given.span(), "`length` of a burst must be at most `every`");
    }
    Some(Rate::Bursts { base: base.unwrap_or(0.0), peak: peak?, every: every?, length: length? })
}
