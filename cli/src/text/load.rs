//! Load and headroom: the figures that can be trusted near saturation.

use super::Page;
use super::bars::bar;
use super::level::LABEL;
use super::units::{half_width, percent, percent_pm, rate};

pub(super) fn write(page: &mut Page) {
    let summary = &page.report.summary;
    let capacity = &summary.capacity;
    page.heading("Load", "");
    let cells = if page.layout.wide() { 24 } else { 14 };
    let half = |path: &str| page.half_width(path);
    let load = percent_pm(capacity.load, half("summary.capacity.load"));
    let headroom = percent_pm(capacity.headroom, half("summary.capacity.headroom"));
    let busy = percent_pm(summary.utilisation, half("summary.utilisation"));
    let served = |path: &str| half(path).map(|h| format!(" ± {}", half_width(h))).unwrap_or_default();
    let throughput = format!(
        "{}{} req/s, {}{} output tok/s, {} input tok/s",
        rate(summary.requests_per_s),
        served("summary.requests_per_s"),
        rate(summary.output_tokens_per_s),
        served("summary.output_tokens_per_s"),
        rate(summary.input_tokens_per_s),
    );
    let spare = capacity.knee_requests_per_s - capacity.offered_requests_per_s;
    let spare = match spare >= 0.0 {
        _ if page.saturated() => "as meant: clients wait for answers".to_owned(),
        true => format!("{} req/s more of the same mix", rate(spare)),
        false => format!("{} req/s too many", rate(-spare)),
    };
    let offered = format!("{} of {} req/s at the knee", rate(capacity.offered_requests_per_s), rate(capacity.knee_requests_per_s));
    let width = [&load, &headroom].iter().map(|v| v.chars().count()).max().unwrap_or(0);
    let blank = " ".repeat(cells);
    page.line(format!("  {:<LABEL$}{}  {load:>width$}  {offered}", "load / knee", bar(capacity.load, cells)));
    page.line(format!("  {:<LABEL$}{blank}  {headroom:>width$}  {spare}", "headroom"));
    // Without a bar: beside that of the load it would be taken for one.
    page.item("busy", &format!("{busy} of the time a step runs; batching means this is not load"));
    page.item("throughput", &throughput);
    page.item(
        "prefill (V_P)",
        &format!("{} prompt tok/s per replica with nothing else to do", rate(capacity.prefill_tokens_per_s)),
    );
    replicas(page);
}

/// How evenly the router spreads the work.
fn replicas(page: &mut Page) {
    let replicas = &page.report.replicas;
    if replicas.len() < 2 {
        return;
    }
    let range = |of: fn(&tokentide_sim::report::ReplicaSummary) -> f64| {
        let (low, high) = replicas.iter().map(of).fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        if percent(low) == percent(high) { percent(low) } else { format!("{} to {}", percent(low), percent(high)) }
    };
    let text = format!("load {}, busy {}, KV peak {}", range(|r| r.load), range(|r| r.utilisation), range(|r| r.kv_use_peak));
    page.item("per replica", &text);
    if page.layout.verbose {
        let rows: Vec<Vec<String>> = replicas
            .iter()
            .enumerate()
            .map(|(i, r)| {
                let whole = |n: u64| super::units::count(n as f64);
                let shares = [r.load, r.utilisation, r.kv_use_peak].map(percent);
                [vec![i.to_string(), whole(r.requests)], shares.to_vec(), vec![whole(r.iterations), whole(r.preemptions)]].concat()
            })
            .collect();
        page.table(&["replica", "requests", "load", "busy", "KV peak", "steps", "preemptions"], &rows, 1);
    }
}
