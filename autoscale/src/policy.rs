//! Policies by name: what an HPA may look at, each as the query that a real Prometheus would be asked.

use tokentide_models::units::Duration;

use crate::config::{Autoscaler, Flags, Hpa, Metric, MetricSource, Prometheus, RecordingRule, Target};

/// What a policy is made of, besides its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    /// What its figure is held to, in its own unit; `None`: the policy's default, if it has one.
    pub target: Option<f64>,
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// Prompt tokens that a replica can compute per second (V_P) [tokens/s].
    pub prefill_tokens_per_s: f64,
    /// The tightest limit on the time to first token [s].
    pub ttft_s: Option<f64>,
    /// The tightest limit on the time per output token [s].
    pub tpot_s: Option<f64>,
    /// CPU request of a replica's container [millicores].
    pub cpu_request: i64,
}

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// What its target is counted in.
    pub unit: &'static str,
    /// Target where none is given [1/1000 of the unit]; `None`: it must be given.
    pub default: Option<i64>,
    /// What it sees, and what it misses.
    pub about: &'static str,
}

/// All policies.
pub const POLICIES: [Policy; 10] = [
    Policy {
        name: "inflight",
        unit: "requests per replica",
        default: None,
        about: "running and waiting requests; steady under load, but a request counts the same whatever its tokens",
    },
    Policy {
        name: "queue",
        unit: "waiting requests per replica",
        default: Some(5_000),
        about: "waiting requests; none wait in steady state, so it scales down until they do, and up again",
    },
    Policy {
        name: "rps",
        unit: "requests per second and replica",
        default: None,
        about: "finished requests; blind to longer prompts and answers, and falls when an overloaded pool finishes fewer",
    },
    Policy {
        name: "token-rate",
        unit: "prompt tokens per second and replica",
        default: None,
        about: "prompt tokens of requests that got a first token: steady, grows with prompts and with requests; blind to answers",
    },
    Policy {
        name: "cpu",
        unit: "% of the CPU request",
        default: Some(70_000),
        about: "CPU of the container; the engine's process spins while any step runs, so it tells busy from idle and nothing more",
    },
    Policy {
        name: "kv",
        unit: "share of the KV cache in use",
        default: Some(800),
        about: "KV memory; misses prompts that queue for compute while the cache is far from full",
    },
    Policy {
        name: "saturation",
        unit: "share of saturation",
        default: Some(800),
        about: "the larger of waiting requests over 5 and KV use over 80 %, mean over replicas, as an endpoint picker judges them",
    },
    Policy {
        name: "waiting-tokens",
        unit: "waiting prompt tokens per replica",
        default: None,
        about: "waiting requests times the mean prompt of those finished in 10 minutes: lags when the mix shifts",
    },
    Policy {
        name: "token-backlog",
        unit: "seconds of prefill per replica",
        default: None,
        about: "prompt tokens in flight and not yet computed, over what a replica computes per second: sees longer prompts at once",
    },
    Policy {
        name: "slo-aware",
        unit: "share of the limits",
        default: Some(1_000),
        about: "the larger of TTFT p90 and TPOT p90 over their limits, at most 2, mean of 45 s: sees what users do, after they did",
    },
];

/// Why a policy cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No policy has this name.
    #[error("no policy is named \"{0}\"")]
    Unknown(String),
    /// The policy needs a target.
    #[error("the policy \"{}\" needs a `target` in {}", .0.name, .0.unit)]
    NoTarget(Policy),
    /// The policy needs limits, and no class has any.
    #[error("the policy \"slo-aware\" needs a class with a target for TTFT or TPOT")]
    NoLimits,
}

/// The policy of this name.
///
/// # Errors
/// If there is none.
pub fn find(name: &str) -> Result<Policy, PolicyError> {
    POLICIES.into_iter().find(|policy| policy.name == name).ok_or_else(|| PolicyError::Unknown(name.to_owned()))
}

