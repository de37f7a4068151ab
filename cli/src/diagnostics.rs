//! Errors in files, shown where they are: file, line, column, the offending text, and what was probably meant.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// Something wrong with what the user gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diagnostic {
    /// The file, if it is in one.
    pub file: Option<PathBuf>,
    /// All of the file's text; empty if there is none.
    #[serde(skip)]
    pub source_text: String,
    /// Number of the text's first line, from 1; 0 counts as 1.
    #[serde(skip)]
    pub first_line: usize,
    /// Where in the text [bytes].
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A message without a place.
    pub fn message(text: impl Into<String>) -> Diagnostic {
        Diagnostic { message: text.into(), ..Diagnostic::default() }
    }

    /// A message about a whole file.
    pub fn file(path: &Path, text: impl Into<String>) -> Diagnostic {
        Diagnostic { file: Some(path.to_owned()), ..Diagnostic::message(text) }
    }

    /// A message about a line of a file that is not kept in memory, such as a trace.
    pub fn line(path: &Path, number: usize, line: &str, text: impl Into<String>) -> Diagnostic {
        let span = Some(0..line.len());
        Diagnostic { source_text: line.to_owned(), first_line: number, span, ..Diagnostic::file(path, text) }
    }

    /// Styled text of several lines, without a line feed at the end.
    pub fn render(&self) -> String {
        let path = self.file.as_ref().map(|p| p.display().to_string());
        let mut group = Group::with_title(Level::ERROR.primary_title(self.message.as_str()));
        match (&path, self.span.as_ref().filter(|_| !self.source_text.is_empty())) {
            (_, Some(span)) => {
                let snippet = Snippet::source(self.source_text.as_str()).path(path.as_deref()).line_start(self.first_line.max(1));
                let span = within(&self.source_text, span);
                group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
            }
            (Some(path), None) => group = group.element(Origin::path(path.as_str())),
            (None, None) => {}
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::styled().decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// The span cut to the text and widened to whole characters, so that no producer of spans can make the renderer panic.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = (0..=span.start.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let end = (span.end.clamp(start, text.len())..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(diagnostic: &Diagnostic) -> String {
        anstream::adapter::strip_str(&diagnostic.render()).to_string()
    }

    #[test]
    fn an_error_is_shown_where_it_is() {
        let source_text = "[cluster]\n# how many\nreplica = 4\n".to_owned();
        let start = source_text.find("replica").unwrap();
        let diagnostic = Diagnostic {
            file: Some("bad.toml".into()),
            span: Some(start..start + 7),
            source_text,
            first_line: 1,
            message: "unknown field `replica`, expected one of `replicas`, `router`".to_owned(),
            help: Some("did you mean `replicas`?".to_owned()),
        };
        let expected = "\
error: unknown field `replica`, expected one of `replicas`, `router`
 --> bad.toml:3:1
  |
3 | replica = 4
  | ^^^^^^^
  |
  = help: did you mean `replicas`?";
        assert_eq!(plain(&diagnostic), expected);
    }

    #[test]
    fn a_line_of_a_trace_keeps_its_number() {
        let text = plain(&Diagnostic::line(Path::new("t.csv"), 1042, "0.1,abc,3", "`abc` is no number of tokens"));
        assert!(text.contains("t.csv:1042:1") && text.contains("0.1,abc,3"), "{text}");
    }

    #[test]
    fn a_message_needs_no_place() {
        assert_eq!(plain(&Diagnostic::message("no such command")), "error: no such command");
        assert_eq!(plain(&Diagnostic::file(Path::new("a.toml"), "not found")), "error: not found\n--> a.toml");
    }

    #[test]
    fn no_span_makes_it_panic() {
        let text = "a = \"größer\"\r\n\n";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let diagnostic = Diagnostic {
                    file: Some("x.toml".into()),
                    source_text: text.to_owned(),
                    span: Some(start..end),
                    ..Diagnostic::message("wrong")
                };
                assert!(plain(&diagnostic).contains("x.toml"));
            }
        }
    }
}
