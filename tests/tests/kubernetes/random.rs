//! Configurations that a manifest can say, from a seed.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokentide_autoscale::config::*;
use tokentide_autoscale::manifest::About;
use tokentide_models::units::Duration;

const QUERIES: [&str; 6] = [
    "sum(vllm:num_requests_running{model_name=\"m\"} + vllm:num_requests_waiting{model_name=\"m\"})",
    "vllm:num_requests_waiting",
    "sum(vllm:num_requests_waiting)",
    "sum by (pod) (rate(vllm:prompt_tokens_total{route=~\"a|b\\\\.c\", x='# no comment: really'}[1m] offset 30s)) or vector(0)",
    "yes",
    "histogram_quantile(0.95,\n  sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))",
];

/// With KEDA or without.
pub fn autoscaler(seed: u64) -> Autoscaler {
    let mut rng = SmallRng::seed_from_u64(seed);
    let keda = rng.random_bool(0.5);
    let request = rng.random_range(1..100_000);
    let metrics: Vec<_> = (0..rng.random_range(1..4)).map(|i| metric(&mut rng, i, keda, request)).collect();
    // KEDA's minimum of 0 needs something else than CPU.
    let only_cpu = metrics.iter().all(|metric| matches!(metric.source, MetricSource::Cpu { .. }));
    let min = rng.random_range(u32::from(!keda || only_cpu)..50);
    let behavior = rng.random_bool(0.5).then(|| Behavior { scale_up: rules(&mut rng), scale_down: rules(&mut rng) });
    let hpa = Hpa { min_replicas: min.max(1), max_replicas: rng.random_range(50..1_000), metrics, behavior };
    let keda = keda.then(|| settings(&mut rng, min, &hpa.metrics));
    let (flags, prometheus) = (Flags::default(), Prometheus::default());
    Autoscaler { name: format!("seed-{seed}.yaml"), hpa, flags, keda, prometheus, notes: Vec::new() }
}

/// Names and comments, one of them of a field that is always there.
pub fn about(seed: u64) -> About {
    let mut about = About::new("chat-8b");
    about.head = vec!["found: by a search".to_owned(), "--- seed".to_owned()];
    let path = if autoscaler(seed).keda.is_some() { "spec.maxReplicaCount" } else { "spec.maxReplicas" };
    about.comments.insert(path.to_owned(), "the most: 8 # at 120 requests/s".to_owned());
    about.comments.insert("spec.none".to_owned(), "nowhere".to_owned());
    about
}

fn metric(rng: &mut SmallRng, i: usize, keda: bool, request: i64) -> Metric {
    let value = if rng.random_bool(0.5) { rng.random_range(1..100_000) } else { rng.random_range(1..1_000_000) * 1_000 };
    let query = QUERIES[rng.random_range(0..QUERIES.len())].to_owned();
    let (source, target) = match rng.random_range(0..if keda { 3 } else { 4 }) {
        0 if i == 0 && rng.random_bool(0.5) => (MetricSource::Cpu { request }, Target::AverageValue(value)),
        0 if i == 0 => (MetricSource::Cpu { request }, Target::Utilization(rng.random_range(1..200))),
        0 | 1 => (MetricSource::External { query }, Target::Value(value)),
        2 => (MetricSource::External { query }, Target::AverageValue(value)),
        _ => (MetricSource::Pods { query }, Target::AverageValue(value)),
    };
    let name = match &source {
        MetricSource::Cpu { .. } => "cpu".to_owned(),
        _ if keda && rng.random_bool(0.5) => format!("s{i}-prometheus"),
        _ => ["in flight", "yes", "backlog:s", "vllm:kv_cache_usage_perc"][rng.random_range(0..4)].to_owned() + &"'".repeat(i),
    };
    Metric { name, source, target }
}

fn rules(rng: &mut SmallRng) -> Rules {
    let policy = |rng: &mut SmallRng| Policy {
        percent: rng.random_bool(0.5),
        value: rng.random_range(1..1_000),
        period: seconds(rng.random_range(1..1_801)),
    };
    Rules {
        stabilization: seconds(rng.random_range(0..3_601)),
        select: [Select::Max, Select::Min, Select::Disabled][rng.random_range(0..3)],
        policies: (0..rng.random_range(1..4)).map(|_| policy(rng)).collect(),
        tolerance: rng.random_bool(0.3).then(|| rng.random_range(0..500)),
    }
}

fn settings(rng: &mut SmallRng, min: u32, metrics: &[Metric]) -> Keda {
    let external = |metric: &Metric| matches!(metric.source, MetricSource::External { .. });
    Keda {
        polling: seconds(rng.random_range(1..300)),
        cooldown: seconds(rng.random_range(0..3_000)),
        initial_cooldown: seconds(rng.random_range(0..3)),
        min_replicas: min,
        idle: (min > 0 && rng.random_bool(0.3)).then_some(0),
        activation: metrics.iter().map(|m| if external(m) { f64::from(rng.random_range(0..100)) / 8.0 } else { 0.0 }).collect(),
        cached: metrics.iter().map(|m| external(m) && rng.random_bool(0.3)).collect(),
        fallback: rng.random_bool(0.3).then(|| Fallback { failures: rng.random_range(0..9), replicas: rng.random_range(0..99) }),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs_f64(f64::from(seconds))
}