/// In thousandths, as the controller counts.
fn thousandths(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

impl Policy {
    /// The autoscaler that looks at it.
    ///
    /// # Errors
    /// If a target or limits are missing.
    pub fn autoscaler(self, given: &Given) -> Result<Autoscaler, PolicyError> {
        let target = given.target.map(thousandths).or(self.default).ok_or(PolicyError::NoTarget(self))?;
        let (query, target) = match self.name {
            "inflight" => ("sum(vllm:num_requests_running + vllm:num_requests_waiting)".to_owned(), Target::AverageValue(target)),
            "queue" => ("sum(vllm:num_requests_waiting)".to_owned(), Target::AverageValue(target)),
            "rps" => ("sum(rate(vllm:request_success_total[1m]))".to_owned(), Target::AverageValue(target)),
            "token-rate" => ("sum(rate(vllm:prompt_tokens_total[2m]))".to_owned(), Target::AverageValue(target)),
            "kv" => ("avg(vllm:kv_cache_usage_perc)".to_owned(), Target::Value(target)),
            "saturation" => (saturation(), Target::Value(target)),
            "waiting-tokens" => (waiting_tokens(), Target::AverageValue(target)),
            "token-backlog" => (token_backlog(given.prefill_tokens_per_s), Target::AverageValue(target)),
            "slo-aware" => ("avg_over_time(pool:slo_ratio[45s])".to_owned(), Target::Value(target)),
            _ => (String::new(), Target::Utilization((target / 1000) as u32)),
        };
        let source = match self.name {
            "cpu" => MetricSource::Cpu { request: given.cpu_request },
            _ => MetricSource::External { query },
        };
        let rules = match self.name {
            "slo-aware" => vec![slo_ratio(given)?],
            _ => Vec::new(),
        };
        Ok(Autoscaler {
            name: self.name.to_owned(),
            hpa: Hpa {
                min_replicas: given.min_replicas,
                max_replicas: given.max_replicas,
                metrics: vec![Metric { name: self.name.to_owned(), source, target }],
                behavior: None,
            },
            flags: Flags::default(),
            keda: None,
            prometheus: Prometheus { rules, ..Prometheus::default() },
            notes: Vec::new(),
        })
    }
}

/// The mean over replicas of the larger of two shares, each of its own threshold.
fn saturation() -> String {
    let (queue, kv) = ("vllm:num_requests_waiting / 5", "vllm:kv_cache_usage_perc / 0.8");
    format!("avg(({queue} > {kv}) or {kv})")
}

/// Waiting requests times the mean prompt of those that have finished.
fn waiting_tokens() -> String {
    let rate = |of: &str| format!("sum(rate(vllm:request_prompt_tokens_{of}[10m]))");
    format!("sum(vllm:num_requests_waiting) * {} / {}", rate("sum"), rate("count"))
}

/// Seconds of prefill in the pool, for one replica.
fn token_backlog(prefill_tokens_per_s: f64) -> String {
    format!("sum(llm_d_epp_inflight_tokens{{producer_name=\"inflight-load-producer\"}}) / {}", prefill_tokens_per_s.round())
}

/// The larger of the 90th percentiles over their limits, at most 2.
fn slo_ratio(given: &Given) -> Result<RecordingRule, PolicyError> {
    let over =
        |metric: &str, limit: f64| format!("histogram_quantile(0.9, sum by (le) (rate(vllm:{metric}_bucket[1m]))) / {limit}");
    let ttft = given.ttft_s.map(|limit| over("time_to_first_token_seconds", limit));
    let tpot = given.tpot_s.map(|limit| over("request_time_per_output_token_seconds", limit));
    let larger = match (ttft, tpot) {
        (Some(ttft), Some(tpot)) => format!("({ttft} > {tpot}) or {tpot}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Err(PolicyError::NoLimits),
    };
    Ok(RecordingRule { record: "pool:slo_ratio".to_owned(), expr: format!("clamp_max({larger}, 2)") })
}

impl Autoscaler {
    /// The same with another interval between scrapes, or between decisions.
    pub fn with_intervals(mut self, scrape: Option<Duration>, sync: Option<Duration>) -> Autoscaler {
        self.prometheus.scrape = scrape.unwrap_or(self.prometheus.scrape);
        if let Some(sync) = sync {
            self.flags.sync = sync;
            self.flags.first_sync = tokentide_models::units::Time(sync.0);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Given = Given {
        target: None,
        min_replicas: 2,
        max_replicas: 20,
        prefill_tokens_per_s: 15_928.4,
        ttft_s: Some(0.8),
        tpot_s: None,
        cpu_request: 8_000,
    };

    fn query(name: &str, given: &Given) -> (String, Target) {
        let autoscaler = find(name).and_then(|policy| policy.autoscaler(given)).unwrap_or_else(|e| panic!("{e}"));
        let Metric { source, target, .. } = autoscaler.hpa.metrics[0].clone();
        match source {
            MetricSource::External { query } | MetricSource::Pods { query } => (query, target),
            MetricSource::Cpu { .. } => (String::new(), target),
        }
    }

    #[test]
    fn a_target_is_the_given_one_or_the_default() {
        assert_eq!(query("kv", &GIVEN).1, Target::Value(800));
        assert_eq!(query("cpu", &GIVEN).1, Target::Utilization(70));
        assert_eq!(query("inflight", &Given { target: Some(38.5), ..GIVEN }).1, Target::AverageValue(38_500));
        let missing = find("inflight").and_then(|policy| policy.autoscaler(&GIVEN)).map_err(|e| e.to_string());
        assert_eq!(missing, Err("the policy \"inflight\" needs a `target` in requests per replica".to_owned()));
        assert_eq!(find("requests").map_err(|e| e.to_string()), Err("no policy is named \"requests\"".to_owned()));
    }

    #[test]
    fn what_depends_on_the_service_is_in_the_query() {
        let backlog = query("token-backlog", &Given { target: Some(0.4), ..GIVEN });
        assert!(backlog.0.ends_with(" / 15928"), "{}", backlog.0);
        let rules = |given: &Given| find("slo-aware").and_then(|p| p.autoscaler(given)).map(|a| a.prometheus.rules);
        let one = rules(&GIVEN).expect("it has a limit");
        assert!(one[0].expr.ends_with("/ 0.8, 2)") && !one[0].expr.contains("output_token"), "{}", one[0].expr);
        let both = rules(&Given { tpot_s: Some(0.05), ..GIVEN }).expect("it has limits");
        assert!(both[0].expr.contains(") or histogram_quantile") && both[0].expr.contains("/ 0.05"), "{}", both[0].expr);
        assert_eq!(rules(&Given { ttft_s: None, ..GIVEN }), Err(PolicyError::NoLimits));
    }
}
