//! Token counts: marginals, bounds, copula.

use super::*;
use crate::stream::{Purpose, Stream};
use crate::workload::distribution::{Sampler, TOKENS_MAX};

fn draws(distribution: &Distribution, count: usize) -> (Vec<f64>, u64) {
    let (sampler, mut clamped) = (Sampler::new(distribution), 0);
    let mut rng = Stream::new(5, Purpose::Lengths, 0, 0);
    ((0..count).map(|_| f64::from(sampler.tokens(&mut rng, &mut clamped))).collect(), clamped)
}

/// The same through the normal quantile.
fn draws_by_normal(distribution: &Distribution, count: usize) -> Vec<f64> {
    use rand_distr::Distribution as _;
    let sampler = Sampler::new(distribution);
    let mut rng = Stream::new(6, Purpose::Lengths, 0, 0);
    (0..count).map(|_| f64::from(sampler.tokens_at_normal(rand_distr::StandardNormal.sample(&mut rng), &mut 0))).collect()
}

#[test]
fn quantiles_are_the_declared_ones_both_ways() {
    let azure = vec![(0.0, 10.0), (0.05, 181.0), (0.25, 396.0), (0.5, 1020.0), (0.75, 1189.0), (0.95, 4083.0), (1.0, 14050.0)];
    let cases: Vec<(Distribution, Vec<(f64, f64)>)> = vec![
        (log_normal(900.0, 4000.0), vec![(0.5, 900.0), (0.95, 4000.0), (0.05, 900.0 * 900.0 / 4000.0)]),
        (Distribution::Exponential { mean: 500.0 }, vec![(0.5, 500.0 * 2f64.ln()), (0.95, 500.0 * 20f64.ln())]),
        (Distribution::Uniform { min: 100.0, max: 299.0 }, vec![(0.25, 149.0), (0.5, 199.0), (0.95, 289.0)]),
        (Distribution::Quantiles(azure), vec![(0.05, 181.0), (0.25, 396.0), (0.5, 1020.0), (0.75, 1189.0), (0.95, 4083.0)]),
    ];
    for (distribution, wanted) in cases {
        for values in [draws(&distribution, 200_000).0, draws_by_normal(&distribution, 200_000)] {
            for &(q, want) in &wanted {
                assert_near("quantile", quantile(&values, q), want, 0.03);
            }
        }
    }
}

#[test]
fn moments_agree_with_closed_forms_and_draws() {
    let sigma = (4000f64 / 900.0).ln() / 1.644_853_626_951_472_7;
    let mean_ln = 900.0 * (sigma * sigma / 2.0).exp();
    let (mean_got, deviation) = Sampler::new(&log_normal(900.0, 4000.0)).moments();
    assert_near("mean", mean_got, mean_ln, 1e-3);
    assert_near("cv", deviation / mean_got, ((sigma * sigma).exp() - 1.0).sqrt(), 5e-3);
    let (mean_got, deviation) = Sampler::new(&Distribution::Exponential { mean: 500.0 }).moments();
    assert_near("mean", mean_got, 500.0, 1e-3);
    assert_near("deviation", deviation, 500.0, 2e-3);
    let (mean_got, _) = Sampler::new(&Distribution::Uniform { min: 1.0, max: 6.0 }).moments();
    assert_near("mean", mean_got, 3.5, 1e-3);
}

#[test]
fn uniform_counts_include_both_ends_evenly() {
    let (values, _) = draws(&Distribution::Uniform { min: 1.0, max: 6.0 }, 60_000);
    for face in 1..=6 {
        let count = values.iter().filter(|v| **v == f64::from(face)).count() as f64;
        // Standard deviation 91.
        assert_near("face", count, 10_000.0, 0.04);
    }
    assert!(values.iter().all(|v| (1.0..=6.0).contains(v)));
}

#[test]
fn weights_are_normalised_and_order_does_not_matter() {
    let distribution = Distribution::Pmf(vec![(100.0, 3.0), (7.0, 1.0), (50.0, 0.0), (20.0, 6.0)]);
    for values in [draws(&distribution, 100_000).0, draws_by_normal(&distribution, 100_000)] {
        for (value, share) in [(7.0, 0.1), (20.0, 0.6), (100.0, 0.3), (50.0, 0.0)] {
            let got = values.iter().filter(|v| **v == value).count() as f64 / 1e5;
            assert!((got - share).abs() < 0.007, "{value}: {got}");
        }
    }
}

