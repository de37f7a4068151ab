//! When requests come: a renewal process in operational time, mapped through the inverse of the cumulative rate.
//!
//! Operational time runs at one arrival per unit whatever the rate, so burst state survives a change of rate, and counts keep their
//! variance (Cinlar, "Introduction to Stochastic Processes", 1975, section 4.7; for renewal processes Gerhardt and Nelson,
//! "Transforming Renewal Processes for Simulation of Nonstationary Arrival Processes", INFORMS J. Computing 21, 2009). The first
//! gap is drawn from the equilibrium distribution (Cox, "Renewal Theory", 1962, section 5.2): the process was running before the
//! run began, so the expected count in any span is exactly the integral of the rate, also for bursty gaps.

use libm::lgamma;
use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, Exp1, Gamma};
use tokentide_models::units::Time;

use super::rate::Clock;
use crate::scenario::{Gaps, Rate};
use crate::stream::{Purpose, Stream};

/// Smallest shape of a Weibull gap: a CV of 429. Higher CVs get this one.
const WEIBULL_SHAPE_MIN: f64 = 0.1;
/// Largest shape of a Weibull gap: a CV of 0.00128. Lower CVs are constant gaps.
const WEIBULL_SHAPE_MAX: f64 = 1000.0;

/// Arrival times of one class, in order.
#[derive(Clone, Debug)]
pub struct ArrivalTimes {
    gaps: GapSampler,
    clock: Clock,
    seed: u64,
    class: u64,
    drawn: u64,
}

impl ArrivalTimes {
    /// Arrivals of class `class` from time zero on.
    pub fn new(gaps: Gaps, rate: &Rate, seed: u64, class: u16) -> ArrivalTimes {
        ArrivalTimes { gaps: GapSampler::new(gaps), clock: Clock::new(rate), seed, class: u64::from(class), drawn: 0 }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Time;

    /// The next arrival; `None` once the rate is zero for ever, or 213 days are over.
    fn next(&mut self) -> Option<Time> {
        let mut rng = Stream::new(self.seed, Purpose::Arrival, self.class, self.drawn);
        let gap = if self.drawn == 0 { self.gaps.first(&mut rng) } else { self.gaps.next(&mut rng) };
        self.drawn += 1;
        self.clock.advance(gap)
    }
}

/// Gaps at unit mean.
#[derive(Clone, Debug)]
pub enum GapSampler {
    /// Always 1.
    Constant,
    /// Exponential.
    Exponential,
    /// Gamma, and the length-biased form of it.
    Gamma {
        /// Gaps: shape 1/cv^2, scale cv^2.
        gap: Gamma<f64>,
        /// The gap that covers a random instant: shape one higher.
        covering: Gamma<f64>,
    },
    /// `scale * Exp(1)^(1/shape)`.
    Weibull {
        /// Exponent 1/shape.
        power: f64,
        /// 1 / Gamma(1 + 1/shape).
        scale: f64,
        /// (gap that covers a random instant / scale)^shape is Gamma(1 + 1/shape).
        covering: Gamma<f64>,
    },
}

impl GapSampler {
    /// Precomputes the constants of `gaps`; a CV of 0 gives constant gaps.
    pub fn new(gaps: Gaps) -> GapSampler {
        match gaps {
            Gaps::Constant => GapSampler::Constant,
            Gaps::Poisson => GapSampler::Exponential,
            Gaps::Gamma { cv } => {
                let variance = cv * cv;
                match (Gamma::new(1.0 / variance, variance), Gamma::new(1.0 / variance + 1.0, variance)) {
                    (Ok(gap), Ok(covering)) => GapSampler::Gamma { gap, covering },
                    _ => GapSampler::Constant,
                }
            }
            Gaps::Weibull { cv } => match weibull_shape(cv).map(|shape| (shape, Gamma::new(1.0 + 1.0 / shape, 1.0))) {
                Some((shape, Ok(covering))) => {
                    GapSampler::Weibull { power: 1.0 / shape, scale: (-lgamma(1.0 + 1.0 / shape)).exp(), covering }
                }
                _ => GapSampler::Constant,
            },
        }
    }

    /// A gap between arrivals.
    #[inline]
    pub fn next<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        match self {
            GapSampler::Constant => 1.0,
            GapSampler::Exponential => Exp1.sample(rng),
            GapSampler::Gamma { gap, .. } => gap.sample(rng),
            GapSampler::Weibull { power, scale, .. } => {
                let x: f64 = Exp1.sample(rng);
                scale * x.powf(*power)
            }
        }
    }

    /// From the start to the first arrival: a uniform share of the gap that covers the start; half a gap for constant gaps, so that
    /// they stay free of randomness.
    pub fn first<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        match self {
            GapSampler::Constant => 0.5,
            GapSampler::Exponential => Exp1.sample(rng),
            GapSampler::Gamma { covering, .. } => covering.sample(rng) * rng.random::<f64>(),
            GapSampler::Weibull { power, scale, covering } => {
                let gap = scale * covering.sample(rng).powf(*power);
                gap * rng.random::<f64>()
            }
        }
    }
}

/// Shape of the Weibull distribution of coefficient of variation `cv`, by bisection: cv^2 = Gamma(1 + 2/k) / Gamma(1 + 1/k)^2 - 1
/// falls in k. `None` if the gaps are as good as constant.
pub fn weibull_shape(cv: f64) -> Option<f64> {
    let square = |shape: f64| (lgamma(1.0 + 2.0 / shape) - 2.0 * lgamma(1.0 + 1.0 / shape)).exp_m1();
    let target = cv * cv;
    if target.is_nan() || target <= square(WEIBULL_SHAPE_MAX) {
        return None;
    }
    let (mut low, mut high) = (WEIBULL_SHAPE_MIN, WEIBULL_SHAPE_MAX);
    if target >= square(low) {
        return Some(low);
    }
    // 100 halvings of the ratio 1e4 end at adjacent floats.
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        match square(middle) > target {
            true => low = middle,
            false => high = middle,
        }
    }
    Some((low * high).sqrt())
}
