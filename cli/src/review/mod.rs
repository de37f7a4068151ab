//! A comparison in the formats of a review: for a terminal, for the comment on a pull request, for annotations and test reports.

mod explain;
mod github;
mod junit;
mod markdown;
mod metrics;
mod text;
mod words;

pub use explain::explain;
pub use github::github;
pub use junit::junit;
pub use markdown::markdown;
pub use metrics::{metrics, metrics_json};
pub use text::text;

/// How it is written.
pub struct How {
    /// Every figure, not only those that changed.
    pub all: bool,
    /// The checks are what it is about.
    pub checks: bool,
    /// Characters per line.
    pub width: usize,
    /// Name in the hidden marker of a comment.
    pub marker: String,
    /// The command that gives the same again.
    pub command: String,
}

/// The command as it was typed, without what only says how and where it is written.
pub fn command() -> String {
    let mut words = vec!["tokentide".to_owned()];
    let mut skip = false;
    for word in std::env::args().skip(1) {
        let dropped = ["--format", "--output", "-o", "--color", "--marker", "--threads"];
        if std::mem::take(&mut skip) {
            continue;
        }
        if dropped.contains(&word.as_str()) {
            skip = true;
        } else if !dropped.iter().any(|d| word.starts_with(&format!("{d}=")))
            && word != "--no-progress"
            && word != "-q"
            && word != "--quiet"
        {
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:@+%".contains(c));
            words.push(if plain { word } else { format!("'{}'", word.replace('\'', r"'\''")) });
        }
    }
    words.join(" ")
}
