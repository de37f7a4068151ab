//! What a template's variables stand for.

use std::collections::BTreeMap;

/// The variables of a template, by name.
pub type Variables = BTreeMap<String, Variable>;

/// The value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    /// Put in as it is.
    Text(String),
    /// True or false, for conditions.
    Flag(bool),
    /// A text that each request brings, of which a length is assumed.
    Length,
    /// For loops.
    List(Vec<Variable>),
    /// For `{{ user.name }}`; its keys in alphabetical order.
    Table(Variables),
}

/// Where a variable is, as [`crate::Segment::Variable`] names it: `user.name`, `docs[0]`.
#[derive(Clone, Debug, Default)]
pub struct Place(String);

impl Place {
    /// A key below this place.
    pub fn key(&self, key: &str) -> Place {
        Place(if self.0.is_empty() { key.to_owned() } else { format!("{}.{key}", self.0) })
    }

    /// An entry of the list at this place, from 0.
    pub fn entry(&self, index: usize) -> Place {
        Place(format!("{}[{index}]", self.0))
    }

    /// Its name.
    pub fn name(self) -> String {
        self.0
    }
}
