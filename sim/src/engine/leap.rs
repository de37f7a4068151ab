//! How many identical steps fit before something happens.
//!
//! In a leap of `k` steps whose durations are `a, a + b, a + 2b, ...` the first `m` steps take `m a + b m (m - 1) / 2`, exactly.

use tokentide_models::units::{Duration, Time};

/// Steps to come that nothing but a delivery can change. They are run when time has passed them, or cut short when something is
/// delivered.
#[derive(Clone, Copy, Debug)]
pub struct Leap {
    /// How many.
    pub steps: u64,
    /// Their durations.
    pub durations: Progression,
    /// When the first of them starts.
    pub from: Time,
    /// When the first of them is scheduled: at its start, or one step earlier with asynchronous scheduling.
    pub scheduled: Time,
}

impl Leap {
    /// Steps of the leap that are scheduled before `time`.
    pub fn scheduled_before(&self, time: Time) -> u64 {
        let ahead = u64::from(self.scheduled < self.from);
        let steps = match time {
            _ if self.scheduled >= time => 0,
            _ if self.from >= time => ahead,
            _ => 1 + ahead + self.durations.steps_before(time - self.from, self.steps),
        };
        steps.min(self.steps)
    }

    /// The event after its last step was scheduled: the end of that step, or of the one before with asynchronous scheduling.
    pub fn next_event(&self) -> Time {
        let ahead = u64::from(self.scheduled < self.from);
        self.from + self.durations.sum(self.steps - ahead)
    }
}

/// Durations of consecutive steps: an arithmetic progression.
#[derive(Clone, Copy, Debug)]
pub struct Progression {
    /// First step [ps].
    pub first: u64,
    /// Growth from step to step [ps].
    pub slope: u64,
}

impl Progression {
    /// Duration of the first `steps` steps.
    pub fn sum(self, steps: u64) -> Duration {
        let (k, a, b) = (u128::from(steps), u128::from(self.first), u128::from(self.slope));
        let total = k * a + b * (k * k.saturating_sub(1) / 2);
        Duration(u64::try_from(total).expect("a leap of over 213 days"))
    }

    /// The largest number of steps, at most `wanted`, whose sum is less than `limit`.
    pub fn steps_before(self, limit: Duration, wanted: u64) -> u64 {
        let fits = |k: u64| {
            let (k, a, b) = (u128::from(k), u128::from(self.first), u128::from(self.slope));
            k * a + b * (k * k.saturating_sub(1) / 2) < u128::from(limit.0)
        };
        if limit == Duration::ZERO {
            return 0;
        }
        if fits(wanted) {
            return wanted;
        }
        // The guess is a float; the loops make it exact, and run a step or two.
        let (a, b, x) = (self.first as f64, self.slope as f64, limit.0 as f64);
        let half = a - b / 2.0;
        let guess = if self.slope == 0 { x / a } else { ((half * half + 2.0 * b * x).sqrt() - half) / b };
        let mut k = (guess.max(0.0) as u64).min(wanted);
        while k > 0 && !fits(k) {
            k -= 1;
        }
        while k < wanted && fits(k + 1) {
            k += 1;
        }
        k
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::mix;

    /// Against adding up step by step.
    #[test]
    fn closed_form_equals_addition() {
        for case in 0..2000u64 {
            let p = Progression { first: mix(case) % 50 + u64::from(case % 3 == 0), slope: mix(case + 7) % 5 };
            let limit = Duration(mix(case + 13) % 2000);
            let wanted = mix(case + 29) % 120;
            let (mut sum, mut steps) = (0, 0);
            let mut slow = 0;
            while steps <= wanted {
                assert_eq!(p.sum(steps), Duration(sum));
                if sum < limit.0 {
                    slow = steps;
                }
                sum += p.first + p.slope * steps;
                steps += 1;
            }
            assert_eq!(p.steps_before(limit, wanted), slow, "{p:?} {limit:?} {wanted}");
        }
    }
}
