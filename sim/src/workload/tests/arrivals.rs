//! Gaps, rate curves, superposition.

use tokentide_models::units::Time;

use super::*;
use crate::workload::arrivals::{ArrivalTimes, GapSampler, weibull_shape};
use crate::workload::rate::Clock;

fn seconds(rate: &Rate, gaps: Gaps, seed: u64, end: f64) -> Vec<f64> {
    ArrivalTimes::new(gaps, rate, seed, 0).map(Time::as_secs_f64).take_while(|&t| t < end).collect()
}

fn at(t: f64) -> Time {
    Time::from_secs_f64(t)
}

#[test]
fn gaps_have_their_mean_and_cv() {
    let families = [
        (Gaps::Poisson, 1.0),
        (Gaps::Gamma { cv: 0.3 }, 0.3),
        (Gaps::Gamma { cv: 2.5 }, 2.5),
        (Gaps::Weibull { cv: 0.5 }, 0.5),
        (Gaps::Weibull { cv: 2.0 }, 2.0),
    ];
    for (gaps, want) in families {
        let times = seconds(&Rate::Constant(4.0), gaps, 7, 100_000.0);
        let gaps_s: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        // 400,000 gaps: the mean's standard error is cv / 632, the CV's a few times that for heavy tails.
        assert_near("mean", mean(&gaps_s), 0.25, 5.0 * f64::max(want, 0.5) / 632.0);
        assert_near("cv", cv(&gaps_s), want, 0.04);
    }
}

#[test]
fn a_cv_of_zero_and_constant_gaps_are_equal_gaps() {
    for gaps in [Gaps::Constant, Gaps::Gamma { cv: 0.0 }, Gaps::Weibull { cv: 0.0 }] {
        let times = seconds(&Rate::Constant(8.0), gaps, 1, 10.0);
        assert_eq!(times.len(), 80);
        assert!(times.iter().enumerate().all(|(i, t)| *t == (i as f64 + 0.5) / 8.0), "{gaps:?}");
    }
}

#[test]
fn weibull_shapes_solve_their_cv() {
    // Exponential; shape 2 is Rayleigh: sqrt(4/pi - 1); shape 0.5: sqrt(Gamma(5)/Gamma(3)^2 - 1) = sqrt 5.
    for (cv, shape) in [(1.0, 1.0), ((4.0 / std::f64::consts::PI - 1.0).sqrt(), 2.0), (5f64.sqrt(), 0.5)] {
        assert_near("shape", weibull_shape(cv).unwrap(), shape, 1e-9);
    }
    // Gamma(21) / Gamma(11)^2 - 1 = 20! / 10!^2 - 1 = 184755 at shape 0.1.
    assert_near("lowest", weibull_shape(184_755f64.sqrt() * 0.999).unwrap(), 0.1, 1e-3);
    assert_eq!(weibull_shape(1e6), Some(0.1));
    assert_eq!(weibull_shape(0.0), None);
    assert_eq!(weibull_shape(f64::NAN), None);
}

/// Over many seeds the count in the first seconds has the rate's mean, although the gaps are bursty: the start is in equilibrium.
#[test]
fn bursty_processes_start_in_equilibrium() {
    for gaps in [Gaps::Gamma { cv: 4.0 }, Gaps::Weibull { cv: 4.0 }, Gaps::Gamma { cv: 0.4 }] {
        let counts: Vec<f64> = (0..20_000).map(|seed| seconds(&Rate::Constant(1.0), gaps, seed, 3.0).len() as f64).collect();
        let error = cv(&counts) / (counts.len() as f64).sqrt();
        assert_near("count", mean(&counts), 3.0, 4.0 * error);
    }
}

/// The integral of the rate up to each arrival is the sum of the gaps: the inverse is exact, whatever the curve.
#[test]
fn clocks_invert_the_integral_of_the_rate() {
    let piecewise =
        vec![(at(0.0), 0.0), (at(10.0), 4.0), (at(20.0), 4.0), (at(20.0), 1.0), (at(30.0), 0.0), (at(40.0), 0.0), (at(45.0), 2.0)];
    let curves = [
        Rate::Piecewise { points: piecewise.clone(), period: None },
        Rate::Piecewise { points: piecewise.clone(), period: Some(at(60.0)) },
        Rate::Piecewise { points: piecewise, period: Some(at(15.0)) },
        Rate::Diurnal { base: 3.0, amplitude: 1.0, period: at(50.0), phase: 0.6 },
        Rate::Diurnal { base: 3.0, amplitude: 0.5, period: at(0.01), phase: 0.0 },
        Rate::Bursts { base: 0.5, peak: 20.0, every: at(7.0), length: at(0.5) },
        Rate::Bursts { base: 0.0, peak: 20.0, every: at(7.0), length: at(0.5) },
    ];
    for rate in &curves {
        let mut clock = Clock::new(rate);
        let (mut before, mut gaps) = (0.0, [0.3, 1.7, 0.0001, 45.0, 2.2, 0.9, 130.0].into_iter().cycle());
        for _ in 0..400 {
            let gap = gaps.next().unwrap();
            let time = clock.advance(gap).unwrap().as_secs_f64();
            assert!(time >= before, "{rate:?}");
            let grown = integral(rate, before, time);
            assert!((grown - gap).abs() < 1e-4 * gap.max(0.1), "{rate:?}: {grown} for {gap} from {before} to {time}");
            before = time;
        }
    }
}

