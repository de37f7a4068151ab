//! What is wrong with a scenario: every problem at once, each with its place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioError {
    /// Where: the file's name, or `--set`.
    pub file: String,
    /// The whole text that `span` points into: the file's, or that of one override.
    pub text: Arc<str>,
    /// Bytes of `text`; `None` where the problem has no place (a file that cannot be read).
    pub span: Option<Range<usize>>,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Nothing is wrong with what was typed: this model just does not go on these GPUs in this layout.
    pub unfit: bool,
}

impl ScenarioError {
    /// The offending text; empty if there is no place.
    pub fn offending(&self) -> &str {
        self.span.clone().and_then(|span| self.text.get(span)).unwrap_or("")
    }

    /// Line and column of the place, both from 1, the column in characters.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let before = self.text.get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

impl fmt::Display for ScenarioError {
    /// `file:line:column: message (help)`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_column() {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message)?,
            None => write!(f, "{}: {}", self.file, self.message)?,
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Everything wrong with a scenario, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioErrors(pub Vec<ScenarioError>);

impl fmt::Display for ScenarioErrors {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioErrors {}

/// The texts that byte spans refer to: the file's at 0, each override's behind it.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The file's name.
    file: String,
    /// Start in the common numbering, and text. The first is the file.
    texts: Vec<(usize, Arc<str>)>,
}

impl Sources {
    pub(crate) fn new(file: &str, text: &str) -> Sources {
        Sources { file: file.to_owned(), texts: vec![(0, text.into())] }
    }

    /// Adds an override's text and returns where it starts in the common numbering.
    pub(crate) fn add(&mut self, text: &str) -> usize {
        let start = self.texts.last().map_or(0, |(start, last)| start + last.len() + 1);
        self.texts.push((start, text.into()));
        start
    }

    /// The problem at `span` of the common numbering.
    fn error(&self, span: Option<Range<usize>>, message: String, help: Option<String>) -> ScenarioError {
        let at = span.as_ref().map_or(0, |span| self.texts.partition_point(|(start, _)| *start <= span.start) - 1);
        let (start, text) = &self.texts[at];
        let span = span.map(|span| {
            let end = (span.end - start).min(text.len());
            (span.start - start).min(end)..end
        });
        let file = if at == 0 { self.file.clone() } else { "--set".to_owned() };
        ScenarioError { file, text: text.clone(), span, message, help, unfit: false }
    }
}

/// Collects problems.
#[derive(Debug)]
pub(crate) struct Problems {
    sources: Sources,
    errors: Vec<(usize, ScenarioError)>,
    /// Keys whose values could not be read: they are not reported as missing in addition.
    pub(crate) unreadable: Vec<String>,
    /// The text is no TOML: nothing more can be said about it.
    pub(crate) broken: bool,
}

impl Problems {
    pub(crate) fn new(sources: Sources) -> Problems {
        Problems { sources, errors: Vec::new(), unreadable: Vec::new(), broken: false }
    }

    /// Notes a problem at `span`.
    pub(crate) fn add(&mut self, span: Option<Range<usize>>, message: impl Into<String>, help: Option<String>) {
        let order = span.as_ref().map_or(0, |span| span.start);
        self.errors.push((order, self.sources.error(span, message.into(), help)));
    }

    /// Notes that the model does not go on the GPUs as they are laid out.
    pub(crate) fn unfit(&mut self, span: Option<Range<usize>>, message: impl Into<String>, help: Option<String>) {
        self.add(span, message, help);
        if let Some((_, error)) = self.errors.last_mut() {
            error.unfit = true;
        }
    }

    /// Notes a problem with a value.
    pub(crate) fn at(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.add(Some(span), message, None);
    }

    /// Notes that `key` is missing, unless it is there and unreadable.
    pub(crate) fn missing(&mut self, span: Option<Range<usize>>, key: &str, message: impl Into<String>, help: Option<String>) {
        if !self.unreadable.iter().any(|k| k == key) {
            self.add(span, message, help);
        }
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The problems in the order of the text.
    pub(crate) fn into_errors(mut self) -> ScenarioErrors {
        self.errors.sort_by_key(|(order, _)| *order);
        ScenarioErrors(self.errors.into_iter().map(|(_, error)| error).collect())
    }
}

/// The candidate most like `word`, if it is like enough to be meant. One typing error is enough in short words, of which the
/// similarity says little.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| {
        let one_off = word.len() > 1 && strsim::osa_distance(word, candidate) <= 1;
        strsim::jaro_winkler(word, candidate).max(if one_off { 0.9 } else { 0.0 })
    };
    let best = candidates.into_iter().map(|c| (likeness(c), c)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}
