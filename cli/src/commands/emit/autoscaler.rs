//! A named policy as a ScaledObject or an HPA, its target found by simulation.

use clap::Args;
use tokentide_autoscale::config::{Keda, MetricSource};
use tokentide_autoscale::manifest::{self, About};
use tokentide_autoscale::policy::{self, Given, POLICIES, Policy, PolicyError};
use tokentide_autoscale::{Autoscaler, config};
use tokentide_models::units::Duration;
use tokentide_sim::report::Report;
use tokentide_sim::scenario::{SloMetric, tightest};

use super::peak::{self, Peak};
use super::{Job, head, matcher};
use crate::engine;
use crate::exit::Failure;
use crate::suggest::closest;
use crate::text::units::digits;

/// KEDA's own defaults [s].
const POLLING_S: f64 = 30.0;
const COOLDOWN_S: f64 = 300.0;
/// Request where a policy needs one [millicores]: that of scenarios.
const CPU_REQUEST: i64 = 8_000;

/// How it scales.
#[derive(Args)]
#[command(next_help_heading = "keda and hpa")]
pub struct ScalingArgs {
    /// What it looks at: inflight, token-rate, waiting-tokens, token-backlog, slo-aware, rps, queue, saturation, kv or cpu
    #[arg(long, value_name = "NAME", default_value = "inflight", value_parser = policy_name)]
    policy: Policy,
    /// Target, in the policy's unit [default: found by simulation, or the policy's]
    #[arg(long, value_name = "N")]
    target: Option<f64>,
    /// Fewest replicas; 0 with keda only [default: the scenario's autoscaler's, else 1]
    #[arg(long, value_name = "N")]
    min_replicas: Option<u32>,
    /// Most replicas [default: the scenario's autoscaler's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_replicas: Option<u32>,
    /// Name of the Deployment that is scaled
    #[arg(long, value_name = "NAME", default_value = "vllm", value_parser = object_name)]
    deployment: String,
    /// Where KEDA asks
    #[arg(long, value_name = "URL", default_value = "http://prometheus.monitoring:9090")]
    prometheus: String,
}

fn policy_name(text: &str) -> Result<Policy, String> {
    policy::find(text).map_err(|error| match closest(text, POLICIES.iter().map(|policy| policy.name)) {
        Some(name) => format!("{error}; did you mean \"{name}\"?"),
        None => format!("{error}; there are {}", POLICIES.map(|policy| policy.name).join(", ")),
    })
}

/// A name that Kubernetes takes (RFC 1123).
fn object_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let good = text.len() <= 253 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().next_back());
    good.then(|| text.to_owned()).ok_or_else(|| "a name of Kubernetes has lower-case letters, digits, `-` and `.`".to_owned())
}

/// The manifest.
///
/// # Errors
/// If the target cannot be found, or the manifest cannot say it.
pub fn text(job: &Job, args: &ScalingArgs, keda: bool) -> Result<String, Failure> {
    let (min, max) = replicas(job, args, keda)?;
    if args.target.is_some_and(|target| !(target.is_finite() && target >= 0.001)) {
        return Err(Failure::message("--target must be a number from 0.001 up"));
    }
    let found = match args.target {
        None if needs_peak(args.policy) => Some(peak::find(job)?),
        _ => None,
    };
    let report = job.report()?;
    let (target, reason) = target(args, found.as_ref())?;
    let scenario = &job.loaded.scenario;
    let limit = |metric| tightest(&scenario.classes, metric).map(Duration::as_secs_f64);
    let given = Given {
        target,
        min_replicas: min.max(1),
        max_replicas: max,
        prefill_tokens_per_s: report.summary.capacity.prefill_tokens_per_s,
        ttft_s: limit(SloMetric::Ttft),
        tpot_s: limit(SloMetric::Tpot),
        cpu_request: CPU_REQUEST,
    };
    let mut autoscaler = args.policy.autoscaler(&given).map_err(|error| failure(&error))?;
    with_model(&mut autoscaler, job.model_name);
    let mut about = About::new(&args.deployment);
    about.prometheus.clone_from(&args.prometheus);
    about.head.push(head::fingerprint(scenario, &report.fingerprint));
    about.head.push(format!("It scales on {}: {}.", args.policy.name, args.policy.about));
    about.head.extend(found.as_ref().map(head::found).unwrap_or_default());
    about.head.push(head::predicted(&report));
    about.head.push(head::scaled(&scaled(job, args.policy, &given)?));
    for rule in &autoscaler.prometheus.rules {
        about.head.push(format!("It needs the recording rule {}, which `tokentide emit promrules` writes.", rule.record));
    }
    about.comments.insert(target_path(&autoscaler, keda).to_owned(), reason);
    let written = if keda {
        let autoscaler = with_keda(autoscaler, min);
        manifest::write_scaled_object(&autoscaler, &about)
    } else {
        manifest::write_hpa(&autoscaler, &about)
    };
    written.map_err(|error| Failure::message(error.to_string()))
}

/// The scenario under the autoscaler.
fn scaled(job: &Job, policy: Policy, given: &Given) -> Result<Report, Failure> {
    let mut input = job.input.clone();
    input.set.push(engine::autoscaler(policy.name, given.target, (given.min_replicas, given.max_replicas)));
    job.simulate(&engine::load(&input)?, "simulating it")
}

