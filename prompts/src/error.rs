//! What is wrong with a prompt file.

use thiserror::Error;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{file}{}: {reason}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct PromptError {
    /// The file, as it was named.
    pub file: String,
    /// Line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what was expected.
    pub reason: String,
    /// A name that is not known here, and those that are: one of them may have been meant.
    pub unknown: Option<Unknown>,
}

/// A name that is not known, and those that are.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// The name.
    pub name: String,
    /// Whether the scenario gives it and the template does not use it; otherwise the template uses it and nobody gives it.
    pub unused: bool,
    /// The names known in its place.
    pub known: Vec<String>,
}

impl PromptError {
    /// An error of the file as a whole.
    pub(crate) fn of(file: &str, reason: impl Into<String>) -> PromptError {
        PromptError { file: file.to_owned(), line: None, reason: reason.into(), unknown: None }
    }

    /// A variable that the template uses and that has no value.
    pub(crate) fn no_value(file: &str, line: Option<usize>, name: &str, known: Vec<String>) -> PromptError {
        let reason = format!("`{name}` has no value: give it one in `variables`, a text or an assumed number of tokens");
        let unknown = Some(Unknown { name: name.to_owned(), unused: false, known });
        PromptError { file: file.to_owned(), line, reason, unknown }
    }
}
