//! Marks for assumed lengths: characters of a private-use area (Unicode 16, supplementary private use area A), which no template
//! engine changes and no prompt has.

use serde_json::Value;

use crate::error::PromptError;
use crate::rendered::{Piece, Rendered};
use crate::variable::{Place, Variable, Variables};

/// The first mark.
const FIRST: u32 = 0xF_0000;
/// How many there are.
const COUNT: usize = 0xFFFE;

/// Which mark stands for which variable.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Names of the variables, by mark.
    names: Vec<String>,
}

impl Marks {
    /// The variables as a template engine takes them, and the marks in them.
    pub(crate) fn set(variables: &Variables) -> (Value, Marks) {
        let mut marks = Marks::default();
        (marks.table(variables, &Place::default()), marks)
    }

    fn table(&mut self, variables: &Variables, place: &Place) -> Value {
        Value::Object(variables.iter().map(|(key, value)| (key.clone(), self.value(value, place.key(key)))).collect())
    }

    fn value(&mut self, variable: &Variable, place: Place) -> Value {
        match variable {
            Variable::Text(text) => Value::String(text.clone()),
            Variable::Flag(flag) => Value::Bool(*flag),
            Variable::List(entries) => {
                Value::Array(entries.iter().enumerate().map(|(i, entry)| self.value(entry, place.entry(i))).collect())
            }
            Variable::Table(table) => self.table(table, &place),
            Variable::Length => {
                self.names.push(place.name());
                Value::String(mark(self.names.len() - 1).map(String::from).unwrap_or_default())
            }
        }
    }

    /// Whether there are enough marks, and none is in `text` already.
    pub(crate) fn check(&self, file: &str, text: &str) -> Result<(), PromptError> {
        if self.names.len() > COUNT {
            return Err(PromptError::of(file, format!("{} assumed lengths are too many: at most {COUNT}", self.names.len())));
        }
        match text.chars().find_map(|c| (index(c)? < self.names.len()).then_some(c)) {
            Some(c) => {
                let reason = format!("the private-use character U+{:X} is kept for assumed lengths", u32::from(c));
                Err(PromptError::of(file, reason))
            }
            None => Ok(()),
        }
    }

    /// Cuts a rendered text at its marks.
    pub(crate) fn cut(&self, text: &str) -> Rendered {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (at, c) in text.char_indices() {
            let Some(name) = index(c).and_then(|i| self.names.get(i)) else { continue };
            pieces.push(Piece::Text(text[start..at].to_owned()));
            pieces.push(Piece::Variable(name.clone()));
            start = at + c.len_utf8();
        }
        pieces.push(Piece::Text(text[start..].to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Rendered { pieces }
    }
}

fn mark(index: usize) -> Option<char> {
    u32::try_from(index).ok().filter(|_| index < COUNT).and_then(|i| char::from_u32(FIRST + i))
}

fn index(c: char) -> Option<usize> {
    let index = u32::from(c).checked_sub(FIRST)?;
    usize::try_from(index).ok().filter(|i| *i < COUNT)
}
