//! The traps of autoscaling that scenarios are shipped for: each shows what its comment says, beside what avoids it.

use tokentide_sim::report::{Fleet, Report};
use tokentide_tests::scenarios::{report, shipped};

/// The shipped scenario `name` under a policy with its target.
fn under(name: &str, policy: &str, target: &str) -> Report {
    report(&shipped(name, &[("autoscaler.policy", policy), ("autoscaler.target", target)]))
}

fn own(name: &str) -> Report {
    report(&shipped(name, &[]))
}

/// As many replicas as these, all the time.
fn fixed(name: &str, replicas: &str) -> Report {
    let bounds = [("cluster.replicas", replicas), ("autoscaler.min_replicas", replicas), ("autoscaler.max_replicas", replicas)];
    report(&shipped(name, &bounds))
}

fn fleet(report: &Report) -> &Fleet {
    report.fleet.as_ref().expect("replicas that come and go")
}

/// Time in which targets were missed [s].
fn missed(report: &Report) -> f64 {
    fleet(report).slo_missed_s.expect("the scenario has targets")
}

/// Bins of the timeline between two times [s].
fn bins(report: &Report, from: f64, to: f64) -> std::ops::Range<usize> {
    let bin = |at: f64| ((at / report.timeline.bin_s) as usize).min(report.timeline.arrivals.len());
    bin(from)..bin(to)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Share of the input found in the prefix cache between two times [s].
fn hits(report: &Report, from: f64, to: f64) -> f64 {
    let span = bins(report, from, to);
    let sum = |of: &[u64]| of[span.clone()].iter().sum::<u64>() as f64;
    sum(&report.timeline.cached_tokens) / sum(&report.timeline.input_tokens)
}

#[test]
fn a_queue_alone_scales_down_after_the_stabilisation_and_flaps() {
    let queue = own("queue-only");
    let changes = &fleet(&queue).scalings;
    let first = changes.first().expect("it changes");
    assert!((300.0..=345.0).contains(&first.at_s) && first.to == 1, "the first change: {first:?}");
    let collapses = changes.iter().filter(|c| c.to == 1).count();
    let rises = changes.iter().filter(|c| c.to == 8).count();
    assert!(collapses >= 3 && rises >= 3 && fleet(&queue).flaps >= 3, "{collapses} and {rises}: {changes:?}");
    let inflight = under("queue-only", "inflight", "40");
    assert!(fleet(&inflight).flaps == 0 && fleet(&inflight).scale_downs == 0 && missed(&inflight) == 0.0);
    assert!(missed(&queue) > 600.0 && fleet(&queue).gpu_hours > 1.4 * fleet(&inflight).gpu_hours);
}

#[test]
fn kv_memory_misses_prompts_that_wait_for_compute() {
    let kv = own("kv-only");
    assert!(fleet(&kv).scalings.is_empty() && kv.summary.kv_use_peak < 0.15, "{} of KV", kv.summary.kv_use_peak);
    assert!(kv.summary.waiting_requests_peak > 1000 && missed(&kv) > 1200.0);
    let tokens = under("kv-only", "token-rate", "30000");
    assert!(missed(&tokens) == 0.0 && fleet(&tokens).scale_downs == 0 && fleet(&tokens).ready_max <= 4);
}

#[test]
fn pods_that_start_for_longer_than_the_ramp_come_after_the_peak() {
    const PEAK: (f64, f64) = (1380.0, 1680.0);
    let cold = own("cold-start");
    let ready = &fleet(&cold).ready;
    let during = &ready[bins(&cold, PEAK.0, PEAK.1)];
    assert!(mean(during) < 3.2 && fleet(&cold).ready_max == 8, "{} ready during the peak", mean(during));
    assert!(mean(&fleet(&cold).wanted[bins(&cold, PEAK.0, PEAK.1)]) > 7.9, "they were asked for in time");
    // What the HPA divides by counts pods that are not ready: it sees a fraction of what a ready one bears.
    let in_flight = |i: usize| cold.timeline.running[i] + cold.timeline.waiting_requests[i];
    for i in bins(&cold, PEAK.0, PEAK.1 - 60.0) {
        let (seen, borne) = (in_flight(i) / fleet(&cold).wanted[i], in_flight(i) / ready[i]);
        assert!(borne > 2.5 * seen, "{borne} where {seen} are seen");
    }
    let warm = report(&shipped("cold-start", &[("cluster.warm_nodes", "5")]));
    let enough = fixed("cold-start", "4");
    assert!(missed(&cold) > 300.0 && missed(&warm) < 0.7 * missed(&cold), "{} and {}", missed(&cold), missed(&warm));
    assert!(missed(&enough) == 0.0 && fleet(&enough).gpu_hours < fleet(&cold).gpu_hours);
}

#[test]
fn new_pods_have_found_nothing_yet() {
    let scaled = own("cold-cache");
    // The cache is large enough for all sessions: without new pods nothing dips, though the load doubles.
    let stays = fixed("cold-cache", "3");
    const ARRIVALS_END: f64 = 2400.0;
    let ups = fleet(&scaled).scalings.iter().filter(|c| c.to > c.from).map(|c| c.at_s + 120.0);
    let ups: Vec<f64> = ups.filter(|ready| ready + 120.0 <= ARRIVALS_END).collect();
    assert!(ups.len() >= 2, "{:?}", fleet(&scaled).scalings);
    for &ready in &ups {
        let (before, after) = (hits(&scaled, ready - 60.0, ready), hits(&scaled, ready, ready + 60.0));
        let (still, same) = (hits(&stays, ready - 60.0, ready), hits(&stays, ready, ready + 60.0));
        println!("{ready} s: {before:.3} -> {after:.3}; with replicas that stay {still:.3} -> {same:.3}");
        assert!(after < before - 0.1, "at {ready} s from {before} to {after}");
        assert!(same > still - 0.03, "at {ready} s from {still} to {same}, with replicas that stay");
    }
    let last = ups[ups.len() - 1];
    let later = hits(&scaled, last + 60.0, last + 120.0);
    assert!(later > 0.85, "it recovers: {later}");
}
