//! Drawing from a [`Distribution`]: at random, or at a given normal quantile.

use libm::erfc;
use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::scenario::Distribution;

/// Draws above this are lowered to it [tokens]: sums of a prompt's parts then stay far inside a `u32` request.
pub const TOKENS_MAX: u32 = 1 << 28;

/// z of the 95th percentile of a standard normal variable.
const Z95: f64 = 1.644_853_626_951_472_7;

/// A distribution with its constants computed once.
#[derive(Clone, Debug)]
pub struct Sampler {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Fixed(f64),
    Uniform {
        min: f64,
        max: f64,
    },
    LogNormal {
        mu: f64,
        sigma: f64,
        min: f64,
        max: f64,
    },
    Exponential {
        mean: f64,
    },
    Quantiles(Vec<Segment>),
    /// (cumulative probability, value), ascending in both.
    Pmf(Vec<(f64, f64)>),
}

/// A piece of an inverse CDF: from probability `low` (to the next segment's) the value goes from `from` to `to`.
#[derive(Clone, Copy, Debug)]
struct Segment {
    low: f64,
    width: f64,
    from: f64,
    to: f64,
    /// ln(to / from); `None` where an end is 0 and the piece is linear.
    log_ratio: Option<f64>,
}

/// A draw, and whether a bound of the distribution changed it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    value: f64,
    clamped: bool,
}

impl Value {
    fn of(value: f64) -> Value {
        Value { value, clamped: false }
    }
}

impl Sampler {
    /// Precomputes the constants of `distribution`.
    pub fn new(distribution: &Distribution) -> Sampler {
        let kind = match distribution {
            Distribution::Fixed(value) => Kind::Fixed(*value),
            Distribution::Uniform { min, max } => Kind::Uniform { min: *min, max: *max },
            Distribution::LogNormal { median, p95, min, max } if *median > 0.0 => {
                Kind::LogNormal { mu: median.ln(), sigma: (p95 / median).ln() / Z95, min: *min, max: *max }
            }
            Distribution::LogNormal { min, max, .. } => Kind::Fixed(min.max(0.0).min(*max)),
            Distribution::Exponential { mean } => Kind::Exponential { mean: *mean },
            Distribution::Quantiles(points) => segments(points),
            Distribution::Pmf(weights) => cumulative(weights),
        };
        Sampler { kind }
    }

    /// The value, if every draw gives the same.
    pub fn fixed(&self) -> Option<f64> {
        match self.kind {
            Kind::Fixed(value) => Some(value),
            _ => None,
        }
    }

    /// Draws a count, rounded to the nearest integer (a uniform one is uniform over the integers from `min` to `max`). Adds 1 to
    /// `clamped` if a bound changed it.
    #[inline]
    pub fn tokens<R: Rng + ?Sized>(&self, rng: &mut R, clamped: &mut u64) -> u32 {
        let value = match &self.kind {
            Kind::Fixed(value) => Value::of(*value),
            Kind::LogNormal { mu, sigma, min, max } => {
                let z: f64 = StandardNormal.sample(rng);
                bounded((mu + sigma * z).exp(), *min, *max)
            }
            Kind::Exponential { mean } => {
                let x: f64 = Exp1.sample(rng);
                Value::of(mean * x)
            }
            _ => self.tokens_at(rng.random::<f64>()),
        };
        to_tokens(value, clamped)
    }

    /// The count at quantile Phi(`z`): standard normal `z` give this distribution. See [`Sampler::tokens`].
    pub fn tokens_at_normal(&self, z: f64, clamped: &mut u64) -> u32 {
        let value = match &self.kind {
            Kind::Fixed(value) => Value::of(*value),
            Kind::LogNormal { mu, sigma, min, max } => bounded((mu + sigma * z).exp(), *min, *max),
            // The upper tail by its complement, which keeps its digits.
            Kind::Exponential { mean } => Value::of(-mean * phi(-z).ln()),
            _ => self.tokens_at(phi(z)),
        };
        to_tokens(value, clamped)
    }

