//! What can be wrong with a trace, and where.

use std::fmt;
use std::path::PathBuf;

/// A trace that cannot be used: where, what, and what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TraceError {
    /// The file; empty for rows that come from elsewhere.
    pub file: PathBuf,
    /// Line in the file, from 1 (row, for rows that come from elsewhere).
    pub line: Option<u64>,
    /// What is wrong there.
    pub fault: Box<Fault>,
}

/// What is wrong with a row, or with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Kind of fault.
    pub kind: FaultKind,
    /// Column or key, in the file's own words.
    pub column: Option<String>,
    /// The offending text, cut to 60 characters.
    pub text: Option<String>,
    /// What was expected, or what to do.
    pub expected: String,
}

/// Kinds of faults. Those of a row can be skipped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The file cannot be opened or read.
    Unreadable,
    /// A compressed file ends early.
    Truncated,
    /// A compressed file is damaged.
    Damaged,
    /// A known format that is not read here.
    Unsupported,
    /// No format fits.
    UnknownFormat,
    /// No row at all, or none left.
    Empty,
    /// A column or key that must be there is not.
    MissingColumn,
    /// A column whose name is nearly that of a known one.
    MisspeltColumn,
    /// A setting of the trace makes no sense.
    BadSetting,
    /// The time unit cannot be told.
    AmbiguousUnit,
    /// A line over the limit.
    LineTooLong,
    /// The file is not what it was when it was checked.
    Changed,
    /// More tenants and routes than a table holds.
    TooManyLabels,
    /// Not a sample of a metrics page.
    BadMetric,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// More or fewer fields than the header.
    FieldCount,
    /// Not a CSV record on one line.
    BadCsv,
    /// Not a JSON object on one line.
    BadJson,
    /// No value.
    MissingValue,
    /// Not a number.
    NotANumber,
    /// NaN or infinite.
    NotFinite,
    /// Below zero.
    Negative,
    /// An empty prompt.
    ZeroInput,
    /// No answer: a failed request.
    ZeroOutput,
    /// No answer allowed.
    ZeroMaxTokens,
    /// A count with a fraction.
    NotInteger,
    /// Beyond the range.
    TooLarge,
    /// Below the range.
    TooSmall,
    /// Not a time.
    BadTime,
    /// Earlier than the row before.
    Backwards,
    /// Prefix hashes that do not fit the prompt.
    BadBlocks,
    /// Tokens by source that do not add up.
    BadSources,
    /// A class that the scenario does not have.
    UnknownClass,
    /// A turn that does not follow the one before.
    BadSession,
    /// A record that was logged before.
    Duplicate,
    /// A request that failed.
    Failed,
    /// Answered from a cache in front of the server.
    FromCache,
    /// The warm-up of a benchmark.
    WarmUp,
    /// Something else than a request for text.
    NotInference,
    /// A span that another span of the same request repeats.
    Repeated,
    /// It does not say how many tokens.
    NoTokens,
}

impl FaultKind {
    /// In words: heads an error, and names the reason in a count of skipped rows.
    pub fn reason(self) -> &'static str {
        match self {
            FaultKind::Unreadable => "cannot be read",
            FaultKind::Truncated => "the compressed data ends early",
            FaultKind::Damaged => "the compressed data is damaged",
            FaultKind::Unsupported => "unsupported format",
            FaultKind::UnknownFormat => "unknown format",
            FaultKind::Empty => "no usable rows",
            FaultKind::MissingColumn => "missing column",
            FaultKind::MisspeltColumn => "unknown column",
            FaultKind::BadSetting => "bad trace setting",
            FaultKind::AmbiguousUnit => "ambiguous time unit",
            FaultKind::LineTooLong => "line too long",
            FaultKind::Changed => "the file changed while it was read",
            FaultKind::TooManyLabels => "too many tenants and routes",
            FaultKind::BadMetric => "not a metric",
            FaultKind::NotUtf8 => "not UTF-8",
            FaultKind::FieldCount => "wrong number of fields",
            FaultKind::BadCsv => "not a CSV record",
            FaultKind::BadJson => "not a JSON object",
            FaultKind::MissingValue => "missing value",
            FaultKind::NotANumber => "not a number",
            FaultKind::NotFinite => "not a finite number",
            FaultKind::Negative => "negative",
            FaultKind::ZeroInput => "no input tokens",
            FaultKind::ZeroOutput => "no output tokens (a failed request)",
            FaultKind::ZeroMaxTokens => "max_tokens is zero",
            FaultKind::NotInteger => "not a whole number",
            FaultKind::TooLarge => "too large",
            FaultKind::TooSmall => "too small",
            FaultKind::BadTime => "not a time",
            FaultKind::Backwards => "time goes backwards",
            FaultKind::BadBlocks => "prefix hashes do not fit the prompt",
            FaultKind::BadSources => "tokens by source do not add up",
            FaultKind::UnknownClass => "unknown class",
            FaultKind::BadSession => "a turn does not follow the one before",
            FaultKind::Duplicate => "logged twice (the id of an earlier row)",
            FaultKind::Failed => "a failed request",
            FaultKind::FromCache => "answered from a cache in front of the server",
            FaultKind::WarmUp => "warm-up of a benchmark",
            FaultKind::NotInference => "not a request for text",
            FaultKind::Repeated => "another span of the same request",
            FaultKind::NoTokens => "no token counts",
        }
    }

    /// Whether it spoils one row only, so that `skip_bad_rows` may leave that row out.
    pub fn of_a_row(self) -> bool {
        self >= FaultKind::NotUtf8
    }
}

impl Fault {
    /// A fault with neither column nor text.
    pub fn new(kind: FaultKind, expected: impl Into<String>) -> Fault {
        Fault { kind, column: None, text: None, expected: expected.into() }
    }

    /// In this column.
    pub fn column(mut self, column: &str) -> Fault {
        self.column = Some(column.to_owned());
        self
    }

    /// About this text.
    pub fn text(mut self, text: &str) -> Fault {
        let cut = text.char_indices().nth(60).map_or(text.len(), |(i, _)| i);
        self.text = Some(if cut < text.len() { format!("{}...", &text[..cut]) } else { text.to_owned() });
        self
    }
}

impl TraceError {
    /// File and line.
    pub fn place(&self) -> String {
        let name = if self.file.as_os_str().is_empty() { "trace".into() } else { self.file.display().to_string() };
        self.line.map_or(name.clone(), |line| format!("{name}:{line}"))
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place())?;
        if let Some(column) = &self.fault.column {
            write!(f, "column `{column}`: ")?;
        }
        write!(f, "{}", self.fault.kind.reason())?;
        if let Some(text) = &self.fault.text {
            write!(f, ": `{text}`")?;
        }
        if !self.fault.expected.is_empty() {
            write!(f, "; {}", self.fault.expected)?;
        }
        Ok(())
    }
}

/// `; did you mean ...?` for the candidate closest to `name`, if one is close.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let key = name.to_lowercase();
    let mut best = None;
    for candidate in candidates {
        let likeness = strsim::jaro_winkler(&key, &candidate.to_lowercase());
        if likeness > 0.85 && best.is_none_or(|(b, _)| likeness > b) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
