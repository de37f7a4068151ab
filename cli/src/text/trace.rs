//! Traces in words: what an import did.

use std::path::Path;

use tokentide_traces::import::ImportReport;
use tokentide_traces::survey::Figures;
use tokentide_traces::survey::counts::Quantiles;

use super::style::{self, paint};
use super::table::{quiet_table, wrap};
use super::units::{NONE, count, digits, exact, percent, time};

/// What an import did; `written`: where the trace is.
pub fn import(report: &ImportReport, written: Option<&Path>, width: usize) -> String {
    let files = if report.files == 1 { "1 file".to_owned() } else { format!("{} files", report.files) };
    let mut lines = vec![paint(
        style::HEADING,
        &format!(
            "{} format, {files}, times in {}: {} records read, {} rows kept",
            report.format,
            report.time_unit,
            exact(report.rows_read),
            exact(report.rows_kept)
        ),
    )];
    lines.extend(figures(&report.figures));
    if !report.left_out.is_empty() {
        lines.push(String::new());
        lines.push(paint(style::HEADING, "Left out"));
        for set in &report.left_out {
            let first = set.first.as_ref().map_or(String::new(), |first| format!(" (first: {first})"));
            lines.push(format!("  {:>9}  {}{first}", count(set.rows as f64), set.reason));
        }
    }
    if report.failed_kept > 0 {
        lines.push(format!("{} failed requests are kept, with an answer of one token", count(report.failed_kept as f64)));
    }
    if !report.ignored_columns.is_empty() {
        let shown = wrap(&format!("Columns not read: {}", report.ignored_columns.join(", ")), width.max(40));
        lines.push(String::new());
        lines.extend(shown.iter().map(|line| paint(style::DIM, line)));
    }
    for warning in &report.warnings {
        let text = wrap(warning, width.saturating_sub(9).max(40));
        lines.push(String::new());
        lines.extend(text.iter().enumerate().map(|(i, line)| match i {
            0 => format!("{} {line}", paint(style::WARN, "warning:")),
            _ => format!("         {line}"),
        }));
    }
    lines.push(String::new());
    lines.push(match written {
        Some(path) => {
            let path = path.display();
            paint(
                style::DIM,
                &format!("Written to {path}. Next: tokentide trace inspect {path}; tokentide simulate --trace {path}"),
            )
        }
        None => paint(style::DIM, "Nothing was written: -o trace.parquet writes the trace."),
    });
    lines.join("\n") + "\n"
}

/// Prompts and answers in a row of a table: `in p50`, `p95`, `all`, `out p50`, `p95`, `all`.
pub fn lengths(f: &Figures) -> impl Iterator<Item = String> {
    [f.input, f.output].into_iter().flat_map(|q| [q.p50.into(), q.p95.into(), q.total as f64].map(count))
}

/// What a transformation did.
pub fn transformed(before: &Figures, after: &Figures, notes: &[String], written: &Path) -> String {
    let mut lines: Vec<String> = notes.to_vec();
    let mut rows = Vec::new();
    for (name, f) in [("before", before), ("after", after)] {
        let mut row = vec![name.to_owned(), exact(f.rows), time(f.arrivals.span_s * 1e3), digits(f.arrivals.rate)];
        row.extend(lengths(f));
        rows.push(row);
    }
    let header = ["", "requests", "span", "req/s", "in p50", "p95", "all", "out p50", "p95", "all"];
    lines.push(String::new());
    lines.extend(quiet_table(&header, &rows, 1));
    let ratio = |of: fn(&Figures) -> u64| of(after) as f64 / of(before).max(1) as f64;
    lines.push(String::new());
    lines.push(format!(
        "{}x the requests, {}x the input tokens, {}x the output tokens",
        digits(ratio(|f| f.rows)),
        digits(ratio(|f| f.input.total)),
        digits(ratio(|f| f.output.total))
    ));
    lines.push(paint(style::DIM, &format!("Written to {}", written.display())));
    lines.join("\n") + "\n"
}

/// The figures of a trace.
pub fn figures(figures: &Figures) -> Vec<String> {
    let a = &figures.arrivals;
    let mut lines = vec![format!(
        "span {}, {} requests/s{}",
        time(a.span_s * 1e3),
        digits(a.rate),
        match figures.sessions {
            0 => String::new(),
            n => format!(", {} sessions", count(n as f64)),
        }
    )];
    if figures.waiting > 0 {
        lines.push(format!(
            "{} rows are turns that wait for the answer before and a delay after it; arrivals below are of the other {}",
            count(figures.waiting as f64),
            count((figures.rows - figures.waiting) as f64)
        ));
    }
    lines.push(String::new());
    let row = |name: &str, q: &Quantiles| {
        let cells = [q.p1, q.p5, q.p25, q.p50, q.p75, q.p90, q.p95, q.p99, q.max].map(|v| count(f64::from(v)));
        let mut out = vec![name.to_owned(), count(q.mean)];
        out.extend(cells);
        out.push(count(q.total as f64));
        out
    };
    let mut rows = vec![row("input tokens", &figures.input), row("output tokens", &figures.output)];
    rows.extend(figures.max_tokens.as_ref().map(|max| row("max_tokens", max)));
    let header = ["", "mean", "p1", "p5", "p25", "p50", "p75", "p90", "p95", "p99", "max", "all"];
    lines.extend(quiet_table(&header, &rows, 1));
    lines.push(String::new());
    if let Some(cv) = a.cv {
        let [one, ten, sixty] = a.dispersion.map(|value| value.map_or(NONE.to_owned(), digits));
        let peak = a.peak_to_mean.map_or(String::new(), |peak| format!("; busiest minute {}x the mean", digits(peak)));
        lines.push(format!(
            "arrivals   CV {}; dispersion of counts {one} / {ten} / {sixty} at 1 / 10 / 60 s (1 is Poisson){peak}",
            digits(cv)
        ));
    }
    lines.push(match &figures.prefix {
        None => "prefixes   unknown".to_owned(),
        Some(prefix) => {
            let block = prefix.block_tokens.map_or(String::new(), |b| format!(", {b} tokens per hash"));
            let sampled = match prefix.sampled_one_in {
                1 => String::new(),
                n => format!(" (estimated from one block in {n})"),
            };
            format!(
                "prefixes   {} of the input tokens at most are found in a cache that never forgets{sampled}{block}",
                percent(prefix.hit_ceiling)
            )
        }
    });
    if figures.cached_tokens > 0 {
        let share = figures.cached_tokens as f64 / figures.input.total.max(1) as f64;
        lines.push(format!("observed   {} of the input tokens came from a cache where this was recorded", percent(share)));
    }
    if figures.reasoning_tokens > 0 {
        let share = figures.reasoning_tokens as f64 / figures.output.total.max(1) as f64;
        lines.push(format!("reasoning  {} of the output tokens", percent(share)));
    }
    lines
}
