//! What is done with whole vectors: grouping, matching, quantiles of histograms.

use std::collections::BTreeMap;

use super::eval::{Labels, Sample, Value};
use super::{Aggregation, Operator, QueryError};

const NAME: &str = "__name__";
const BOUND: &str = "le";

/// One sample for each group of samples.
pub(super) fn aggregate(
    op: Aggregation,
    parameter: Option<f64>,
    by: Option<&[String]>,
    without: &[String],
    samples: Vec<Sample>,
) -> Vec<Sample> {
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let keep = |name: &str| match by {
            Some(by) => by.iter().any(|label| label == name),
            None => name != NAME && !without.iter().any(|label| label == name),
        };
        let labels = sample.labels.into_iter().filter(|(name, _)| keep(name)).collect();
        groups.entry(labels).or_default().push(sample.value);
    }
    let value = |values: Vec<f64>| match op {
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Avg => values.iter().sum::<f64>() / values.len() as f64,
        Aggregation::Min => values.into_iter().fold(f64::NAN, f64::min),
        Aggregation::Max => values.into_iter().fold(f64::NAN, f64::max),
        Aggregation::Count => values.len() as f64,
        Aggregation::Quantile => quantile_of(parameter.unwrap_or(f64::NAN), values),
    };
    groups.into_iter().map(|(labels, values)| Sample { labels, value: value(values) }).collect()
}

/// The quantile of some values, at least one, linear between the two next to it.
fn quantile_of(q: f64, mut values: Vec<f64>) -> f64 {
    if let Some(beyond) = beyond(q) {
        return beyond;
    }
    // What is no number comes first, whatever its sign.
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let (low, high) = (rank.floor(), (rank.floor() + 1.0).min((values.len() - 1) as f64));
    let weight = rank - low;
    values[low as usize] * (1.0 - weight) + values[high as usize] * weight
}

/// What stands for a quantile that is not from 0 to 1.
fn beyond(q: f64) -> Option<f64> {
    match q {
        q if q.is_nan() => Some(q),
        q if q < 0.0 => Some(f64::NEG_INFINITY),
        q if q > 1.0 => Some(f64::INFINITY),
        _ => None,
    }
}

/// Labels that two samples must share to be matched.
fn signature(labels: &Labels, on: Option<&[String]>, ignoring: &[String]) -> Labels {
    let counts = |name: &str| match on {
        Some(on) => on.iter().any(|label| label == name),
        None => name != NAME && !ignoring.iter().any(|label| label == name),
    };
    labels.iter().filter(|(name, _)| counts(name)).cloned().collect()
}

/// Two operands made one.
pub(super) fn combine(
    op: Operator,
    left: Value,
    right: Value,
    on: Option<&[String]>,
    ignoring: &[String],
    to_bool: bool,
) -> Result<Value, QueryError> {
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Ok(Value::Scalar(match calculate(op, a, b) {
            Some(value) => value,
            None => f64::from(compare(op, a, b)),
        })),
        (Value::Vector(samples), Value::Scalar(b)) => {
            Ok(Value::Vector(samples.into_iter().filter_map(|s| with_number(op, s, b, false, to_bool)).collect()))
        }
        (Value::Scalar(a), Value::Vector(samples)) => {
            Ok(Value::Vector(samples.into_iter().filter_map(|s| with_number(op, s, a, true, to_bool)).collect()))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            let sign = |sample: &Sample| signature(&sample.labels, on, ignoring);
            match op {
                Operator::And | Operator::Or | Operator::Unless => Ok(Value::Vector(sets(op, left, right, sign))),
                _ if left.is_empty() || right.is_empty() => Ok(Value::Vector(Vec::new())),
                _ => pairs(op, left, right, sign, (on, ignoring), to_bool).map(Value::Vector),
            }
        }
    }
}

/// A sample with a number at its right, or with `swapped` at its left.
fn with_number(op: Operator, mut sample: Sample, number: f64, swapped: bool, to_bool: bool) -> Option<Sample> {
    let (a, b) = if swapped { (number, sample.value) } else { (sample.value, number) };
    let holds = match calculate(op, a, b) {
        Some(value) => {
            sample.value = value;
            sample.labels.retain(|(name, _)| &**name != NAME);
            return Some(sample);
        }
        None => compare(op, a, b),
    };
    if to_bool {
        sample.value = f64::from(holds);
        sample.labels.retain(|(name, _)| &**name != NAME);
        return Some(sample);
    }
    holds.then_some(sample)
}

