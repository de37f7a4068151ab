//! Reading a tree against what the API allows: fields by name, values in their range, and every fault collected with its path.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use super::node::{Key, Node, Place, Value};
use super::quantity;

/// Something wrong with a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Where in the text [bytes].
    pub span: Option<Range<usize>>,
    /// Path of the field (`spec.triggers[0].metadata.threshold`); empty: the file as a whole.
    pub path: String,
    /// The value and the reason.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ManifestError {}

/// What has been found in a file so far.
pub struct Reader {
    file: String,
    errors: RefCell<Vec<ManifestError>>,
    notes: RefCell<Vec<String>>,
}

impl Reader {
    /// Of a file of this name.
    pub fn new(file: &str) -> Reader {
        Reader { file: file.to_owned(), errors: RefCell::default(), notes: RefCell::default() }
    }

    /// One more fault.
    pub fn error(&self, at: &Place, path: &str, message: String, help: Option<String>) {
        let (file, path) = (self.file.clone(), path.to_owned());
        let error = ManifestError { file, line: at.line, span: at.span.clone(), path, message, help };
        self.errors.borrow_mut().push(error);
    }

    /// Whether anything is wrong so far.
    pub fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// Something that the user should know.
    pub fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// The notes, or all faults in the order of the file.
    ///
    /// # Errors
    /// The faults, if there are any.
    pub fn end(self) -> Result<Vec<String>, Vec<ManifestError>> {
        let mut errors = self.errors.into_inner();
        if errors.is_empty() {
            return Ok(self.notes.into_inner());
        }
        errors.sort_by_key(|error| error.line);
        Err(errors)
    }
}

/// A value at a path.
#[derive(Clone)]
pub struct Item<'a> {
    reader: &'a Reader,
    node: &'a Node,
    /// Path from the document's root.
    pub path: String,
}

impl<'a> Item<'a> {
    /// A document.
    pub fn root(reader: &'a Reader, node: &'a Node) -> Item<'a> {
        Item { reader, node, path: String::new() }
    }

    /// Who collects the faults.
    pub fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// The value itself.
    pub fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Says what is wrong with the value.
    pub fn wrong(&self, reason: &str) {
        self.reader.error(&self.node.at, &self.path, format!("{} {reason}", self.node.value), None);
    }

    /// The same, with what to do.
    pub fn wrong_with_help(&self, reason: &str, help: &str) {
        self.reader.error(&self.node.at, &self.path, format!("{} {reason}", self.node.value), Some(help.to_owned()));
    }

    /// Says what is wrong at this place, where the value says nothing.
    pub fn fault(&self, message: &str, help: Option<String>) {
        self.reader.error(&self.node.at, &self.path, message.to_owned(), help);
    }

    /// Its fields.
    pub fn fields(&self) -> Option<Fields<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields { item: self.clone(), entries, known: RefCell::default() }),
            _ => {
                self.wrong("where a mapping is expected");
                None
            }
        }
    }

    /// Its elements.
    pub fn elements(&self) -> Vec<Item<'a>> {
        let Value::List(list) = &self.node.value else {
            self.wrong("where a list is expected");
            return Vec::new();
        };
        let element = |(i, node): (usize, &'a Node)| Item { reader: self.reader, node, path: format!("{}[{i}]", self.path) };
        list.iter().enumerate().map(element).collect()
    }

    /// Text.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Map(_) => {
                self.wrong("where text is expected");
                None
            }
            _ => {
                self.wrong_with_help("is no text", "put it in quotes");
                None
            }
        }
    }

    /// A truth value.
    pub fn boolean(&self) -> Option<bool> {
        match self.node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong("is neither true nor false");
                None
            }
        }
    }

    /// An integer in a range.
    pub fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let found = match self.node.value {
            Value::Int(value) => u32::try_from(value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        if found.is_none() {
            let (least, most) = (range.start(), range.end());
            let expected = if *most == INT32_MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
            self.wrong(&format!("is not an integer {expected}"));
        }
        found
    }

    /// A quantity above zero, in thousandths.
    pub fn positive_quantity(&self) -> Option<i64> {
        self.quantity().filter(|value| {
            if *value <= 0 {
                self.wrong("must be above 0");
            }
            *value > 0
        })
    }

    /// A quantity in thousandths.
    pub fn quantity(&self) -> Option<i64> {
        let text = match &self.node.value {
            Value::Text(text) => text.clone(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            _ => {
                self.wrong("is no quantity");
                return None;
            }
        };
        quantity::thousandths(&text).map_err(|reason| self.wrong(&reason)).ok()
    }

    /// One of some words.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(&format!("is none of {}", all.join(", ")));
        }
        found
    }
}

/// The largest of the API's integers.
pub const INT32_MAX: u32 = i32::MAX as u32;

/// The fields of a mapping. What was never asked for is a fault, told by [`Fields::end`].
pub struct Fields<'a> {
    /// The mapping.
    pub item: Item<'a>,
    entries: &'a [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// A field; `null` is not given.
    pub fn optional(&self, name: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(name);
        let (_, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        let item = Item { reader: self.item.reader, node, path: join(&self.item.path, name) };
        Some(item).filter(|item| item.node.value != Value::Null)
    }

    /// A field that has to be there.
    pub fn required(&self, name: &'static str) -> Option<Item<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            let path = join(&self.item.path, name);
            self.item.reader.error(&self.item.node.at, &path, "is missing".to_owned(), None);
        }
        found
    }

    /// Fields that may be there and cannot matter here.
    pub fn accept(&self, names: &[&'static str]) {
        self.known.borrow_mut().extend_from_slice(names);
    }

    /// A field that is not simulated.
    pub fn refuse(&self, name: &'static str, reason: &str) {
        if let Some(item) = self.optional(name) {
            item.fault(reason, None);
        }
    }

    /// All fields, where they are free to choose.
    pub fn all(&self) -> Vec<(&'a str, Item<'a>)> {
        let item = |(key, node): &'a (Key, Node)| {
            let path = join(&self.item.path, &key.text);
            (key.text.as_str(), Item { reader: self.item.reader, node, path })
        };
        self.entries.iter().map(item).collect()
    }

    /// Tells of fields that the API does not have.
    pub fn end(self) {
        self.unknown("is no field of the API");
    }

    /// Tells of fields that were never asked for.
    pub fn unknown(&self, reason: &str) {
        let known = self.known.borrow();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let near = known.iter().map(|name| (strsim::jaro_winkler(name, &key.text), *name));
            // Likeness from 0 to 1, as integers of a millionth so that the order is total.
            let near =
                near.map(|(likeness, name)| ((likeness * 1e6) as u64, name)).max().filter(|(likeness, _)| *likeness > 800_000);
            let help = near.map(|(_, name)| format!("did you mean `{name}`?"));
            let path = join(&self.item.path, &key.text);
            self.item.reader.error(&key.at, &path, reason.to_owned(), help);
        }
    }
}

/// A path with one more key.
fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[\"{key}\"]"),
    }
}
