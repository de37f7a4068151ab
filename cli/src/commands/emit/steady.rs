//! A scenario as one replica under steady load.

use tokentide_models::units::Time;
use tokentide_sim::scenario::{Arrivals, ClusterConfig, Horizon, Rate, Scenario};

use crate::exit::Failure;

/// Time before figures count [s].
const WARMUP_S: f64 = 60.0;
/// Least time that counts [s].
const LEAST_S: f64 = 900.0;
/// Requests that a 95th or 99th percentile needs to be told from a limit.
const REQUESTS: f64 = 3_000.0;

/// One replica of the scenario, every class at its mean rate times `factor`: a limit is to hold under load that lasts, and not
/// only in the mean of a day. A trace keeps its shape and comes that many times faster.
///
/// # Errors
/// If clients of a closed loop decide for themselves how many requests are in flight.
pub fn steady(scenario: &Scenario, factor: f64) -> Result<Scenario, Failure> {
    let mut steady = scenario.clone();
    steady.cluster = ClusterConfig::fixed(1, scenario.cluster.router);
    if let Some(trace) = &mut steady.trace {
        trace.rate_scale *= factor;
        return Ok(steady);
    }
    let mut total = 0.0;
    for class in &mut steady.classes {
        match &mut class.arrivals {
            Some(Arrivals::Open { rate, .. }) => {
                let mean = mean(rate) * factor;
                total += mean;
                *rate = Rate::Constant(mean);
            }
            Some(Arrivals::Closed { .. }) => {
                return Err(Failure::with_help(
                    format!(
                        "class `{}` is a closed loop: its clients decide how many requests are in flight, whatever the load",
                        class.name
                    ),
                    "give it arrivals with a rate, such as arrivals = { process = \"poisson\", rate = 2.0 }",
                ));
            }
            None => {}
        }
    }
    let counted = if total > 0.0 { (REQUESTS / total).max(LEAST_S) } else { LEAST_S };
    steady.warmup = Time::from_secs_f64(WARMUP_S);
    steady.horizon = Horizon { duration: Some(Time::from_secs_f64(WARMUP_S + counted)), requests: None };
    Ok(steady)
}

/// Mean of a rate over its period, or over its points if it has none [1/s].
fn mean(rate: &Rate) -> f64 {
    match rate {
        Rate::Constant(rate) => *rate,
        Rate::Diurnal { base, .. } => *base,
        Rate::Bursts { base, peak, every, length } => base + (peak - base) * length.as_secs_f64() / every.as_secs_f64(),
        Rate::Piecewise { points, period } => {
            let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
            let end = period.map_or(last.0, |period| period.max(last.0)).as_secs_f64();
            if end <= 0.0 {
                return first.1;
            }
            let area = |pair: &[(Time, f64)]| (pair[1].0.as_secs_f64() - pair[0].0.as_secs_f64()) * (pair[0].1 + pair[1].1) / 2.0;
            let rest = (end - last.0.as_secs_f64()) * last.1;
            (points.windows(2).map(area).sum::<f64>() + rest) / end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_curve_is_its_area_over_its_period() {
        let at = Time::from_secs_f64;
        let points = vec![(at(0.0), 0.0), (at(10.0), 4.0)];
        assert_eq!(mean(&Rate::Piecewise { points: points.clone(), period: None }), 2.0);
        assert_eq!(mean(&Rate::Piecewise { points, period: Some(at(20.0)) }), 3.0);
        assert_eq!(mean(&Rate::Piecewise { points: vec![(at(0.0), 7.0)], period: None }), 7.0);
        assert_eq!(mean(&Rate::Bursts { base: 1.0, peak: 5.0, every: at(100.0), length: at(25.0) }), 2.0);
        assert_eq!(mean(&Rate::Diurnal { base: 3.0, amplitude: 0.5, period: at(60.0), phase: 0.0 }), 3.0);
    }
}