fn sets(op: Operator, left: Vec<Sample>, right: Vec<Sample>, sign: impl Fn(&Sample) -> Labels) -> Vec<Sample> {
    let (lefts, rights): (Vec<Labels>, Vec<Labels>) = (left.iter().map(&sign).collect(), right.iter().map(&sign).collect());
    match op {
        Operator::And => left.into_iter().filter(|s| rights.contains(&sign(s))).collect(),
        Operator::Unless => left.into_iter().filter(|s| !rights.contains(&sign(s))).collect(),
        _ => left.into_iter().chain(right.into_iter().filter(|s| !lefts.contains(&sign(s)))).collect(),
    }
}

fn pairs(
    op: Operator,
    left: Vec<Sample>,
    right: Vec<Sample>,
    sign: impl Fn(&Sample) -> Labels,
    (on, ignoring): (Option<&[String]>, &[String]),
    to_bool: bool,
) -> Result<Vec<Sample>, QueryError> {
    let many = || QueryError("several samples on one side of an operator match one on the other".to_owned());
    let mut rights: BTreeMap<Labels, f64> = BTreeMap::new();
    for sample in &right {
        if rights.insert(sign(sample), sample.value).is_some() {
            return Err(many());
        }
    }
    let mut found: BTreeMap<Labels, Sample> = BTreeMap::new();
    for mut sample in left {
        let signature = sign(&sample);
        let Some(&b) = rights.get(&signature) else { continue };
        let result = match calculate(op, sample.value, b) {
            Some(value) => Some(Sample { labels: signature.clone(), value }),
            None if to_bool => Some(Sample { labels: signature.clone(), value: f64::from(compare(op, sample.value, b)) }),
            None => compare(op, sample.value, b).then(|| {
                // One that stays keeps its name, but with `on` or `ignoring` those labels only by which it was matched.
                sample.labels.retain(|(name, _)| match on {
                    Some(on) => on.iter().any(|label| **label == **name),
                    None => !ignoring.iter().any(|label| **label == **name),
                });
                sample
            }),
        };
        if let Some(result) = result
            && found.insert(signature, result).is_some()
        {
            return Err(many());
        }
    }
    Ok(found.into_values().collect())
}

/// The result of arithmetic; `None` for comparisons.
fn calculate(op: Operator, a: f64, b: f64) -> Option<f64> {
    Some(match op {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => a % b,
        Operator::Pow => a.powf(b),
        _ => return None,
    })
}

fn compare(op: Operator, a: f64, b: f64) -> bool {
    match op {
        Operator::Equal => a == b,
        Operator::NotEqual => a != b,
        Operator::Greater => a > b,
        Operator::Less => a < b,
        Operator::GreaterEqual => a >= b,
        _ => a <= b,
    }
}

/// The quantile of each histogram, linear within a bucket.
pub(super) fn histogram_quantile(q: f64, samples: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        let bound = sample.labels.iter().find(|(name, _)| &**name == BOUND).map(|(_, value)| value.clone());
        let Some(Ok(bound)) = bound.map(|text| text.replace("+Inf", "inf").parse::<f64>()) else { continue };
        let labels = sample.labels.into_iter().filter(|(name, _)| &**name != BOUND && &**name != NAME).collect();
        histograms.entry(labels).or_default().push((bound, sample.value));
    }
    histograms.into_iter().map(|(labels, buckets)| Sample { labels, value: quantile(q, buckets) }).collect()
}

fn quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if let Some(beyond) = beyond(q) {
        return beyond;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Rates of buckets are extrapolated one by one, so that one of them may come out below the one before it.
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut buckets {
        most = most.max(*count);
        *count = most;
    }
    let total = match buckets.last() {
        Some((bound, count)) if bound.is_infinite() && buckets.len() > 1 && *count > 0.0 => *count,
        _ => return f64::NAN,
    };
    let rank = q * total;
    let found = buckets.iter().position(|(_, count)| *count >= rank).unwrap_or(buckets.len() - 1);
    if found == buckets.len() - 1 {
        return buckets[found - 1].0;
    }
    if found == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (start, below) = if found == 0 { (0.0, 0.0) } else { buckets[found - 1] };
    start + (buckets[found].0 - start) * ((rank - below) / (buckets[found].1 - below))
}
