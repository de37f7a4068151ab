//! A resolved scenario in words: each value, and whether somebody set it.

use serde::Serialize;
use tokentide_models::capture_sizes::CaptureSizes;
use tokentide_models::units::Time;
use tokentide_sim::scenario::{Policy, Router, Scenario};

/// One value of a resolved scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Path as in the file and in `--set`.
    pub path: String,
    /// The value, as it would be written in the file.
    pub value: String,
    /// `--seed`, `--set`, `file` or `default`.
    pub origin: &'static str,
}

/// What the scenario is, in a line.
pub fn one_line(scenario: &Scenario) -> String {
    let deployment = &scenario.deployment;
    let classes = match (&scenario.trace, scenario.classes.len()) {
        (Some(trace), _) => format!("trace {}", trace.path.display()),
        (None, 1) => "1 class".to_owned(),
        (None, n) => format!("{n} classes"),
    };
    format!(
        "{classes}, {} on {} x {} {} ({})",
        deployment.model.name,
        scenario.cluster.replicas,
        deployment.gpus(),
        deployment.gpu.name,
        if scenario.cost_info.calibrated { "calibrated" } else { "uncalibrated" },
    )
}

/// Every setting, by section. `text` is the scenario's file, `set` what `--set` changed, `seed` what `--seed` did.
pub fn settings(scenario: &Scenario, text: &str, set: &[(String, String)], seed: Option<u64>) -> Vec<Setting> {
    let file = text.parse::<toml::Table>().unwrap_or_default();
    let origin = |path: &str| {
        if path == "seed" && seed.is_some() {
            "--seed"
        } else if set.iter().any(|(p, _)| p == path || path.starts_with(&format!("{p}.")) || p.starts_with(&format!("{path}."))) {
            "--set"
        } else if in_file(&file, path) {
            "file"
        } else {
            "default"
        }
    };
    let all = [general(scenario), tokenizer(scenario), deployment(scenario), engine(scenario), cluster(scenario)].concat();
    all.into_iter().map(|(path, value)| Setting { origin: origin(path), path: path.to_owned(), value }).collect()
}

fn in_file(file: &toml::Table, path: &str) -> bool {
    let mut keys = path.split('.');
    let first = keys.next().and_then(|key| file.get(key));
    keys.try_fold(first, |value, key| value.map(|v| v.get(key))).flatten().is_some()
}

