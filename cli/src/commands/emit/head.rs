//! Comments on top of what is written: where it comes from.

use tokentide_sim::report::{Fingerprint, Report, SloResult};
use tokentide_sim::scenario::Scenario;

use super::peak::Peak;
use crate::text::units::{digits, percent, rate, time, usd};

/// Version and scenario, where nothing was simulated.
pub fn origin(scenario: &Scenario) -> String {
    format!("Written by tokentide {} for the scenario \"{}\" ({}).", env!("CARGO_PKG_VERSION"), scenario.name, scenario.hash)
}

/// All that makes it comparable.
pub fn fingerprint(scenario: &Scenario, fingerprint: &Fingerprint) -> String {
    let seeds: Vec<String> = fingerprint.seeds.iter().map(u64::to_string).collect();
    format!("{} Profile {}, seed {}.", origin(scenario), fingerprint.profile, seeds.join(", "))
}

/// How the load of one replica was found.
pub fn found(peak: &Peak) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Found by simulating one replica under steady load, raised until a target was missed: up to {} requests/s all are met.",
            rate(peak.requests_per_s)
        ),
        format!(
            "There it has {} requests in flight, running and waiting (mean; 95 % of the time at most {}), and its targets are at:",
            digits(peak.in_flight.mean),
            digits(peak.in_flight.p95)
        ),
    ];
    lines.extend(peak.targets.iter().map(|result| format!("  {}", target(result))));
    if let Some(missed) = &peak.missed {
        lines.push(format!("At {} requests/s: {}.", rate(peak.missed_at), target(missed)));
    }
    lines
}

/// What the scenario does as it is.
pub fn predicted(report: &Report) -> String {
    let summary = &report.summary;
    let quantile = |value: Option<f64>| value.map_or("unknown".to_owned(), time);
    format!(
        "The scenario as it is, {} replicas: TTFT p95 {}, TPOT p95 {}, {} of the load that can be served, {}/h.",
        report.model.replicas,
        quantile(summary.ttft_ms.p95),
        quantile(summary.tpot_ms.p95),
        percent(summary.capacity.load),
        usd(summary.cost.usd_per_hour)
    )
}

/// What the autoscaler makes of the scenario.
pub fn scaled(report: &Report) -> String {
    let Some(fleet) = &report.fleet else { return String::new() };
    let missed = match fleet.slo_missed_s {
        None => "no targets to miss".to_owned(),
        Some(0.0) => "no target is missed at any time".to_owned(),
        Some(missed) => format!("targets are missed for {}", time(missed * 1e3)),
    };
    format!(
        "Under this autoscaler: {} to {} replicas ready, {} GPU-hours, scaled up {} and down {} times, TTFT p95 {}; {missed}.",
        fleet.ready_min,
        fleet.ready_max,
        digits(fleet.gpu_hours),
        fleet.scale_ups,
        fleet.scale_downs,
        report.summary.ttft_ms.p95.map_or("unknown".to_owned(), time)
    )
}

/// One target and what it came to.
pub fn target(result: &SloResult) -> String {
    let value = result.value_ms.map_or("beyond all limits".to_owned(), time);
    format!("{} {} {value}, limit {}", result.class, result.target, time(result.limit_ms))
}

/// As lines of a comment.
pub fn commented(lines: &[String]) -> String {
    lines.iter().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect()
}
