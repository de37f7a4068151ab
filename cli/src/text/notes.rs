//! What the reader must know: last, so that it stays on the screen.

use super::style::{self, paint};
use super::{Page, table};

pub(super) fn write(page: &mut Page) {
    let report = page.report;
    let warnings = report.model.out_of_range.iter().map(|w| format!("outside the profile's measured range: {w}"));
    let items: Vec<(bool, String)> = warnings.map(|w| (true, w)).chain(report.notes.iter().map(|n| (false, n.clone()))).collect();
    if items.is_empty() {
        return;
    }
    page.heading("Notes", "");
    for (warning, text) in items {
        let (mark, style) = if warning { ("!", style::WARN) } else { ("-", style::DIM) };
        for (i, line) in table::wrap(&text, page.layout.width - 4).into_iter().enumerate() {
            let mark = if i == 0 { paint(style, mark) } else { " ".to_owned() };
            page.line(format!("  {mark} {line}"));
        }
    }
}