    /// Draws a real quantity, such as seconds.
    pub fn real<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        match &self.kind {
            Kind::Fixed(value) => *value,
            Kind::Uniform { min, max } => min + (max - min) * rng.random::<f64>(),
            Kind::LogNormal { mu, sigma, min, max } => {
                let z: f64 = StandardNormal.sample(rng);
                bounded((mu + sigma * z).exp(), *min, *max).value
            }
            Kind::Exponential { mean } => {
                let x: f64 = Exp1.sample(rng);
                mean * x
            }
            Kind::Quantiles(_) | Kind::Pmf(_) => self.tokens_at(rng.random::<f64>()).value,
        }
    }

    /// Mean and standard deviation of the counts [tokens]: the midpoint rule over the normal quantile, 8,000 points from -8 to 8,
    /// good to about 1e-3 of the value (steps of a discrete distribution included).
    pub fn moments(&self) -> (f64, f64) {
        let (points, mut ignored) = (8_000, 0);
        let (mut mass, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for i in 0..points {
            let z = -8.0 + 16.0 * (f64::from(i) + 0.5) / f64::from(points);
            let weight = (-0.5 * z * z).exp();
            let value = f64::from(self.tokens_at_normal(z, &mut ignored));
            mass += weight;
            sum += weight * value;
            squares += weight * value * value;
        }
        let mean = sum / mass;
        (mean, (squares / mass - mean * mean).max(0.0).sqrt())
    }

    /// Inverse CDF of the kinds that have no cheaper way. `u` in [0, 1].
    fn tokens_at(&self, u: f64) -> Value {
        match &self.kind {
            Kind::Uniform { min, max } => {
                let (low, high) = (min.round(), max.round());
                Value::of((low + u * (high - low + 1.0)).floor().min(high))
            }
            Kind::Quantiles(segments) => {
                let segment = &segments[segments.partition_point(|s| s.low <= u).saturating_sub(1)];
                let share = ((u - segment.low) / segment.width).clamp(0.0, 1.0);
                Value::of(match segment.log_ratio {
                    Some(log_ratio) => segment.from * (share * log_ratio).exp(),
                    None => segment.from + share * (segment.to - segment.from),
                })
            }
            Kind::Pmf(values) => Value::of(values[values.partition_point(|v| v.0 <= u).min(values.len() - 1)].1),
            Kind::Fixed(value) => Value::of(*value),
            Kind::LogNormal { .. } | Kind::Exponential { .. } => unreachable!("drawn by their own formulas"),
        }
    }
}

/// Distribution function of a standard normal variable.
fn phi(z: f64) -> f64 {
    0.5 * erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

fn bounded(value: f64, min: f64, max: f64) -> Value {
    Value { value: value.max(min).min(max), clamped: value < min || value > max }
}

/// Rounded; negative and NaN become 0.
#[inline]
fn to_tokens(draw: Value, clamped: &mut u64) -> u32 {
    let over = draw.value > f64::from(TOKENS_MAX);
    *clamped += u64::from(draw.clamped | over);
    // Adding one half and cutting is `round` for what is not negative, and several times as fast.
    ((draw.value + 0.5) as u32).min(TOKENS_MAX)
}

/// Pieces between quantile points; without any piece of positive width, the last value.
fn segments(points: &[(f64, f64)]) -> Kind {
    let pieces: Vec<Segment> = points
        .windows(2)
        .filter(|p| p[1].0 > p[0].0)
        .map(|p| {
            let ((low, from), (high, to)) = (p[0], p[1]);
            let log_ratio = (from > 0.0 && to > 0.0).then(|| (to / from).ln());
            Segment { low, width: high - low, from, to, log_ratio }
        })
        .collect();
    match pieces.is_empty() {
        true => Kind::Fixed(points.last().map_or(0.0, |p| p.1)),
        false => Kind::Quantiles(pieces),
    }
}

/// Cumulative form of weighted values, sorted so that a higher quantile is a higher value; values of no weight are left out.
fn cumulative(weights: &[(f64, f64)]) -> Kind {
    let mut values: Vec<(f64, f64)> = weights.iter().filter(|w| w.1 > 0.0).map(|&(value, weight)| (weight, value)).collect();
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    let total: f64 = values.iter().map(|v| v.0).sum();
    let mut sum = 0.0;
    for value in &mut values {
        sum += value.0;
        value.0 = sum / total;
    }
    match values.is_empty() {
        true => Kind::Fixed(0.0),
        false => Kind::Pmf(values),
    }
}
