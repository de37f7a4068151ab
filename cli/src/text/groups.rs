//! The same figures by class and by size: an average over unlike work hides who waits.

use tokentide_sim::report::{Group, Quantiles};

use super::table::clip;
use super::units::{NONE, count, time};
use super::{Page, style};

pub(super) fn write(page: &mut Page) {
    let report = page.report;
    if report.classes.len() > 1 {
        section(page, "By class", "class", &report.classes);
    }
    if report.buckets.iter().filter(|b| b.requests > 0).count() > 1 {
        section(page, "By input tokens", "input tokens", &report.buckets);
    }
    if page.layout.verbose && report.output_buckets.iter().filter(|b| b.requests > 0).count() > 1 {
        section(page, "By output tokens", "output tokens", &report.output_buckets);
    }
}

fn section(page: &mut Page, title: &str, first: &str, groups: &[Group]) {
    page.latency_heading(title);
    let wide = page.layout.wide();
    let name = if wide { 20 } else { 14 };
    let rows: Vec<Vec<String>> = groups.iter().filter(|g| g.requests > 0).map(|g| row(g, name, wide)).collect();
    let short = ["requests", "in p95", "out p95", "queue p95", "TTFT p50", "p95", "TPOT p95", "e2e p95"];
    let long = ["requests", "in p50", "p95", "out p50", "p95", "queue p95", "TTFT p50", "p95", "TPOT p95", "e2e p95"];
    let mut header = vec![first];
    header.extend_from_slice(if wide { &long[..] } else { &short[..] });
    page.table(&header, &rows, 1);
    let lost: u64 = groups.iter().map(|g| g.requests - g.completed.min(g.requests)).sum();
    if lost > 0 {
        let worst = groups.iter().max_by_key(|g| g.requests - g.completed.min(g.requests)).expect("some group lost requests");
        let text = format!("  {} not completed, most of them in {}", count(lost as f64), clip(&worst.name, name));
        page.line(style::paint(style::WARN, &text));
    }
}

fn row(group: &Group, name: usize, wide: bool) -> Vec<String> {
    let tokens = |v: Option<f64>| v.map_or(NONE.to_owned(), |v| count(v.round()));
    let ms = |v: Option<f64>| v.map_or(NONE.to_owned(), time);
    let lengths = |q: &Quantiles| if wide { vec![tokens(q.p50), tokens(q.p95)] } else { vec![tokens(q.p95)] };
    let mut row = vec![clip(&group.name, name), count(group.requests as f64)];
    row.extend(lengths(&group.input_length));
    row.extend(lengths(&group.output_length));
    row.extend([ms(group.queue_ms.p95), ms(group.ttft_ms.p50), ms(group.ttft_ms.p95), ms(group.tpot_ms.p95), ms(group.e2e_ms.p95)]);
    row
}
