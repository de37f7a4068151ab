//! Plain tables: no rules, the first columns to the left, figures to the right.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::style::{self, paint};

/// Lays rows out under a header. The first `left` columns are aligned to the left, all others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>], left: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    let align = |i: usize| if i < left { CellAlignment::Left } else { CellAlignment::Right };
    let cells = |row: &mut dyn Iterator<Item = String>| -> Vec<Cell> {
        row.enumerate().map(|(i, text)| Cell::new(text).set_alignment(align(i))).collect()
    };
    table.set_header(cells(&mut header.iter().map(|h| (*h).to_owned())));
    for row in rows {
        table.add_row(cells(&mut row.iter().cloned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The same with a header that stands back.
pub fn quiet_table(header: &[&str], rows: &[Vec<String>], left: usize) -> Vec<String> {
    let mut lines = table(header, rows, left);
    lines[0] = paint(style::DIM, &lines[0]);
    lines
}

/// At most `width` characters, the last an ellipsis if something was cut.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).collect::<String>() + "…"
}

/// Characters of `text` that a terminal shows: colours, which begin with an escape and end with an `m`, are none.
fn shown(text: &str) -> usize {
    let mut pieces = text.split('\u{1b}');
    let plain = pieces.next().map_or(0, |piece| piece.chars().count());
    plain + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

/// Breaks `text` at spaces into lines of at most `width` characters as shown; a longer word stays whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && shown(line) + 1 + shown(word) > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["TTFT".to_owned(), "812 ms".to_owned()], vec!["e2e".to_owned(), "1.24 s".to_owned()]];
        assert_eq!(table(&["", "p50"], &rows, 1), ["         p50", "TTFT  812 ms", "e2e   1.24 s"]);
    }

    #[test]
    fn text_is_clipped_and_wrapped_by_characters() {
        assert_eq!((clip("größer", 6).as_str(), clip("größer", 4).as_str()), ("größer", "grö…"));
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
        let bold = crate::text::style::paint(crate::text::style::WARN, "one");
        assert_eq!(wrap(&format!("{bold} two three"), 7), [format!("{bold} two"), "three".to_owned()]);
    }
}
