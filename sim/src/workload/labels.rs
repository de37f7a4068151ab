//! Names of tenants and routes, each stored once.

use std::collections::HashMap;

/// What a request without a label carries.
pub const NO_LABEL: u16 = u16::MAX;

/// A table of names.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    names: Vec<String>,
    indices: HashMap<String, u16>,
}

impl Labels {
    /// Index of `name`; [`NO_LABEL`] if there is none, or for a new name once 65,535 are in use.
    pub fn of(&mut self, name: Option<&str>) -> u16 {
        name.and_then(|name| self.index(name)).unwrap_or(NO_LABEL)
    }

    /// Index of `name`, which is added if it is new; `None` if the table is full.
    pub fn index(&mut self, name: &str) -> Option<u16> {
        if let Some(&index) = self.indices.get(name) {
            return Some(index);
        }
        let index = u16::try_from(self.names.len()).ok().filter(|&i| i != NO_LABEL)?;
        self.names.push(name.to_owned());
        self.indices.insert(name.to_owned(), index);
        Some(index)
    }

    /// All names, by index.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}
