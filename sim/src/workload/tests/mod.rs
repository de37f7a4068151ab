//! Tests of the workload: what is realised against what was declared.

mod arrivals;
mod classes;
mod lengths;
mod sessions;

use tokentide_models::units::Time;

use super::generator::Generator;
use super::{Request, RequestSource};
use crate::scenario::{Arrivals, Class, Distribution, Gaps, Horizon, Output, PromptPart, Rate, Slo, Source};

/// A class with Poisson arrivals, `rate` [1/s].
fn class(name: &str, rate: f64, prompt: Vec<PromptPart>, output: Distribution) -> Class {
    Class {
        name: name.to_owned(),
        tenant: None,
        route: None,
        priority: 0,
        arrivals: Some(Arrivals::Open { gaps: Gaps::Poisson, rate: Rate::Constant(rate) }),
        prompt,
        output: Output { max_tokens: None, tokens: output },
        correlation: 0.0,
        session: None,
        timeout: None,
        slo: Slo::default(),
    }
}

fn part(source: Source, tokens: Distribution) -> PromptPart {
    PromptPart { source, tokens, count: 1, shared: false, assumed: None }
}

fn shared(source: Source, tokens: Distribution) -> PromptPart {
    PromptPart { source, tokens, count: 1, shared: true, assumed: None }
}

fn fixed(tokens: u32) -> Distribution {
    Distribution::Fixed(f64::from(tokens))
}

fn log_normal(median: f64, p95: f64) -> Distribution {
    Distribution::LogNormal { median, p95, min: 0.0, max: 1e9 }
}

fn first(requests: u64) -> Horizon {
    Horizon { duration: None, requests: Some(requests) }
}

fn until(seconds: f64) -> Horizon {
    Horizon { duration: Some(Time::from_secs_f64(seconds)), requests: None }
}

/// All requests of an open-loop workload.
fn all(classes: &[Class], seed: u64, horizon: Horizon) -> Vec<Request> {
    let mut generator = Generator::of(classes, seed, horizon, 1 << 17);
    let mut requests = Vec::new();
    while let Some(time) = generator.peek() {
        let request = generator.next().expect("peek and next agree");
        assert_eq!(request.arrival, time);
        assert_eq!(request.id, requests.len() as u64);
        assert_eq!(request.sources.iter().sum::<u32>(), request.input_tokens);
        requests.push(request);
    }
    assert!(generator.next().is_none());
    assert!(requests.is_sorted_by_key(|r| r.arrival));
    requests
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn cv(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt() / mean
}

/// Nearest-rank quantile.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// Spearman's rank correlation, ties by their mean rank.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
        let mut ranks = vec![0.0; values.len()];
        let mut i = 0;
        while i < order.len() {
            let j = (i..order.len()).take_while(|&j| values[order[j]] == values[order[i]]).last().unwrap_or(i);
            order[i..=j].iter().for_each(|&k| ranks[k] = (i + j) as f64 / 2.0);
            i = j + 1;
        }
        ranks
    };
    let (x, y) = (ranks(a), ranks(b));
    let (mx, my) = (mean(&x), mean(&y));
    let product: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let square = |v: &[f64], m: f64| v.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    product / (square(&x, mx) * square(&y, my)).sqrt()
}

fn assert_near(what: &str, got: f64, want: f64, relative: f64) {
    assert!((got - want).abs() <= relative * want.abs(), "{what}: {got}, expected {want} within {relative}");
}