/// Slow and obvious: the midpoint rule within every half second, where all curves of these tests have their corners.
fn integral(rate: &Rate, from: f64, to: f64) -> f64 {
    let cells = (from * 2.0).floor() as u64..(to * 2.0).ceil() as u64;
    cells
        .map(|cell| {
            let (low, high) = ((cell as f64 / 2.0).max(from), ((cell + 1) as f64 / 2.0).min(to));
            let step = (high - low) / 400.0;
            (0..400).map(|i| value(rate, low + (f64::from(i) + 0.5) * step)).sum::<f64>() * step
        })
        .sum()
}

fn value(rate: &Rate, t: f64) -> f64 {
    match rate {
        Rate::Constant(rate) => *rate,
        Rate::Piecewise { points, period } => {
            let t = period.map_or(t, |p| t % p.as_secs_f64());
            let i = points.partition_point(|p| p.0.as_secs_f64() <= t);
            let (Some(next), last) = (points.get(i), points[i - 1]) else { return points[i - 1].1 };
            let (from, to) = (last.0.as_secs_f64(), next.0.as_secs_f64());
            last.1 + (next.1 - last.1) * (t - from) / (to - from)
        }
        Rate::Diurnal { base, amplitude, period, phase } => {
            base * (1.0 + amplitude * (std::f64::consts::TAU * (t / period.as_secs_f64() + phase)).sin())
        }
        Rate::Bursts { base, peak, every, length } => {
            let in_burst = t >= every.as_secs_f64() && t % every.as_secs_f64() < length.as_secs_f64();
            if in_burst { *peak } else { *base }
        }
    }
}

#[test]
fn counts_follow_the_curve_and_keep_their_variance() {
    let rate = Rate::Diurnal { base: 20.0, amplitude: 0.8, period: at(100.0), phase: 0.0 };
    let runs: Vec<Vec<f64>> = (0..400).map(|seed| seconds(&rate, Gaps::Poisson, seed, 100.0)).collect();
    for window in 0..10 {
        let (low, high) = (f64::from(window) * 10.0, f64::from(window + 1) * 10.0);
        let counts: Vec<f64> = runs.iter().map(|r| r.iter().filter(|&&t| t >= low && t < high).count() as f64).collect();
        let want = integral(&rate, low, high);
        assert_near("count", mean(&counts), want, 4.0 / (400.0 * want).sqrt());
        // A Poisson process stays one under a change of time: the variance is the mean.
        assert_near("dispersion", (cv(&counts) * mean(&counts)).powi(2) / want, 1.0, 0.3);
    }
}

#[test]
fn rates_of_zero_end_the_arrivals_or_pause_them() {
    assert_eq!(ArrivalTimes::new(Gaps::Poisson, &Rate::Constant(0.0), 1, 0).count(), 0);
    let stops = Rate::Piecewise { points: vec![(at(0.0), 5.0), (at(10.0), 5.0), (at(10.0), 0.0)], period: None };
    let times: Vec<Time> = ArrivalTimes::new(Gaps::Constant, &stops, 1, 0).collect();
    assert_eq!((times.len(), times[49] <= at(10.0)), (50, true));
    let never = Rate::Piecewise { points: vec![(at(0.0), 0.0)], period: Some(at(60.0)) };
    assert_eq!(ArrivalTimes::new(Gaps::Poisson, &never, 1, 0).count(), 0);
    let silent = Rate::Bursts { base: 0.0, peak: 0.0, every: at(5.0), length: at(1.0) };
    assert_eq!(ArrivalTimes::new(Gaps::Poisson, &silent, 1, 0).count(), 0);
    let only_bursts = Rate::Bursts { base: 0.0, peak: 10.0, every: at(5.0), length: at(1.0) };
    let times = seconds(&only_bursts, Gaps::Poisson, 1, 500.0);
    assert!(times.len() > 800 && times.iter().all(|t| *t >= 5.0 && t % 5.0 <= 1.0));
}

#[test]
fn superposed_classes_add_up() {
    let classes: Vec<Class> = [3.0, 5.0, 12.0].map(|rate| class("c", rate, vec![part(Source::User, fixed(10))], fixed(5))).into();
    let requests = all(&classes, 11, until(5_000.0));
    assert_near("total", requests.len() as f64, 100_000.0, 4.0 / 316.0);
    let counts = [0, 1, 2].map(|c| requests.iter().filter(|r| r.class == c).count() as f64 / 5_000.0);
    for (got, want) in counts.into_iter().zip([3.0, 5.0, 12.0]) {
        assert_near("rate", got, want, 0.04);
    }
}

#[test]
fn gamma_gaps_of_azure_code_are_drawn_at_all() {
    let sampler = GapSampler::new(Gaps::Gamma { cv: 13.15 });
    let mut rng = crate::stream::Stream::new(3, crate::stream::Purpose::Arrival, 0, 0);
    let gaps: Vec<f64> = (0..2_000_000).map(|_| sampler.next(&mut rng)).collect();
    assert!(gaps.iter().all(|g| g.is_finite() && *g >= 0.0));
    assert_near("mean", mean(&gaps), 1.0, 4.0 * 13.15 / 1414.0);
}
