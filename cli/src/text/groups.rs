//! The same figures by class and by size: an average over unlike work hides who waits.

use tokentide_sim::report::Group;

use super::table::{clip, wrap};
use super::units::{NONE, count, exact, time};
use super::{Page, style};

/// Longest name of a group.
const NAME: usize = 20;
const NAME_NARROW: usize = 13;

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
    let groups: Vec<&Group> = groups.iter().filter(|g| g.requests > 0).collect();
    let wide = page.layout.wide();
    let header: &[&str] = match wide {
        true => &[first, "requests", "in p95", "out p95", "queue p95", "TTFT p50", "p95", "TPOT p95", "e2e p95"],
        false => &[first, "count", "in p95", "out p95", "queue p95", "TTFT p95", "TPOT p95", "e2e p95"],
    };
    let rows: Vec<Vec<String>> = groups.iter().map(|g| row(g, wide)).collect();
    page.table(header, &rows, 1);
    let mut lost: Vec<(u64, &str)> = groups.iter().map(|g| (g.requests.saturating_sub(g.completed), g.name.as_str())).collect();
    lost.retain(|(n, _)| *n > 0);
    lost.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    if !lost.is_empty() {
        let shown: Vec<String> = lost.iter().take(3).map(|(n, name)| format!("{} in {}", exact(*n), clip(name, NAME))).collect();
        let more = if lost.len() > shown.len() { ", ..." } else { "" };
        let text = format!("not completed: {}{more}", shown.join(", "));
        for line in wrap(&text, page.layout.width - 2) {
            page.line(format!("  {}", style::paint(style::DIM, &line)));
        }
    }
}

fn row(group: &Group, wide: bool) -> Vec<String> {
    let tokens = |v: Option<f64>| v.map_or(NONE.to_owned(), |v| count(v.round()));
    let ms = |v: Option<f64>| v.map_or(NONE.to_owned(), time);
    let mut row = vec![clip(&group.name, if wide { NAME } else { NAME_NARROW }), count(group.requests as f64)];
    row.extend([tokens(group.input_length.p95), tokens(group.output_length.p95), ms(group.queue_ms.p95)]);
    if wide {
        row.push(ms(group.ttft_ms.p50));
    }
    row.extend([ms(group.ttft_ms.p95), ms(group.tpot_ms.p95), ms(group.e2e_ms.p95)]);
    row
}
