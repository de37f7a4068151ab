//! Prometheus' recording rules: what a pool does in tokens and not in requests.

use serde::Serialize;
use serde_saphyr::Commented;
use tokentide_autoscale::policy::{self, Given};
use tokentide_models::units::Duration;
use tokentide_sim::scenario::{Scenario, SloMetric, SloTarget, tightest};

use super::{Job, head, matcher};
use crate::exit::Failure;
use crate::text::units::time;

/// A rule.
pub struct Rule {
    /// Name of the series.
    pub record: String,
    /// PromQL.
    pub expr: String,
    /// What it says.
    pub about: String,
}

#[derive(Serialize)]
struct File {
    groups: [Group; 1],
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    interval: &'static str,
    rules: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    record: Commented<String>,
    expr: String,
}

/// A file of rules.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn text(job: &Job) -> Result<String, Failure> {
    let entry = |rule: Rule| Entry { record: Commented(rule.record, rule.about), expr: rule.expr };
    let rules = rules(&job.loaded.scenario, job.model_name).into_iter().map(entry).collect();
    let file = File { groups: [Group { name: "tokentide", interval: "15s", rules }] };
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let yaml = serde_saphyr::to_string_with_options(&file, options);
    let yaml = yaml.map_err(|error| Failure::message(format!("cannot write YAML: {error}")))?;
    let head = [
        head::origin(&job.loaded.scenario),
        "vLLM's histograms count a request when it ends, so what is made of them lags when the mix of requests shifts.".to_owned(),
        "vLLM does not tell classes apart: a limit is the tightest of all classes.".to_owned(),
    ];
    Ok(head::commented(&head) + &yaml)
}

/// All rules, an earlier one before those that use it.
pub fn rules(scenario: &Scenario, model: Option<&str>) -> Vec<Rule> {
    let mut rules = tokens();
    rules.extend(limits(scenario));
    for rule in &mut rules {
        rule.expr = matcher::of_model(&rule.expr, model);
    }
    rules
}

fn rule(record: impl Into<String>, expr: impl Into<String>, about: impl Into<String>) -> Rule {
    Rule { record: record.into(), expr: expr.into(), about: about.into() }
}

/// Those that hold for every service.
fn tokens() -> Vec<Rule> {
    let rate = |counter: &str, window: &str| format!("sum(rate(vllm:{counter}[{window}]))");
    let ratio = |above: &str, below: &str| format!("{} / {}", rate(above, "10m"), rate(below, "10m"));
    let mut rules = vec![
        rule("pool:prompt_tokens:rate1m", rate("prompt_tokens_total", "1m"), "prompt tokens/s that arrive in the engines"),
        rule("pool:generation_tokens:rate1m", rate("generation_tokens_total", "1m"), "output tokens/s"),
        rule(
            "pool:request_prompt_tokens:mean10m",
            ratio("request_prompt_tokens_sum", "request_prompt_tokens_count"),
            "mean prompt of requests that ended",
        ),
        rule(
            "pool:waiting_tokens:estimate",
            "sum(vllm:num_requests_waiting) * pool:request_prompt_tokens:mean10m",
            "prompt tokens that wait, if waiting requests are like those that ended",
        ),
    ];
    for (metric, what) in [("request_prompt_tokens", "prompt"), ("request_generation_tokens", "output")] {
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95)] {
            let expr = of_histogram(metric, quantile, "10m");
            rules.push(rule(format!("pool:{metric}:{name}"), expr, format!("{what} tokens per request, {name}")));
        }
    }
    let hits = ratio("prefix_cache_hits_total", "prefix_cache_queries_total");
    rules.extend([
        rule("pool:kv_cache_usage:max", "max(vllm:kv_cache_usage_perc)", "share of KV memory in use, fullest replica, 0 to 1"),
        rule("pool:kv_cache_usage:mean", "avg(vllm:kv_cache_usage_perc)", "the same, mean over replicas"),
        rule("pool:prefix_cache_hits:ratio10m", hits, "share of prompt tokens found in the prefix cache, 0 to 1"),
    ]);
    rules
}

/// Those of the scenario's service levels.
fn limits(scenario: &Scenario) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (class, target) in limits_by_figure(scenario) {
        let (name, metric) = metric(target.metric);
        let percent = format!("{}", (target.quantile * 1e4).round() / 1e2);
        let expr = format!("{} / {}", of_histogram(metric, target.quantile, "5m"), target.limit.as_secs_f64());
        let limit = time(target.limit.as_millis_f64());
        let about = format!("{name} p{percent} over its limit of {limit} (class {class}); above 1 it is missed");
        rules.push(rule(format!("pool:slo_{name}_p{}:ratio5m", percent.replace('.', "_")), expr, about));
    }
    let limit = |metric| tightest(&scenario.classes, metric).map(Duration::as_secs_f64);
    let given = Given {
        target: None,
        min_replicas: 1,
        max_replicas: 1,
        prefill_tokens_per_s: 1.0,
        ttft_s: limit(SloMetric::Ttft),
        tpot_s: limit(SloMetric::Tpot),
        cpu_request: 1,
    };
    // Without a limit there is no such policy, and no rule.
    if let Ok(autoscaler) = policy::find("slo-aware").and_then(|policy| policy.autoscaler(&given)) {
        let about = "the larger of TTFT p90 and TPOT p90 over their limits, at most 2: what the policy slo-aware looks at";
        rules.extend(autoscaler.prometheus.rules.into_iter().map(|made| rule(made.record, made.expr, about)));
    }
    rules
}

/// Of all classes the tightest limit on each figure and percentile, in the scenario's order.
fn limits_by_figure(scenario: &Scenario) -> Vec<(&str, SloTarget)> {
    let mut found: Vec<(&str, SloTarget)> = Vec::new();
    for class in &scenario.classes {
        for target in &class.slo.targets {
            let same = |(_, other): &&mut (&str, SloTarget)| other.metric == target.metric && other.quantile == target.quantile;
            match found.iter_mut().find(same) {
                Some(other) if other.1.limit > target.limit => *other = (&class.name, *target),
                Some(_) => {}
                None => found.push((&class.name, *target)),
            }
        }
    }
    found
}

/// Short name, and vLLM's histogram.
fn metric(metric: SloMetric) -> (&'static str, &'static str) {
    match metric {
        SloMetric::Ttft => ("ttft", "time_to_first_token_seconds"),
        SloMetric::Tpot => ("tpot", "request_time_per_output_token_seconds"),
        SloMetric::E2e => ("e2e", "e2e_request_latency_seconds"),
        SloMetric::Queue => ("queue", "request_queue_time_seconds"),
    }
}

fn of_histogram(metric: &str, quantile: f64, window: &str) -> String {
    format!("histogram_quantile({quantile}, sum by (le) (rate(vllm:{metric}_bucket[{window}])))")
}
