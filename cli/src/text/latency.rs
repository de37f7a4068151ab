//! Latency over all requests.

use tokentide_sim::report::Quantiles;

use super::Page;
use super::units::{time, time_pm};

pub(super) fn write(page: &mut Page) {
    let summary = &page.report.summary;
    page.latency_heading("Latency");
    let metrics = [
        ("TTFT", "ttft_ms", summary.ttft_ms),
        ("TPOT", "tpot_ms", summary.tpot_ms),
        ("ITL", "itl_ms", summary.itl_ms),
        ("e2e", "e2e_ms", summary.e2e_ms),
        ("queue", "queue_ms", summary.queue_ms),
    ];
    let rows: Vec<Vec<String>> = metrics.iter().map(|(label, path, q)| row(page, label, path, q)).collect();
    let header = ["", "p50", "p95", "p99", "mean", "max"];
    // Intervals take the room of the last column on a narrow line.
    let columns = if page.report.ci95.is_some() && !page.layout.wide() { header.len() - 1 } else { header.len() };
    let rows: Vec<Vec<String>> = rows.into_iter().map(|mut row| row.drain(..columns).collect()).collect();
    page.table(&header[..columns], &rows, 1);
}

fn row(page: &Page, label: &str, path: &str, q: &Quantiles) -> Vec<String> {
    let cell = |value: Option<f64>, stat: &str| time_pm(value, page.half_width(&format!("summary.{path}.{stat}")));
    let max = q.max.map_or(super::units::NONE.to_owned(), time);
    vec![label.to_owned(), cell(q.p50, "p50"), cell(q.p95, "p95"), cell(q.p99, "p99"), cell(q.mean, "mean"), max]
}
