//! Counting tokens: with the tokenizer of a model, or approximately by characters.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tiktoken::CoreBpe;

/// Characters per token where nothing better is known: what English prose has with vocabularies of 100,000 to 200,000 tokens;
/// code and other languages have fewer. A rule of thumb (OpenAI's help centre, "What are tokens and how to count them?").
pub const CHARS_PER_TOKEN: f64 = 4.0;

/// Why text cannot be counted.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("cannot read the tokenizer: {0}")]
    Unreadable(String),
    /// The file is no tokenizer.
    #[error("no Hugging Face tokenizer.json: {0}")]
    Malformed(String),
    /// There is no such encoding.
    #[error("there is no encoding \"{name}\": there are {}", ENCODINGS.join(", "))]
    UnknownEncoding {
        /// What was asked for.
        name: String,
    },
    /// Characters per token must be a number above 0.
    #[error("`chars_per_token` must be above 0, not {0}")]
    Ratio(f64),
    /// The tokenizer fails at a text.
    #[error("the tokenizer fails: {0}")]
    Failed(String),
}

/// tiktoken's encodings that are built in.
pub const ENCODINGS: [&str; 6] = ["o200k_base", "o200k_harmony", "cl100k_base", "p50k_base", "r50k_base", "gpt2"];

/// Counts tokens. Text is counted as it is: no tokens are added for the start, the end or the roles of a chat.
#[derive(Clone)]
pub struct Tokenizer {
    counts: Counts,
    id: String,
}

#[derive(Clone)]
enum Counts {
    /// So many characters are a token.
    Characters(f64),
    /// A tiktoken encoding.
    Encoding(&'static CoreBpe),
    /// A Hugging Face tokenizer.
    File(Arc<tokenizers::Tokenizer>),
}

/// The tokenizer file read last, by its identity: scenarios that are compared nearly always have the same.
static LAST_FILE: Mutex<Option<(String, Arc<tokenizers::Tokenizer>)>> = Mutex::new(None);

impl Tokenizer {
    /// `characters` (Unicode scalar values) are a token: an approximation.
    ///
    /// # Errors
    /// If it is not above 0.
    pub fn per_characters(characters: f64) -> Result<Tokenizer, TokenizerError> {
        if !(characters > 0.0 && characters.is_finite()) {
            return Err(TokenizerError::Ratio(characters));
        }
        Ok(Tokenizer { counts: Counts::Characters(characters), id: format!("{characters} characters per token") })
    }

    /// An encoding of [`ENCODINGS`]. Special tokens such as `<|endoftext|>` are counted as the text that they are.
    ///
    /// # Errors
    /// If there is no such encoding.
    pub fn encoding(name: &str) -> Result<Tokenizer, TokenizerError> {
        let known = ENCODINGS.contains(&name).then(|| tiktoken::get_encoding(name)).flatten();
        let encoding = known.ok_or_else(|| TokenizerError::UnknownEncoding { name: name.to_owned() })?;
        Ok(Tokenizer { counts: Counts::Encoding(encoding), id: name.to_owned() })
    }

    /// A Hugging Face `tokenizer.json`. Its special tokens are one token each where they stand in a text, as on a server.
    ///
    /// # Errors
    /// If it cannot be read or is no tokenizer.
    pub fn open(path: &Path) -> Result<Tokenizer, TokenizerError> {
        let bytes = std::fs::read(path).map_err(|error| TokenizerError::Unreadable(error.to_string()))?;
        Tokenizer::from_json(&bytes)
    }

    /// As [`Tokenizer::open`], of the file's content.
    ///
    /// # Errors
    /// If it is no tokenizer.
    pub fn from_json(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let id = format!("tokenizer.json:{:016x}", fnv1a(bytes));
        let mut last = LAST_FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match last.as_ref().filter(|(of, _)| *of == id) {
            Some((_, loaded)) => Arc::clone(loaded),
            None => Arc::new(parse(bytes)?),
        };
        *last = Some((id.clone(), Arc::clone(&loaded)));
        Ok(Tokenizer { counts: Counts::File(loaded), id })
    }

    /// Tokens of a text; 0 of an empty one, and at least 1 of any other by characters.
    ///
    /// # Errors
    /// If the tokenizer file has no token for a text and none for the unknown.
    pub fn count(&self, text: &str) -> Result<u64, TokenizerError> {
        let tokens = match &self.counts {
            Counts::Characters(_) if text.is_empty() => 0,
            Counts::Characters(ratio) => return Ok(((text.chars().count() as f64 / ratio).round() as u64).max(1)),
            Counts::Encoding(encoding) => encoding.count(text),
            Counts::File(file) => {
                let failed = |error: tokenizers::Error| TokenizerError::Failed(error.to_string());
                file.encode_fast(text, false).map_err(failed)?.len()
            }
        };
        Ok(tokens as u64)
    }

    /// Its identity: two of the same count the same. Such as `tokenizer.json:9f3a...`, with the hash of the content (FNV-1a of 64
    /// bits), `o200k_base` or `4 characters per token`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it only estimates.
    pub fn approximate(&self) -> bool {
        matches!(self.counts, Counts::Characters(_))
    }
}

fn parse(bytes: &[u8]) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let malformed = |error: tokenizers::Error| TokenizerError::Malformed(error.to_string());
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(malformed)?;
    // A file may bring the settings it was trained with, which would cut or fill up a text.
    tokenizer.with_truncation(None).map_err(malformed)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
