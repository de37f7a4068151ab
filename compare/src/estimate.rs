//! What runs by several seeds say of a value: its mean, and how far off that may be.

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::metrics::student_t;

use crate::assertion::Against;

/// A value and its confidence interval. Infinite bounds mean that nothing is known on that side, an infinite value that there is
/// no steady one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Estimate {
    /// Mean over the seeds.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// Of a value that is known.
    pub fn exact(value: f64) -> Estimate {
        Estimate { value, low: value, high: value }
    }

    /// Of one value per seed, by Student's t; `None` if there is none. One seed tells nothing about the others.
    pub fn of(values: &[f64], confidence: f64) -> Option<Estimate> {
        let n = values.len();
        let infinite = values.iter().filter(|v| v.is_infinite()).count();
        if n == 0 || values.iter().any(|v| v.is_nan()) {
            return None;
        }
        if infinite == n && values.iter().all(|v| *v == values[0]) {
            return Some(Estimate::exact(values[0]));
        }
        if infinite > 0 {
            return Some(Estimate { value: f64::INFINITY, low: f64::NEG_INFINITY, high: f64::INFINITY });
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        if n == 1 {
            return Some(Estimate { value: mean, low: f64::NEG_INFINITY, high: f64::INFINITY });
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        let half = student_t(confidence, n as u32 - 1) * (variance / n as f64).sqrt();
        Some(Estimate { value: mean, low: mean - half, high: mean + half })
    }

    /// Of how two series of one value per seed stand to each other, pair by pair; `None` if some pair says nothing. Relative
    /// changes are averaged as logarithms of the ratio: the mean of ratios of two noisy values lies above the ratio of their means,
    /// so that no change would look like growth.
    pub fn paired(against: Against, base: &[Option<f64>], head: &[Option<f64>], confidence: f64) -> Option<Estimate> {
        let compared = paired(against, base, head);
        if against != Against::Change || compared.iter().any(|c| !c.is_finite() || *c <= -1.0) {
            return Estimate::of(&compared, confidence);
        }
        let logarithms: Vec<f64> = compared.iter().map(|c| libm::log1p(*c)).collect();
        let Estimate { value, low, high } = Estimate::of(&logarithms, confidence)?;
        Some(Estimate { value: libm::expm1(value), low: libm::expm1(low), high: libm::expm1(high) })
    }

    /// Whether it is certain that the value is not `limit`.
    pub fn excludes(&self, limit: f64) -> bool {
        self.low > limit || self.high < limit
    }

    /// Half of the interval's width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// What is held against a limit, of one pair of values; NaN where the pair says nothing.
pub fn compared(against: Against, base: Option<f64>, head: Option<f64>) -> f64 {
    let (Some(head), base) = (head, base) else { return f64::NAN };
    match (against, base) {
        (Against::Value, _) => head,
        (_, None) => f64::NAN,
        // Two that grow for ever differ by nothing that could be told.
        (_, Some(base)) if base.is_infinite() && head.is_infinite() => f64::NAN,
        (_, Some(base)) if base == head => 0.0,
        (Against::Difference, Some(base)) => head - base,
        (Against::Change, Some(0.0)) => f64::INFINITY.copysign(head),
        (Against::Change, Some(base)) if base.is_infinite() => f64::NEG_INFINITY,
        (Against::Change, Some(base)) => head / base - 1.0,
    }
}

/// The same for two series of one value per seed, pair by pair.
pub fn paired(against: Against, base: &[Option<f64>], head: &[Option<f64>]) -> Vec<f64> {
    let of = |i: usize| compared(against, base.get(i).copied().flatten(), head[i]);
    (0..head.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        // t of 0.95 and 3 degrees of freedom is 3.182; the standard error of 1, 2, 3, 4 is sqrt(5/3)/2.
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0], 0.95).expect("four values");
        assert_eq!(estimate.value, 2.5);
        assert!((estimate.half_width() - 3.182 * (5.0f64 / 3.0).sqrt() / 2.0).abs() < 1e-3);
        assert!(!estimate.excludes(1.0) && estimate.excludes(0.4) && estimate.excludes(4.6));
    }

    #[test]
    fn what_is_not_known_is_not_excluded() {
        assert!(!Estimate::of(&[5.0], 0.95).expect("one").excludes(1.0), "one seed says nothing of the others");
        assert!(!Estimate::of(&[5.0, f64::INFINITY], 0.95).expect("two").excludes(1.0), "one is stable, one is not");
        assert!(Estimate::of(&[f64::INFINITY, f64::INFINITY], 0.95).expect("two").excludes(1.0), "none is stable");
        assert_eq!((Estimate::of(&[], 0.95), Estimate::of(&[1.0, f64::NAN], 0.95)), (None, None));
        assert!(Estimate::of(&[3.0, 3.0, 3.0], 0.95).expect("three").excludes(2.999));
    }

    #[test]
    fn changes_have_no_direction_of_their_own() {
        let (one, other) = ([Some(100.0), Some(200.0), Some(150.0)], [Some(200.0), Some(100.0), Some(150.0)]);
        let change = Estimate::paired(Against::Change, &one, &other, 0.95).expect("three pairs");
        assert!(change.value.abs() < 1e-12 && (change.low + 1.0) * (change.high + 1.0) - 1.0 < 1e-9, "{change:?}");
        let twice = Estimate::paired(Against::Change, &[Some(1.0), Some(3.0)], &[Some(2.0), Some(6.0)], 0.95).expect("two pairs");
        assert!((twice.value - 1.0).abs() < 1e-12 && (twice.high - 1.0).abs() < 1e-9);
        let alone = Estimate::paired(Against::Change, &[Some(2.0)], &[Some(3.0)], 0.95).expect("a pair");
        assert_eq!((alone.low, alone.high), (-1.0, f64::INFINITY));
    }

    #[test]
    fn pairs_are_compared() {
        assert_eq!(compared(Against::Change, Some(4.0), Some(5.0)), 0.25);
        assert_eq!(compared(Against::Difference, Some(4.0), Some(5.0)), 1.0);
        assert_eq!(compared(Against::Value, None, Some(5.0)), 5.0);
        assert_eq!(compared(Against::Change, Some(0.0), Some(0.0)), 0.0);
        assert_eq!(compared(Against::Change, Some(0.0), Some(1.0)), f64::INFINITY);
        assert!(compared(Against::Change, Some(f64::INFINITY), Some(f64::INFINITY)).is_nan());
        assert_eq!(compared(Against::Change, Some(3.0), Some(f64::INFINITY)), f64::INFINITY);
        assert!(compared(Against::Change, None, Some(1.0)).is_nan() && compared(Against::Value, Some(1.0), None).is_nan());
    }
}
