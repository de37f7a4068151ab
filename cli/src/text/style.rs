//! Colours of the report. Text is always styled here; the stream it goes to strips what its reader cannot show.

use clap::builder::styling::{AnsiColor, Style};

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Look here.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Something is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
