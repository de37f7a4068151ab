//! Views of a trace in words and tables.

use tokentide_traces::import::ImportReport;
use tokentide_traces::inspect::labels::LabelRow;
use tokentide_traces::inspect::windows::{Drift, Twins};
use tokentide_traces::inspect::{Bucket, Inspection};

use super::bars::sparkline;
use super::style::{self, paint};
use super::table::{clip, quiet_table, wrap};
use super::trace::figures;
use super::units::{count, digits, exact, percent};

/// Cells of a sparkline, and longest name of a label.
const SPARK: usize = 24;
const NAME: usize = 28;

/// All views.
pub fn inspection(report: &ImportReport, inspection: &Inspection, width: usize) -> String {
    let mut page = Page { lines: Vec::new(), width: width.max(60) };
    let rows = exact(report.rows_kept);
    let dropped = match report.rows_read - report.rows_kept {
        0 => String::new(),
        n => format!(", {} records left out (`trace import` lists why)", exact(n)),
    };
    page.lines.push(paint(style::HEADING, &format!("{} format, {rows} requests{dropped}", report.format)));
    if let Some(twins) = &inspection.twins {
        page.twins(twins);
    }
    page.lines.extend(figures(&inspection.figures));
    if let Some([input, output]) = inspection.explained {
        page.lines.push(format!(
            "requests   explain {} of the minutes' input tokens and {} of their output tokens (R^2)",
            percent(input),
            percent(output)
        ));
    }
    page.buckets(&inspection.buckets, inspection.figures.rows);
    page.sources(inspection);
    page.limits(inspection);
    for (kind, labels) in &inspection.labels {
        page.labels(kind, labels, inspection.label_counts.get(kind).copied().unwrap_or(0));
    }
    page.windows(&inspection.windows);
    for warning in &report.warnings {
        page.lines.push(String::new());
        page.wrapped(&format!("{} {warning}", paint(style::WARN, "warning:")));
    }
    page.lines.join("\n") + "\n"
}

/// Hours, minutes and seconds from the first arrival.
fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

struct Page {
    lines: Vec<String>,
    width: usize,
}

impl Page {
    fn wrapped(&mut self, text: &str) {
        self.lines.extend(wrap(text, self.width));
    }

    fn table(&mut self, title: &str, header: &[&str], rows: &[Vec<String>]) {
        self.lines.push(String::new());
        self.lines.push(paint(style::HEADING, title));
        self.lines.extend(quiet_table(header, rows, 1).iter().map(|line| format!("  {line}")));
    }

    /// The headline: as many requests, other tokens.
    fn twins(&mut self, twins: &Twins) {
        let at = |w: &Drift| {
            let (start, end) = (w.start_s, w.start_s + w.length_s);
            format!(
                "[{}, {}): {} requests, {} input and {} output tokens",
                clock(start),
                clock(end),
                exact(w.rows),
                count(w.input_tokens as f64),
                count(w.output_tokens as f64)
            )
        };
        let more = (twins.b.rows as f64 / twins.a.rows as f64 - 1.0) * 100.0;
        let text = format!("Same requests, {}x the {} tokens ({more:+.1} % requests)", digits(twins.ratio), twins.of);
        self.lines.push(paint(style::WARN, &text));
        self.lines.push(format!("  A  {}", at(&twins.a)));
        self.lines.push(format!("  B  {}", at(&twins.b)));
    }

    fn buckets(&mut self, buckets: &[Bucket], rows: u64) {
        let tokens: u64 = buckets.iter().map(|b| b.input_tokens + b.output_tokens).sum();
        let row = |b: &Bucket| {
            let name = match b.up_to {
                Some(up_to) => format!("{} - {}", count(f64::from(b.above) + 1.0), count(f64::from(up_to))),
                None => format!("> {}", count(f64::from(b.above))),
            };
            let each = |sum: u64| if b.rows == 0 { "-".to_owned() } else { count(sum as f64 / b.rows as f64) };
            vec![
                name,
                exact(b.rows),
                percent(b.rows as f64 / rows.max(1) as f64),
                percent((b.input_tokens + b.output_tokens) as f64 / tokens.max(1) as f64),
                each(b.input_tokens),
                each(b.output_tokens),
            ]
        };
        let rows: Vec<Vec<String>> = buckets.iter().filter(|b| b.rows > 0).map(row).collect();
        self.table("By prompt length", &["input tokens", "requests", "of requests", "of tokens", "mean in", "mean out"], &rows);
    }

