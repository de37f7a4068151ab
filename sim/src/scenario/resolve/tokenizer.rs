//! Who counts the tokens of prompt files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokentide_prompts::tokenizer::{CHARS_PER_TOKEN, ENCODINGS};
use tokentide_prompts::{Segment, Tokenizer, TokenizerError};

use crate::scenario::Source;
use crate::scenario::at::At;
use crate::scenario::error::{Problems, did_you_mean};
use crate::scenario::file::tokenizer::TokenizerFile;

/// The tokenizer, loaded when the first file is counted, and what it counted.
pub(crate) struct Counting {
    choice: Choice,
    loaded: Option<Tokenizer>,
    /// Whether loading it failed, which is said once.
    failed: bool,
    /// What was counted, as text: part of the scenario's identity.
    counted: String,
}

/// What `[tokenizer]` says.
enum Choice {
    /// There is no such section.
    Default,
    File(At<PathBuf>, PathBuf),
    Encoding(At<String>),
    Characters(At<f64>),
    /// Something is wrong with it.
    Wrong,
}

impl Counting {
    /// What the section says, whose path is relative to `base_dir`. Nothing is loaded yet.
    pub(super) fn of(file: Option<&At<TokenizerFile>>, base_dir: &Path, problems: &mut Problems) -> Counting {
        let choice = file.map_or(Choice::Default, |file| choice(file, base_dir, problems));
        Counting { choice, loaded: None, failed: false, counted: String::new() }
    }

    /// The tokenizer. What is wrong with it is noted once.
    pub(super) fn tokenizer(&mut self, problems: &mut Problems) -> Option<Tokenizer> {
        if self.loaded.is_none() && !self.failed {
            self.loaded = self.load(problems);
            self.failed = self.loaded.is_none();
        }
        self.loaded.clone()
    }

    fn load(&self, problems: &mut Problems) -> Option<Tokenizer> {
        let (loaded, span) = match &self.choice {
            Choice::Default => (Tokenizer::per_characters(CHARS_PER_TOKEN), None),
            Choice::Characters(given) => (Tokenizer::per_characters(**given), Some(given.span())),
            Choice::Encoding(name) => (Tokenizer::encoding(name), Some(name.span())),
            Choice::File(given, path) => (Tokenizer::open(path), Some(given.span())),
            Choice::Wrong => return None,
        };
        loaded.map_err(|error| problems.add(span, error.to_string(), None)).ok()
    }

    /// Whether the scenario says how to count.
    pub(super) fn declared(&self) -> bool {
        !matches!(self.choice, Choice::Default)
    }

    /// What the user must know if it is declared and nothing was counted.
    pub(super) fn idle(&self) -> Option<String> {
        let idle = self.declared() && self.loaded.is_none() && !self.failed;
        idle.then(|| "[tokenizer] has no effect: no prompt is counted from a file".to_owned())
    }

    /// Keeps what was counted.
    pub(super) fn keep(&mut self, class: &str, source: Source, segments: &[Segment]) {
        let _ = writeln!(self.counted, "{class:?} {}: {segments:?}", source.name());
    }

    /// What was counted; empty if nothing was.
    pub(super) fn counted(&self) -> &str {
        &self.counted
    }

    /// Identity of the tokenizer, if it counted something.
    pub(super) fn used(&self) -> Option<String> {
        self.loaded.as_ref().map(|tokenizer| tokenizer.id().to_owned())
    }
}

fn choice(file: &At<TokenizerFile>, base_dir: &Path, problems: &mut Problems) -> Choice {
    let TokenizerFile { file: path, encoding, chars_per_token } = file.get();
    match (path, encoding, chars_per_token) {
        (Some(path), None, None) => {
            let found = base_dir.join(path.get());
            if let Err(error) = std::fs::metadata(&found) {
                problems.at(path.span(), TokenizerError::Unreadable(error.to_string()).to_string());
                return Choice::Wrong;
            }
            Choice::File(path.clone(), found)
        }
        (None, Some(name), None) if ENCODINGS.contains(&name.as_str()) => Choice::Encoding(name.clone()),
        (None, Some(name), None) => {
            let unknown = TokenizerError::UnknownEncoding { name: name.to_string() };
            let meant = did_you_mean(name, ENCODINGS).map(|best| format!("did you mean \"{best}\"?"));
            problems.add(Some(name.span()), unknown.to_string(), meant);
            Choice::Wrong
        }
        (None, None, Some(ratio)) if **ratio > 0.0 && ratio.is_finite() => Choice::Characters(ratio.clone()),
        (None, None, Some(ratio)) => {
            problems.at(ratio.span(), TokenizerError::Ratio(**ratio).to_string());
            Choice::Wrong
        }
        (None, None, None) => {
            let unreadable = ["file", "encoding", "chars_per_token"].iter().any(|key| problems.unreadable.iter().any(|k| k == key));
            if !unreadable {
                let help = Some("such as `file = \"tokenizer.json\"`, or `encoding = \"o200k_base\"`".to_owned());
                problems.add(Some(file.span()), "`tokenizer` needs one of file, encoding and chars_per_token", help);
            }
            Choice::Wrong
        }
        _ => {
            problems.at(file.span(), "`tokenizer` has more than one of file, encoding and chars_per_token: give one of them");
            Choice::Wrong
        }
    }
}