#[test]
fn bounds_hold_and_are_counted() {
    let distribution = Distribution::LogNormal { median: 100.0, p95: 400.0, min: 50.0, max: 400.0 };
    let (values, clamped) = draws(&distribution, 100_000);
    assert!(values.iter().all(|v| (50.0..=400.0).contains(v)));
    // P(below 50) = Phi(-ln 2 / sigma) = Phi(-0.8224) = 0.2054; P(above 400) = 0.05.
    assert_near("clamped", clamped as f64, 25_540.0, 0.02);
    let (values, clamped) = draws(&fixed(u32::MAX), 3);
    assert_eq!((values[0], clamped), (f64::from(TOKENS_MAX), 3));
}

#[test]
fn degenerate_distributions_do_not_panic() {
    let odd = [
        Distribution::Quantiles(vec![]),
        Distribution::Quantiles(vec![(0.0, 5.0)]),
        Distribution::Quantiles(vec![(0.0, 0.0), (0.5, 0.0), (0.5, 10.0), (1.0, 20.0)]),
        Distribution::Pmf(vec![]),
        Distribution::LogNormal { median: 0.0, p95: 0.0, min: 0.0, max: 10.0 },
        Distribution::LogNormal { median: 5.0, p95: 5.0, min: 0.0, max: f64::INFINITY },
        Distribution::Exponential { mean: 0.0 },
        Distribution::Fixed(-3.0),
        Distribution::Fixed(f64::NAN),
    ];
    for distribution in odd {
        draws(&distribution, 1000);
        draws_by_normal(&distribution, 1000);
    }
    let sampler = Sampler::new(&Distribution::Quantiles(vec![(0.0, 0.0), (1.0, 100.0)]));
    assert_eq!((sampler.tokens_at_normal(-40.0, &mut 0), sampler.tokens_at_normal(40.0, &mut 0)), (0, 100));
}

#[test]
fn empty_prompts_and_answers_are_one_token() {
    let requests = all(&[class("c", 1.0, vec![part(Source::System, fixed(0))], fixed(0))], 1, first(10));
    assert!(requests.iter().all(|r| r.input_tokens == 1 && r.output_tokens == 1 && r.sources[Source::User as usize] == 1));
    let mut generator = Generator::of(&[class("c", 1.0, vec![], fixed(0))], 1, first(10), 1 << 17);
    while generator.next().is_some() {}
    assert_eq!(generator.clamped(), 20);
}

fn correlation(prompt: Vec<PromptPart>, declared: f64) -> (f64, Vec<f64>) {
    let mut class = class("c", 1.0, prompt, log_normal(200.0, 800.0));
    class.correlation = declared;
    let requests = all(&[class], 21, first(150_000));
    let input: Vec<f64> = requests.iter().map(|r| f64::from(r.input_tokens)).collect();
    let output: Vec<f64> = requests.iter().map(|r| f64::from(r.output_tokens)).collect();
    (spearman(&input, &output), output)
}

/// The standard error of Spearman's rho of 150,000 pairs is at most 0.0026. Taking the rank correlation for that of the normal
/// variables would miss 0.5 by 0.017.
#[test]
fn input_and_output_have_the_declared_rank_correlation() {
    for declared in [-0.9, -0.468, 0.0, 0.5, 1.0] {
        let (got, output) =
            correlation(vec![part(Source::System, fixed(500)), part(Source::User, log_normal(1000.0, 4000.0))], declared);
        assert!((got - declared).abs() < 0.009, "{got} for {declared}");
        assert_near("median", quantile(&output, 0.5), 200.0, 0.03);
        assert_near("p95", quantile(&output, 0.95), 800.0, 0.03);
    }
    // Several variable parts: approximate, and still close.
    let mut chunks = part(Source::Retrieved, log_normal(400.0, 900.0));
    chunks.count = 4;
    let (got, _) = correlation(vec![chunks, part(Source::User, log_normal(800.0, 2500.0))], 0.5);
    assert!((got - 0.5).abs() < 0.05, "{got}");
}
