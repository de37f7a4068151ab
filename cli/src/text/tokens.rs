//! Where the tokens come from.

use tokentide_sim::report::Quantiles;

use super::Page;
use super::bars::bar;
use super::units::{NONE, count, percent};

const BAR: usize = 20;

pub(super) fn write(page: &mut Page) {
    let summary = &page.report.summary;
    page.heading("Tokens", "");
    let rows = vec![
        lengths("input", summary.input_tokens, &summary.input_length),
        lengths("output", summary.output_tokens, &summary.output_length),
    ];
    page.table(&["", "total", "p50", "p95", "p99", "mean", "max"], &rows, 1);
    let share = |part: u64| part as f64 / summary.input_tokens.max(1) as f64;
    if summary.cached_tokens > 0 {
        let cached = format!(
            "{} of the input found in the prefix cache ({}): not computed again",
            count(summary.cached_tokens as f64),
            percent(share(summary.cached_tokens))
        );
        page.item("cached", &cached);
    }
    let mut sources: Vec<(&String, u64)> =
        summary.input_tokens_by_source.iter().map(|(s, &t)| (s, t)).filter(|s| s.1 > 0).collect();
    if sources.is_empty() {
        return;
    }
    sources.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let requests = summary.requests.total.max(1) as f64;
    let rows: Vec<Vec<String>> = sources
        .into_iter()
        .map(|(source, tokens)| {
            let mean = count((tokens as f64 / requests).round());
            vec![source.clone(), bar(share(tokens), BAR), percent(share(tokens)), mean, count(tokens as f64)]
        })
        .collect();
    page.line("");
    page.table(&["input by source", "", "share", "mean per request", "total"], &rows, 2);
}

fn lengths(label: &str, total: u64, q: &Quantiles) -> Vec<String> {
    let figures = [q.p50, q.p95, q.p99, q.mean, q.max].map(|v| v.map_or(NONE.to_owned(), |v| count(v.round())));
    [vec![label.to_owned(), count(total as f64)], figures.to_vec()].concat()
}
