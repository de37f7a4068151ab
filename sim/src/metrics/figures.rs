//! Means and confidence intervals over replications.

use std::collections::BTreeMap;

use crate::report::{Group, Quantiles, Report};

/// Student's t for a two-sided 95 % interval, by degrees of freedom from 1 (any table of the distribution has them).
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101,
    2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// t for `freedom` degrees of freedom: beyond the table by its first correction, z + (z^3 + z) / (4 v), within 0.001.
fn t95(freedom: usize) -> f64 {
    let z: f64 = 1.959_964;
    T95.get(freedom - 1).copied().unwrap_or(z + (z.powi(3) + z) / (4.0 * freedom as f64))
}

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
        ("cost.usd_per_million_output_tokens", Figure::Maybe(&mut s.cost.usd_per_million_output_tokens)),
        ("cost.usd_per_million_tokens", Figure::Maybe(&mut s.cost.usd_per_million_tokens)),
        ("cost.usd_per_thousand_requests", Figure::Maybe(&mut s.cost.usd_per_thousand_requests)),
    ] {
        visit(format!("summary.{name}"), figure);
    }
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

/// One report whose figures are means over `reports` (one per seed), with the half-widths of 95 % intervals. What is not a figure
/// (the timeline, replicas) is that of the first. A figure that some replication does not have keeps no interval.
pub fn average(mut reports: Vec<Report>) -> Report {
    let n = reports.len();
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for report in &mut reports {
        visit_figures(report, &mut |path, figure| {
            let value = match figure {
                Figure::Value(v) => Some(*v),
                Figure::Maybe(v) => *v,
                Figure::Count(v) => Some(*v as f64),
            };
            samples.entry(path).or_default().extend(value);
        });
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut merged = reports.swap_remove(0);
    visit_figures(&mut merged, &mut |path, figure| {
        let values = &samples[&path];
        if values.is_empty() {
            return;
        }
        match figure {
            Figure::Value(v) => *v = mean(values),
            Figure::Maybe(v) => *v = Some(mean(values)),
            Figure::Count(v) => *v = mean(values).round() as u64,
        }
    });
    for target in &mut merged.summary.slo.targets {
        target.met = target.attainment >= target.quantile;
    }
    if merged.summary.slo.met.is_some() {
        merged.summary.slo.met = Some(merged.summary.slo.targets.iter().all(|t| t.met));
    }
    let half_width = |values: &[f64]| {
        let m = mean(values);
        let variance = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1) as f64;
        t95(n - 1) * (variance / n as f64).sqrt()
    };
    if n > 1 {
        let full = samples.iter().filter(|(_, values)| values.len() == n);
        merged.ci95 = Some(full.map(|(path, values)| (path.clone(), half_width(values))).collect());
    }
    merged
}