type Row = (&'static str, String);

fn quoted(text: impl std::fmt::Display) -> String {
    format!("\"{text}\"")
}

fn seconds(time: Time) -> String {
    quoted(format!("{}s", time.as_secs_f64()))
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or("none".to_owned(), |v| v.to_string())
}

fn general(s: &Scenario) -> Vec<Row> {
    vec![
        ("name", quoted(&s.name)),
        ("seed", s.seed.to_string()),
        ("duration", s.horizon.duration.map_or("none".to_owned(), seconds)),
        ("requests", or_none(s.horizon.requests)),
        ("warmup", seconds(s.warmup)),
        ("near_context_limit", s.near_context_limit.to_string()),
        ("buckets.input", format!("{:?}", s.input_buckets)),
        ("buckets.output", format!("{:?}", s.output_buckets)),
    ]
}

/// Who counts prompt files, if there are any.
fn tokenizer(s: &Scenario) -> Vec<Row> {
    s.tokenizer.iter().map(|id| ("tokenizer", quoted(id))).collect()
}

fn deployment(s: &Scenario) -> Vec<Row> {
    let d = &s.deployment;
    let host = &s.cost_info.host;
    vec![
        ("model.name", quoted(&d.model.name)),
        ("model.weights", quoted(d.weights.name())),
        ("gpu.name", quoted(&d.gpu.name)),
        ("gpu.tensor_parallel", d.tensor_parallel.to_string()),
        ("gpu.pipeline_parallel", d.pipeline_parallel.to_string()),
        ("gpu.data_parallel", d.data_parallel.to_string()),
        ("gpu.expert_parallel", d.expert_parallel.to_string()),
        ("gpu.price_per_hour", d.gpu.price_per_hour.to_string()),
        ("cost.profile", quoted(s.cost_info.profile.as_deref().unwrap_or(s.cost_info.kind))),
        ("host.step_us", host.step_us.to_string()),
        ("host.layer_us", host.layer_us.to_string()),
        ("host.sync_us", host.sync_us.to_string()),
        ("host.schedule_us", host.schedule_us.to_string()),
        ("host.schedule_sequence_us", host.schedule_sequence_us.to_string()),
        ("host.request_us", host.request_us.to_string()),
        ("host.arrival_us", host.arrival_us.to_string()),
        ("host.prompt_token_us", host.prompt_token_us.to_string()),
        ("host.token_us", host.token_us.to_string()),
        ("engine.kv_cache_dtype", quoted(d.kv.name())),
        ("engine.gpu_memory_utilization", d.gpu_memory_utilization.to_string()),
        ("engine.enforce_eager", (!d.cuda_graphs).to_string()),
        ("engine.max_cudagraph_capture_size", CaptureSizes::of(d).largest().to_string()),
        (
            "engine.num_gpu_blocks_override",
            d.num_gpu_blocks.map_or(format!("none (memory gives {})", s.kv_blocks + 1), |n| n.to_string()),
        ),
    ]
}

fn engine(s: &Scenario) -> Vec<Row> {
    let e = &s.engine;
    let policy = match e.policy {
        Policy::Fcfs => "fcfs",
        Policy::Priority => "priority",
    };
    vec![
        ("engine.scheduler", quoted(e.scheduler.name())),
        ("engine.max_num_seqs", e.max_num_seqs.to_string()),
        ("engine.max_num_batched_tokens", e.max_num_batched_tokens.to_string()),
        ("engine.max_model_len", e.max_model_len.to_string()),
        ("engine.block_size", e.block_size.to_string()),
        ("engine.enable_prefix_caching", e.enable_prefix_caching.to_string()),
        ("engine.enable_chunked_prefill", e.enable_chunked_prefill.to_string()),
        ("engine.scheduling_policy", quoted(policy)),
        ("engine.async_scheduling", e.async_scheduling.to_string()),
        ("engine.long_prefill_token_threshold", e.long_prefill_token_threshold.to_string()),
        ("engine.scheduler_reserve_full_isl", e.reserve_full_isl.to_string()),
        ("engine.watermark", e.watermark.to_string()),
        ("engine.max_num_queued_reqs", or_none(e.max_num_queued_reqs)),
    ]
}

fn cluster(s: &Scenario) -> Vec<Row> {
    let router = match s.cluster.router {
        Router::RoundRobin => "round-robin",
        Router::Random => "random",
        Router::PowerOfTwo => "power-of-two",
        Router::LeastRequests => "least-requests",
        Router::LeastTokens => "least-tokens",
        Router::PrefixAffinity => "prefix-affinity",
        Router::SessionAffinity => "session-affinity",
    };
    vec![("cluster.replicas", s.cluster.replicas.to_string()), ("cluster.router", quoted(router)), ("cluster.serves", serves(s))]
}

/// Whom the cluster serves, in the scenario's own words.
fn serves(s: &Scenario) -> String {
    let input = s.serves.input.map(|(least, most)| match most {
        u32::MAX => format!("input_min = {least}"),
        most => format!("input_min = {least}, input_max = {most}"),
    });
    let names = s.serves.classes.as_ref().map(|chosen| {
        let served = s.classes.iter().zip(chosen).filter(|(_, served)| **served);
        format!("classes = [{}]", served.map(|(class, _)| quoted(&class.name)).collect::<Vec<_>>().join(", "))
    });
    let parts: Vec<String> = input.into_iter().chain(names).collect();
    if parts.is_empty() { "everybody".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_file_if_all_its_keys_are() {
        let file = "seed = 1\n[engine]\nmax_num_seqs = 8\n".parse().unwrap();
        assert!(in_file(&file, "seed") && in_file(&file, "engine.max_num_seqs"));
        assert!(!in_file(&file, "engine.block_size") && !in_file(&file, "cluster.replicas") && !in_file(&file, "seed.more"));
    }
}
