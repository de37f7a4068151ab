//! The value of a query at a time.

use std::sync::Arc;

use promql_parser::label::MatchOp;
use tokentide_models::units::{Duration, Time};

use super::vector::{aggregate, combine, histogram_quantile};
use super::{Map, Node, QueryError, Range, Selector};

/// Labels of a sample by name, the metric's own as `__name__`; ascending.
pub type Labels = Vec<(Arc<str>, Arc<str>)>;

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// Samples with unlike labels.
    Vector(Vec<Sample>),
}

/// A series, as it is stored.
pub struct Series<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its samples in order of time; `None`: it has ended.
    pub samples: &'a mut dyn DoubleEndedIterator<Item = (Time, Option<f64>)>,
}

/// Where series are stored.
pub trait Source {
    /// Calls `each` for every series of a name.
    fn series(&self, name: &str, each: &mut dyn FnMut(Series<'_>));

    /// How old a sample may be and still count.
    fn lookback(&self) -> Duration;
}

/// The value of `node` at `now`.
pub(super) fn evaluate(node: &Node, source: &dyn Source, now: Time) -> Result<Value, QueryError> {
    let vector = |node: &Node| match evaluate(node, source, now)? {
        Value::Vector(samples) => Ok(samples),
        Value::Scalar(_) => Err(QueryError("a vector is needed, not a number".to_owned())),
    };
    Ok(match node {
        Node::Number(number) => Value::Scalar(*number),
        Node::Select(selector) => Value::Vector(instant(selector, source, now)),
        Node::OverTime(function, range) => Value::Vector(match range.as_ref() {
            Range::Samples(selector, range) => {
                let end = Time(now.0.saturating_sub(selector.offset.0));
                let mut found = Vec::new();
                each_window(selector, source, end, *range, &mut |labels, samples| {
                    let value = function.over(samples, end.as_secs_f64() - range.as_secs_f64(), end.as_secs_f64());
                    found.extend(value.map(|value| sample_of(labels, value, function.keeps_name())));
                });
                found
            }
            Range::Subquery { node, range, step, offset } => {
                let end = Time(now.0.saturating_sub(offset.0));
                let (start, end_s) = (end.as_secs_f64() - range.as_secs_f64(), end.as_secs_f64());
                let series = subquery(node, source, end, *range, *step)?;
                let over = |(labels, samples): (Labels, Vec<(f64, f64)>)| {
                    Some(sample_of(&labels, function.over(&samples, start, end_s)?, function.keeps_name()))
                };
                series.into_iter().filter_map(over).collect()
            }
        }),
        Node::Aggregate { op, by, without, inner, parameter } => {
            let parameter = parameter.as_ref().map(|node| scalar(evaluate(node, source, now)?)).transpose()?;
            Value::Vector(aggregate(*op, parameter, by.as_deref(), without, vector(inner)?))
        }
        Node::Binary { op, left, right, on, ignoring, to_bool } => {
            let (left, right) = (evaluate(left, source, now)?, evaluate(right, source, now)?);
            combine(*op, left, right, on.as_deref(), ignoring, *to_bool)?
        }
        Node::Map(map, inner, rest) => {
            let rest: Result<Vec<f64>, QueryError> = rest.iter().map(|node| scalar(evaluate(node, source, now)?)).collect();
            let rest = rest?;
            let mapped = |mut sample: Sample| {
                sample.value = apply(*map, sample.value, &rest)?;
                sample.labels.retain(|(name, _)| &**name != "__name__");
                Some(sample)
            };
            Value::Vector(vector(inner)?.into_iter().filter_map(mapped).collect())
        }
        Node::Scalar(inner) => Value::Scalar(match vector(inner)?.as_slice() {
            [only] => only.value,
            _ => f64::NAN,
        }),
        Node::Vector(inner) => Value::Vector(vec![Sample { labels: Vec::new(), value: scalar(evaluate(inner, source, now)?)? }]),
        Node::HistogramQuantile(quantile, buckets) => {
            Value::Vector(histogram_quantile(scalar(evaluate(quantile, source, now)?)?, vector(buckets)?))
        }
    })
}

fn scalar(value: Value) -> Result<f64, QueryError> {
    match value {
        Value::Scalar(number) => Ok(number),
        Value::Vector(_) => Err(QueryError("a number is needed, not a vector".to_owned())),
    }
}

/// `None`: the sample falls away. What is no number stays none, where Rust's `min` and `max` would take the other operand.
fn apply(map: Map, value: f64, rest: &[f64]) -> Option<f64> {
    if value.is_nan() || rest.iter().any(|bound| bound.is_nan()) {
        return Some(f64::NAN);
    }
    Some(match (map, rest) {
        (Map::Abs, _) => value.abs(),
        (Map::Ceil, _) => value.ceil(),
        (Map::Floor, _) => value.floor(),
        // Halves go up, as Prometheus has it.
        (Map::Round, []) => (value + 0.5).floor(),
        // By the inverse, as Prometheus has it: `round(x, 0.1)` is then a multiple of 0.1 to the last bit.
        (Map::Round, [to]) => (value * (1.0 / to) + 0.5).floor() / (1.0 / to),
        (Map::Sqrt, _) => value.sqrt(),
        (Map::Clamp, [low, high]) if low > high => return None,
        (Map::Clamp, [low, high]) => value.max(*low).min(*high),
        (Map::ClampMin, [low]) => value.max(*low),
        (Map::ClampMax, [high]) => value.min(*high),
        _ => unreachable!("the parser has counted the arguments"),
    })
}

fn sample_of(labels: &Labels, value: f64, keep_name: bool) -> Sample {
    let labels = labels.iter().filter(|(name, _)| keep_name || &**name != "__name__").cloned().collect();
    Sample { labels, value }
}

fn matches(selector: &Selector, labels: &Labels) -> bool {
    selector.matchers.iter().all(|matcher| {
        let value = labels.iter().find(|(name, _)| **name == *matcher.name).map_or("", |(_, value)| value);
        match &matcher.op {
            MatchOp::Equal => value == matcher.value,
            MatchOp::NotEqual => value != matcher.value,
            MatchOp::Re(regex) => regex.is_match(value),
            MatchOp::NotRe(regex) => !regex.is_match(value),
        }
    })
}

/// The latest sample of each series that has one within the lookback.
fn instant(selector: &Selector, source: &dyn Source, now: Time) -> Vec<Sample> {
    let at = Time(now.0.saturating_sub(selector.offset.0));
    let mut found = Vec::new();
    source.series(&selector.name, &mut |series| {
        if !matches(selector, series.labels) {
            return;
        }
        let latest = series.samples.rev().find(|(time, _)| *time <= at);
        if let Some((time, Some(value))) = latest
            && at.since(time) < source.lookback()
        {
            found.push(sample_of(series.labels, value, true));
        }
    });
    found
}

/// A time [s] and the value then.
type Point = (f64, f64);

/// Samples of each series in `(end - range, end]`, if there are any.
fn each_window(selector: &Selector, source: &dyn Source, end: Time, range: Duration, each: &mut dyn FnMut(&Labels, &[Point])) {
    let mut window = Vec::new();
    source.series(&selector.name, &mut |series| {
        if !matches(selector, series.labels) {
            return;
        }
        window.clear();
        let late = series.samples.rev().skip_while(|(time, _)| *time > end).take_while(|(time, _)| end.since(*time) < range);
        window.extend(late.filter_map(|(time, value)| Some((time.as_secs_f64(), value?))));
        window.reverse();
        if !window.is_empty() {
            each(series.labels, &window);
        }
    });
}

/// An expression at the multiples of `step` in `(end - range, end]`, series by series.
fn subquery(
    node: &Node,
    source: &dyn Source,
    end: Time,
    range: Duration,
    step: Duration,
) -> Result<Vec<(Labels, Vec<Point>)>, QueryError> {
    let mut found: Vec<(Labels, Vec<Point>)> = Vec::new();
    let first = end.0.saturating_sub(range.0) / step.0 + 1;
    for at in (first..=end.0 / step.0).map(|i| Time(i * step.0)) {
        let samples = match evaluate(node, source, at)? {
            Value::Vector(samples) => samples,
            Value::Scalar(value) => vec![Sample { labels: Vec::new(), value }],
        };
        for sample in samples {
            let point = (at.as_secs_f64(), sample.value);
            match found.iter_mut().find(|(labels, _)| *labels == sample.labels) {
                Some((_, points)) => points.push(point),
                None => found.push((sample.labels, vec![point])),
            }
        }
    }
    Ok(found)
}