    fn sources(&mut self, inspection: &Inspection) {
        if inspection.sources.is_empty() {
            return;
        }
        let rows = inspection.sources.iter().map(|s| {
            let q = &s.tokens;
            vec![
                s.source.to_owned(),
                percent(s.share),
                count(q.mean),
                count(q.p50.into()),
                count(q.p95.into()),
                count(q.p99.into()),
                count(q.total as f64),
            ]
        });
        let title = match inspection.rows_with_sources == inspection.figures.rows {
            true => "Where input tokens come from".to_owned(),
            false => format!(
                "Where input tokens come from, of {} of the requests",
                percent(inspection.rows_with_sources as f64 / inspection.figures.rows as f64)
            ),
        };
        self.table(&title, &["source", "share", "mean", "p50", "p95", "p99", "all"], &rows.collect::<Vec<_>>());
    }

    fn limits(&mut self, inspection: &Inspection) {
        let rows = inspection.figures.rows.max(1) as f64;
        let mut lines = Vec::new();
        if let Some(context) = &inspection.context {
            lines.push(format!(
                "context    {} tokens: {} of the prompts are near it, {} leave no room for an answer, {} with their \
                 max_tokens go beyond it",
                exact(u64::from(context.tokens)),
                percent(context.near as f64 / rows),
                percent(context.over as f64 / rows),
                percent(context.max_tokens_over as f64 / rows)
            ));
        }
        let caps = &inspection.caps;
        if caps.rows > 0 {
            lines.push(format!(
                "max_tokens {} of the answers reach it; answers use {} of all that was asked for, the median one {}",
                percent(caps.reached as f64 / caps.rows as f64),
                percent(caps.used_share),
                percent(caps.used_p50)
            ));
        }
        if caps.ended_by_length > 0 {
            lines.push(format!("finish     {} of the answers were cut by a limit", percent(caps.ended_by_length as f64 / rows)));
        }
        if !lines.is_empty() {
            self.lines.push(String::new());
            self.lines.push(paint(style::HEADING, "Limits"));
            lines.iter().for_each(|line| self.wrapped(&format!("  {line}")));
        }
    }

    fn labels(&mut self, kind: &str, labels: &[LabelRow], different: usize) {
        let row = |label: &LabelRow| {
            let minutes: Vec<f64> = label.tokens_per_minute.iter().map(|n| *n as f64).collect();
            let peak = minutes.iter().copied().fold(0.0, f64::max);
            let mean = minutes.iter().sum::<f64>() / minutes.len().max(1) as f64;
            vec![
                clip(&label.name, NAME),
                exact(label.rows),
                percent(label.row_share),
                percent(label.token_share),
                count(label.input.p50.into()),
                count(label.input.p95.into()),
                count(label.output.p50.into()),
                count(label.output.p95.into()),
                count(mean),
                count(peak),
                sparkline(&minutes, peak, SPARK),
            ]
        };
        let rows: Vec<Vec<String>> = labels.iter().map(row).collect();
        let title = format!("By {kind} ({} in all), most tokens first", exact(different as u64));
        let header =
            ["", "requests", "of requests", "of tokens", "in p50", "p95", "out p50", "p95", "tok/min", "peak", "tokens over time"];
        self.table(&title, &header, &rows);
    }

    fn windows(&mut self, windows: &[Drift]) {
        if windows.len() < 2 {
            return;
        }
        let row = |w: &Drift| {
            let each = |sum: u64| if w.rows == 0 { "-".to_owned() } else { count(sum as f64 / w.rows as f64) };
            vec![
                clock(w.start_s),
                exact(w.rows),
                digits(w.rows as f64 / w.length_s.max(1.0)),
                each(w.input_tokens),
                each(w.output_tokens),
                count(w.input_tokens as f64 / w.length_s.max(1.0)),
                count(w.output_tokens as f64 / w.length_s.max(1.0)),
            ]
        };
        let rows: Vec<Vec<String>> = windows.iter().take(48).map(row).collect();
        self.table("Over time", &["from", "requests", "req/s", "mean in", "mean out", "in tok/s", "out tok/s"], &rows);
        if windows.len() > 48 {
            self.lines.push(format!("  ... {} more (--format json has all)", windows.len() - 48));
        }
    }
}
