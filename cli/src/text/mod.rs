//! The report as text: what a platform engineer has to know first comes first.
//!
//! Load and headroom stand before any latency, because near saturation latency is not predictable and headroom is. A latency of
//! an overloaded run is a property of the run's length, so it never stands there without those words.

pub mod autoscalers;
pub mod bars;
pub mod fit;
mod fleet;
mod groups;
mod headline;
pub mod inspect;
mod latency;
mod level;
mod load;
mod notes;
mod outcome;
pub mod page;
pub mod plan;
pub mod style;
pub mod sweep;
pub mod table;
mod tokens;
pub mod trace;
pub use tokentide_models::show as units;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub mod sample;

use tokentide_sim::report::Report;

/// Said next to every latency of an overloaded run.
pub const UNSTABLE: &str = "unstable: grows with the length of the run";

/// How the report is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Characters per line.
    pub width: usize,
    /// Also per output bucket and per replica.
    pub verbose: bool,
}

impl Layout {
    /// Narrowest and widest line that is used.
    pub const WIDTHS: std::ops::RangeInclusive<usize> = 80..=100;

    /// For a line of `width` characters, as far as that is sensible.
    pub fn new(width: usize, verbose: bool) -> Layout {
        Layout { width: width.clamp(*Layout::WIDTHS.start(), *Layout::WIDTHS.end()), verbose }
    }

    /// Whether there is room for the columns that may be left out.
    fn wide(&self) -> bool {
        self.width >= 96
    }
}

/// The whole report, styled; ends with a line feed.
pub fn report(report: &Report, layout: Layout) -> String {
    let mut page = Page { lines: Vec::new(), report, layout };
    headline::write(&mut page);
    load::write(&mut page);
    fleet::write(&mut page);
    latency::write(&mut page);
    groups::write(&mut page);
    tokens::write(&mut page);
    level::write(&mut page);
    outcome::write(&mut page);
    notes::write(&mut page);
    page.lines.join("\n") + "\n"
}

/// Lines written so far, and what they are about.
struct Page<'a> {
    lines: Vec<String>,
    report: &'a Report,
    layout: Layout,
}

impl Page<'_> {
    fn line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    /// A blank line and a heading with an optional remark behind it.
    fn heading(&mut self, title: &str, remark: &str) {
        self.line("");
        let remark = if remark.is_empty() { String::new() } else { format!("  {remark}") };
        self.line(format!("{}{remark}", style::paint(style::HEADING, title)));
    }

    /// A heading over latencies: says so if they mean nothing.
    fn latency_heading(&mut self, title: &str) {
        let remark = if self.overloaded() { style::paint(style::BAD, UNSTABLE) } else { String::new() };
        self.heading(title, &remark);
    }

    /// A table, indented; its header dim.
    fn table(&mut self, header: &[&str], rows: &[Vec<String>], left: usize) {
        for (i, line) in table::table(header, rows, left).into_iter().enumerate() {
            self.line(if i == 0 { format!("  {}", style::paint(style::DIM, &line)) } else { format!("  {line}") });
        }
    }

    /// `label  text`, the text wrapped beside the label.
    fn item(&mut self, label: &str, text: &str) {
        let indent = 2 + level::LABEL;
        for (i, line) in table::wrap(text, self.layout.width - indent).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            self.line(format!("  {label:<width$}{line}", width = level::LABEL).trim_end().to_owned());
        }
    }

    fn overloaded(&self) -> bool {
        self.report.summary.capacity.state == "overloaded"
    }

    fn saturated(&self) -> bool {
        self.report.summary.capacity.state == "saturated by design"
    }

    /// Half-width of the 95 % confidence interval of the figure at `path`.
    fn half_width(&self, path: &str) -> Option<f64> {
        self.report.ci95.as_ref()?.get(path).copied().filter(|h| h.is_finite())
    }
}
