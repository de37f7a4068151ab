//! Levels over time: what waits, and how full the KV cache is.

use super::bars::sparkline;
use super::units::{count, exact, percent, percent_pm, time};
use super::{Page, style};

/// Width of the labels at the left.
pub(super) const LABEL: usize = 18;

pub(super) fn write(page: &mut Page) {
    let report = page.report;
    let (summary, timeline) = (&report.summary, &report.timeline);
    let cells = if page.layout.wide() { 40 } else { 28 };
    let span = timeline.bin_s * timeline.arrivals.len() as f64;
    let over = if span > 0.0 { style::paint(style::DIM, &format!("over {}", time(span * 1e3))) } else { String::new() };
    page.heading("Queue and KV cache", &over);
    let top = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let requests = sparkline(&timeline.waiting_requests, top(&timeline.waiting_requests), cells);
    let tokens = sparkline(&timeline.waiting_tokens, top(&timeline.waiting_tokens), cells);
    let kv = sparkline(&timeline.kv_use_max, 1.0, cells);
    level(page, "waiting requests", &requests, &count(summary.waiting_requests_peak as f64), "", cells);
    let replicas = report.fleet.as_ref().map_or(f64::from(report.model.replicas), |fleet| fleet.ready_mean);
    let prefill = summary.capacity.prefill_tokens_per_s * replicas;
    let seconds = match summary.waiting_tokens_peak {
        tokens if tokens > 0 && prefill > 0.0 => format!(" = {} of prefill", time(tokens as f64 / prefill * 1e3)),
        _ => String::new(),
    };
    level(page, "waiting tokens", &tokens, &count(summary.waiting_tokens_peak as f64), &seconds, cells);
    let peak = percent_pm(summary.kv_use_peak, page.half_width("summary.kv_use_peak"));
    let mean = format!(", mean {}", percent(summary.kv_use_mean));
    level(page, "KV cache in use", &kv, &peak, &mean, cells);
    let blocks = format!("{} KV blocks per replica", exact(u64::from(summary.kv_blocks)));
    let (style, text) = match summary.preemptions {
        0 => (style::DIM, format!("none; {blocks}")),
        n => (style::WARN, format!("{}: the KV cache ran out and prompts were computed again; {blocks}", count(n as f64))),
    };
    for (i, line) in super::table::wrap(&text, page.layout.width - LABEL - 2).into_iter().enumerate() {
        let label = if i == 0 { "preemptions" } else { "" };
        page.line(format!("  {label:<LABEL$}{}", style::paint(style, &line)));
    }
}

fn level(page: &mut Page, label: &str, line: &str, peak: &str, rest: &str, cells: usize) {
    let gap = if line.is_empty() { 0 } else { cells.saturating_sub(line.chars().count()) + 2 };
    page.line(format!("  {label:<LABEL$}{line}{}peak {peak}{rest}", " ".repeat(gap)));
}
