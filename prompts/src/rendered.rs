//! A rendered prompt: text, cut where a request brings text of its own.

use crate::tokenizer::{Tokenizer, TokenizerError};

/// A piece of a rendered prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text that is known; never empty.
    Text(String),
    /// A text of assumed length: the variable's name, such as `docs` or `user.name`.
    Variable(String),
}

/// A piece, its text counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Text of so many tokens.
    Text(u64),
    /// A text of assumed length: the variable's name.
    Variable(String),
}

/// A rendered prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// In the prompt's order.
    pub pieces: Vec<Piece>,
}

impl Rendered {
    /// Characters (Unicode scalar values) of the text that is known.
    pub fn characters(&self) -> usize {
        self.texts().map(|text| text.chars().count()).sum()
    }

    /// The pieces, each text counted on its own: a tokenizer might have joined the last characters before a cut with the first of
    /// what is put in there, so the sum may be off by about one token at each cut.
    ///
    /// # Errors
    /// If the tokenizer cannot take a text.
    pub fn count(&self, tokenizer: &Tokenizer) -> Result<Vec<Segment>, TokenizerError> {
        let segment = |piece: &Piece| {
            Ok(match piece {
                Piece::Text(text) => Segment::Text(tokenizer.count(text)?),
                Piece::Variable(name) => Segment::Variable(name.clone()),
            })
        };
        self.pieces.iter().map(segment).collect()
    }

    /// The whole text, if nothing of it is assumed.
    pub(crate) fn text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Variable(_) => None,
        })
    }
}
