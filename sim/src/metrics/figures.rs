//! Every figure of a report, by its path.

use std::collections::BTreeMap;

use crate::report::{Fleet, Group, Quantiles, ReplicaSummary, Report};

/// Visits every figure of a report by its path in the JSON, such as `summary.ttft_ms.p95` or `classes.chat.tpot_ms.mean`.
pub fn visit_figures(report: &mut Report, visit: &mut dyn FnMut(String, Figure<'_>)) {
    let s = &mut report.summary;
    for (name, q) in [
        ("ttft_ms", &mut s.ttft_ms),
        ("tpot_ms", &mut s.tpot_ms),
        ("itl_ms", &mut s.itl_ms),
        ("e2e_ms", &mut s.e2e_ms),
        ("queue_ms", &mut s.queue_ms),
        ("input_length", &mut s.input_length),
        ("output_length", &mut s.output_length),
    ] {
        visit_quantiles(&format!("summary.{name}"), q, visit);
    }
    for (name, figure) in [
        ("requests.total", Figure::Count(&mut s.requests.total)),
        ("requests.completed", Figure::Count(&mut s.requests.completed)),
        ("input_tokens", Figure::Count(&mut s.input_tokens)),
        ("output_tokens", Figure::Count(&mut s.output_tokens)),
        ("cached_tokens", Figure::Count(&mut s.cached_tokens)),
        ("iterations", Figure::Count(&mut s.iterations)),
        ("preemptions", Figure::Count(&mut s.preemptions)),
        ("waiting_requests_peak", Figure::Count(&mut s.waiting_requests_peak)),
        ("waiting_tokens_peak", Figure::Count(&mut s.waiting_tokens_peak)),
        ("duration_s", Figure::Value(&mut s.duration_s)),
        ("output_tokens_per_s", Figure::Value(&mut s.output_tokens_per_s)),
        ("input_tokens_per_s", Figure::Value(&mut s.input_tokens_per_s)),
        ("requests_per_s", Figure::Value(&mut s.requests_per_s)),
        ("kv_use_peak", Figure::Value(&mut s.kv_use_peak)),
        ("kv_use_mean", Figure::Value(&mut s.kv_use_mean)),
        ("utilisation", Figure::Value(&mut s.utilisation)),
        ("near_context_limit", Figure::Value(&mut s.near_context_limit)),
        ("output_cap_hit", Figure::Value(&mut s.output_cap_hit)),
        ("capacity.offered_requests_per_s", Figure::Value(&mut s.capacity.offered_requests_per_s)),
        ("capacity.knee_requests_per_s", Figure::Value(&mut s.capacity.knee_requests_per_s)),
        ("capacity.knee_output_tokens_per_s", Figure::Value(&mut s.capacity.knee_output_tokens_per_s)),
        ("capacity.load", Figure::Value(&mut s.capacity.load)),
        ("capacity.headroom", Figure::Value(&mut s.capacity.headroom)),
        ("capacity.prefill_tokens_per_s", Figure::Value(&mut s.capacity.prefill_tokens_per_s)),
        ("slo.requests", Figure::Count(&mut s.slo.requests)),
        ("slo.good", Figure::Count(&mut s.slo.good)),
        ("slo.attainment", Figure::Maybe(&mut s.slo.attainment)),
        ("slo.goodput_requests_per_s", Figure::Maybe(&mut s.slo.goodput_requests_per_s)),
        ("cost.usd_per_hour", Figure::Value(&mut s.cost.usd_per_hour)),
        ("cost.usd_per_million_output_tokens", Figure::Maybe(&mut s.cost.usd_per_million_output_tokens)),
        ("cost.usd_per_million_tokens", Figure::Maybe(&mut s.cost.usd_per_million_tokens)),
        ("cost.usd_per_thousand_requests", Figure::Maybe(&mut s.cost.usd_per_thousand_requests)),
    ] {
        visit(format!("summary.{name}"), figure);
    }
    visit_map("summary.requests.by_finish", &mut s.requests.by_finish, visit);
    visit_map("summary.input_tokens_by_source", &mut s.input_tokens_by_source, visit);
    for target in &mut s.slo.targets {
        let path = format!("summary.slo.targets.{}.{}", target.class, target.target);
        visit(format!("{path}.value_ms"), Figure::Maybe(&mut target.value_ms));
        visit(format!("{path}.attainment"), Figure::Value(&mut target.attainment));
    }
    for (kind, groups) in
        [("classes", &mut report.classes), ("buckets", &mut report.buckets), ("output_buckets", &mut report.output_buckets)]
    {
        groups.iter_mut().for_each(|g| visit_group(kind, g, visit));
    }
    if let Some(fleet) = &mut report.fleet {
        visit_fleet(fleet, visit);
    }
    for (i, replica) in report.replicas.iter_mut().enumerate() {
        visit_replica(&format!("replicas.{i}"), replica, visit);
    }
}

/// One figure.
pub enum Figure<'a> {
    /// A real number.
    Value(&'a mut f64),
    /// One that may be undefined.
    Maybe(&'a mut Option<f64>),
    /// A count: its mean is rounded.
    Count(&'a mut u64),
}

impl Figure<'_> {
    /// Its value; `None` where it is undefined.
    pub fn get(&self) -> Option<f64> {
        match self {
            Figure::Value(value) => Some(**value),
            Figure::Maybe(value) => **value,
            Figure::Count(count) => Some(**count as f64),
        }
    }
}

fn visit_group(kind: &str, group: &mut Group, visit: &mut dyn FnMut(String, Figure<'_>)) {
    let path = format!("{kind}.{}", group.name);
    for (name, count) in [
        ("requests", &mut group.requests),
        ("completed", &mut group.completed),
        ("input_tokens", &mut group.input_tokens),
        ("output_tokens", &mut group.output_tokens),
        ("cached_tokens", &mut group.cached_tokens),
    ] {
        visit(format!("{path}.{name}"), Figure::Count(count));
    }
    visit_map(&format!("{path}.input_tokens_by_source"), &mut group.input_tokens_by_source, visit);
    let itl = group.itl_ms.as_mut().map(|q| ("itl_ms", q));
    for (name, q) in [
        ("input_length", &mut group.input_length),
        ("output_length", &mut group.output_length),
        ("ttft_ms", &mut group.ttft_ms),
        ("tpot_ms", &mut group.tpot_ms),
        ("e2e_ms", &mut group.e2e_ms),
        ("queue_ms", &mut group.queue_ms),
    ]
    .into_iter()
    .chain(itl)
    {
        visit_quantiles(&format!("{path}.{name}"), q, visit);
    }
}

fn visit_fleet(fleet: &mut Fleet, visit: &mut dyn FnMut(String, Figure<'_>)) {
    for (name, figure) in [
        ("ready_min", Figure::Count(&mut fleet.ready_min)),
        ("ready_max", Figure::Count(&mut fleet.ready_max)),
        ("ready_mean", Figure::Value(&mut fleet.ready_mean)),
        ("gpu_hours", Figure::Value(&mut fleet.gpu_hours)),
        ("usd", Figure::Value(&mut fleet.usd)),
        ("scale_ups", Figure::Count(&mut fleet.scale_ups)),
        ("scale_downs", Figure::Count(&mut fleet.scale_downs)),
        ("flaps", Figure::Count(&mut fleet.flaps)),
        ("start_mean_s", Figure::Maybe(&mut fleet.start_mean_s)),
        ("start_max_s", Figure::Maybe(&mut fleet.start_max_s)),
        ("interrupted_by_failure", Figure::Count(&mut fleet.interrupted_by_failure)),
        ("interrupted_by_scaling", Figure::Count(&mut fleet.interrupted_by_scaling)),
        ("retried", Figure::Count(&mut fleet.retried)),
        ("unrouted", Figure::Count(&mut fleet.unrouted)),
        ("slo_missed_s", Figure::Maybe(&mut fleet.slo_missed_s)),
    ] {
        visit(format!("fleet.{name}"), figure);
    }
}

fn visit_replica(path: &str, replica: &mut ReplicaSummary, visit: &mut dyn FnMut(String, Figure<'_>)) {
    let ReplicaSummary { requests, iterations, preemptions, utilisation, kv_use_peak, load } = replica;
    for (name, count) in [("requests", requests), ("iterations", iterations), ("preemptions", preemptions)] {
        visit(format!("{path}.{name}"), Figure::Count(count));
    }
    for (name, value) in [("utilisation", utilisation), ("kv_use_peak", kv_use_peak), ("load", load)] {
        visit(format!("{path}.{name}"), Figure::Value(value));
    }
}

fn visit_map(path: &str, counts: &mut BTreeMap<String, u64>, visit: &mut dyn FnMut(String, Figure<'_>)) {
    counts.iter_mut().for_each(|(name, count)| visit(format!("{path}.{name}"), Figure::Count(count)));
}

fn visit_quantiles(path: &str, q: &mut Quantiles, visit: &mut dyn FnMut(String, Figure<'_>)) {
    visit(format!("{path}.count"), Figure::Count(&mut q.count));
    for (name, value) in [
        ("mean", &mut q.mean),
        ("p50", &mut q.p50),
        ("p90", &mut q.p90),
        ("p95", &mut q.p95),
        ("p99", &mut q.p99),
        ("max", &mut q.max),
    ] {
        visit(format!("{path}.{name}"), Figure::Maybe(value));
    }
}
