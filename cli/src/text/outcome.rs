//! How requests ended, whether the service levels hold, and what it costs.

use tokentide_sim::report::SloResult;

use super::style::{self, paint};
use super::table::clip;
use super::units::{NONE, exact, half_width, percent, percent_reached, rate, time, usd};
use super::{Page, UNSTABLE};

const MISSED: &str = "MISSED";

pub(super) fn write(page: &mut Page) {
    finish(page);
    service_levels(page);
    cost(page);
}

fn finish(page: &mut Page) {
    let summary = &page.report.summary;
    page.heading("Requests", "");
    let total = summary.requests.total.max(1) as f64;
    let mut reasons: Vec<(&String, u64)> = summary.requests.by_finish.iter().map(|(r, &n)| (r, n)).filter(|r| r.1 > 0).collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {}", percent(*n as f64 / total))).collect();
    let completed = format!("{} of {}", exact(summary.requests.completed), exact(summary.requests.total));
    let text = if reasons.is_empty() { completed } else { format!("{completed}: {}", reasons.join(", ")) };
    page.item("completed", &text);
    let limits = format!(
        "{} of prompts near max_model_len, {} of answers cut at max_tokens",
        percent(summary.near_context_limit),
        percent(summary.output_cap_hit)
    );
    page.item("limits", &limits);
}

fn service_levels(page: &mut Page) {
    let slo = &page.report.summary.slo;
    let Some(met) = slo.met else { return };
    let (style, word) = if met { (style::GOOD, "met") } else { (style::BAD, MISSED) };
    let unstable = if page.overloaded() { format!("  {}", paint(style::BAD, UNSTABLE)) } else { String::new() };
    page.heading("Service levels", &format!("{}{unstable}", paint(style, word)));
    let rows: Vec<Vec<String>> = slo.targets.iter().map(target).collect();
    let from = page.lines.len();
    page.table(&["class", "target", "limit", "observed", "within limit", ""], &rows, 2);
    for line in &mut page.lines[from..] {
        if let Some(row) = line.strip_suffix(MISSED) {
            *line = format!("{row}{}", paint(style::BAD, MISSED));
        }
    }
    if let (Some(share), Some(goodput)) = (slo.attainment, slo.goodput_requests_per_s) {
        let half = page.half_width("summary.slo.attainment").map(|h| format!(" ± {}", half_width(h * 100.0))).unwrap_or_default();
        let share = percent_reached(share);
        page.item("goodput", &format!("{} req/s; {share}{half} of requests meet all their targets", rate(goodput)));
    }
}

/// Such as `95` or `99.9`.
fn percentile(quantile: f64) -> String {
    let text = format!("{:.3}", quantile * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn target(result: &SloResult) -> Vec<String> {
    let metric = result.target.split_once('_').map_or(result.target.as_str(), |(metric, _)| metric);
    let metric = match metric {
        "ttft" | "tpot" => metric.to_uppercase(),
        _ => metric.to_owned(),
    };
    vec![
        clip(&result.class, 20),
        format!("{metric} p{}", percentile(result.quantile)),
        time(result.limit_ms),
        result.value_ms.map_or("never".to_owned(), time),
        percent_reached(result.attainment),
        if result.met { "met" } else { MISSED }.to_owned(),
    ]
}

fn cost(page: &mut Page) {
    let cost = &page.report.summary.cost;
    page.heading("Cost", "");
    let gpus = if cost.gpus == 1 { "1 GPU".to_owned() } else { format!("{} GPUs", cost.gpus) };
    let hour = format!("{} per hour for {gpus} at {} ({})", usd(cost.usd_per_hour), usd(cost.usd_per_gpu_hour), cost.price_source);
    page.item("fleet", &hour);
    let each = |v: Option<f64>| v.map_or(NONE.to_owned(), usd);
    let unit = format!(
        "{} per 1M output tokens, {} per 1M tokens in and out, {} per 1k requests",
        each(cost.usd_per_million_output_tokens),
        each(cost.usd_per_million_tokens),
        each(cost.usd_per_thousand_requests)
    );
    page.item("at this load", &unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_one_that_was_checked() {
        for (quantile, expected) in [(0.95, "TTFT p95"), (0.999, "TTFT p99.9"), (0.5, "TTFT p50")] {
            let result = SloResult {
                class: "chat".to_owned(),
                target: "ttft".to_owned(),
                quantile,
                limit_ms: 500.0,
                value_ms: None,
                attainment: 1.0,
                met: true,
            };
            assert_eq!(target(&result)[1], expected);
        }
    }
}