fn replicas(job: &Job, args: &ScalingArgs, keda: bool) -> Result<(u32, u32), Failure> {
    let dynamics = job.loaded.scenario.cluster.dynamics.as_ref();
    let own = dynamics.and_then(|dynamics| dynamics.autoscaler.as_ref()).map(|autoscaler| &autoscaler.hpa);
    let min = args.min_replicas.or(own.map(|hpa| hpa.min_replicas)).unwrap_or(1);
    let Some(max) = args.max_replicas.or(own.map(|hpa| hpa.max_replicas)) else {
        let help = "give --max-replicas, or the scenario an [autoscaler]";
        return Err(Failure::with_help("how many replicas there may be at most is not known", help));
    };
    if min > max {
        return Err(Failure::message(format!("at least {min} replicas and at most {max} contradict each other")));
    }
    if min == 0 && (!keda || args.policy.name == "cpu") {
        let why = if keda { "without a pod there is no CPU to look at" } else { "an HPA has at least 1; KEDA can have 0" };
        return Err(Failure::message(format!("--min-replicas 0 cannot be: {why}")));
    }
    Ok((min, max))
}

/// Policies whose target is a level that one replica has at its peak.
fn needs_peak(policy: Policy) -> bool {
    matches!(policy.name, "inflight" | "waiting-tokens" | "token-backlog" | "token-rate" | "rps")
}

/// The target, `None` for the policy's default, and where it comes from.
fn target(args: &ScalingArgs, peak: Option<&Peak>) -> Result<(Option<f64>, String), Failure> {
    let Some(peak) = peak else {
        let whose = if args.target.is_some() { "--target" } else { "the policy's default" };
        return Ok((args.target, format!("{whose}, in {}", args.policy.unit)));
    };
    let level = match args.policy.name {
        "inflight" => peak.in_flight.mean,
        "waiting-tokens" => peak.waiting * peak.input_length,
        "token-backlog" => peak.waiting_tokens / peak.prefill_tokens_per_s,
        "token-rate" => peak.completed_per_s * peak.input_length,
        _ => peak.completed_per_s,
    };
    // An HPA leaves a ratio of up to 1 + tolerance as it is.
    let tolerance = config::Flags::default().tolerance as f64 / 1000.0;
    let target = floor(level / (1.0 + tolerance));
    if target < 0.001 {
        let message = format!(
            "{} cannot hold the targets: under the highest load that meets them there are {} {}",
            args.policy.name,
            digits(level),
            args.policy.unit
        );
        return Err(Failure::with_help(message, "scale on --policy inflight, or give --target"));
    }
    let reason = format!(
        "{}: {} under the highest load that meets all targets, over 1 + the HPA's tolerance of {tolerance}",
        args.policy.unit,
        digits(level)
    );
    Ok((Some(target), reason))
}

/// The next number below with at most three digits that are not 0, and no more than three decimals.
fn floor(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let decimals = (2 - value.log10().floor() as i32).min(3);
    let scale = 10f64.powi(decimals.abs());
    // Multiplied or divided by a whole number, so that a decimal is the nearest float of what is printed.
    if decimals >= 0 { (value * scale).floor() / scale } else { (value / scale).floor() * scale }
}

fn failure(error: &PolicyError) -> Failure {
    Failure::message(error.to_string())
}

fn with_model(autoscaler: &mut Autoscaler, model: Option<&str>) {
    for metric in &mut autoscaler.hpa.metrics {
        if let MetricSource::External { query } | MetricSource::Pods { query } = &mut metric.source {
            *query = matcher::of_model(query, model);
        }
    }
}

/// Where a manifest has the target of its one metric.
fn target_path(autoscaler: &Autoscaler, keda: bool) -> &'static str {
    let metric = autoscaler.hpa.metrics.first();
    let cpu = metric.is_some_and(|metric| matches!(metric.source, MetricSource::Cpu { .. }));
    let value = metric.is_some_and(|metric| matches!(metric.target, config::Target::Value(_)));
    match (keda, cpu, value) {
        (true, true, _) => "spec.triggers[0].metadata.value",
        (true, false, _) => "spec.triggers[0].metadata.threshold",
        (false, true, _) => "spec.metrics[0].resource.target.averageUtilization",
        (false, false, true) => "spec.metrics[0].external.target.value",
        (false, false, false) => "spec.metrics[0].external.target.averageValue",
    }
}

/// The same under KEDA, at KEDA's defaults.
fn with_keda(mut autoscaler: Autoscaler, min_replicas: u32) -> Autoscaler {
    let metrics = autoscaler.hpa.metrics.len();
    autoscaler.keda = Some(Keda {
        polling: Duration::from_secs_f64(POLLING_S),
        cooldown: Duration::from_secs_f64(COOLDOWN_S),
        initial_cooldown: Duration(0),
        min_replicas,
        idle: None,
        activation: vec![0.0; metrics],
        cached: vec![false; metrics],
        fallback: None,
    });
    autoscaler
}

#[cfg(test)]
mod tests {
    use super::{floor, object_name};

    #[test]
    fn targets_are_rounded_down_to_three_digits() {
        let cases =
            [(37.48, 37.4), (12_345.6, 12_300.0), (0.27_3, 0.273), (0.000_9, 0.0), (100.0, 100.0), (9.999, 9.99), (0.0, 0.0)];
        for (value, expected) in cases {
            assert_eq!(floor(value), expected, "{value}");
        }
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        assert!(object_name("chat-8b.v2").is_ok());
        for wrong in ["", "Chat", "-a", "a-", "a b", "a_b"] {
            assert!(object_name(wrong).is_err(), "{wrong}");
        }
    }
}
