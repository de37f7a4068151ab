//! A JSON document, or JSON lines, with errors that name the place within, the value and the reason.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::bytes::Bytes;
use crate::error::{Fault, FaultKind, TraceError};

/// Longest document [bytes]: it is held in memory as a whole.
const DOCUMENT_MAX: u64 = 1 << 30;

/// The text of a file, plain or compressed.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or too long.
pub fn text(path: &Path) -> Result<String, TraceError> {
    let error = |fault: Fault| TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) };
    let mut bytes = Bytes::open(path)?;
    let mut all = Vec::new();
    let read = bytes.reader().take(DOCUMENT_MAX + 1).read_to_end(&mut all);
    read.map_err(|e| error(bytes.fault(&e)))?;
    if all.len() as u64 > DOCUMENT_MAX {
        let expected = "a JSON document is read as a whole and holds at most 1 GiB: write one object per line";
        return Err(error(Fault::new(FaultKind::TooLarge, expected)));
    }
    String::from_utf8(all).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        let fault = Fault::new(FaultKind::NotUtf8, "expected UTF-8");
        TraceError { file: path.to_owned(), line: Some(line), fault: Box::new(fault) }
    })
}

/// The value of a file that is one JSON document.
///
/// # Errors
/// See [`text`]; with the line of what is no JSON.
pub fn read(path: &Path) -> Result<Value, TraceError> {
    let text = text(path)?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| {
        let fault = Fault::new(FaultKind::BadJson, e.to_string());
        TraceError { file: path.to_owned(), line: Some(e.line() as u64).filter(|line| *line > 0), fault: Box::new(fault) }
    })
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    file: &'a Path,
    line: Option<u64>,
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    /// The whole of a document, or of a line of JSON lines.
    pub fn root(file: &'a Path, line: Option<u64>, value: &'a Value) -> Node<'a> {
        Node { file, line, path: String::new(), value }
    }

    /// The member `key` of an object; `None` if it is absent or null.
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Node { path, value, ..self.clone() })
    }

    /// The member at the end of `keys`.
    pub fn at(&self, keys: &[&str]) -> Option<Node<'a>> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> impl Iterator<Item = Node<'a>> + '_ {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(|(i, value)| Node { path: format!("{}[{i}]", self.path), value, ..self.clone() })
    }

    /// The text; `None` of anything else.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The line it stands on, of JSON lines.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// A finite number of at least zero.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn number(&self) -> Result<f64, TraceError> {
        match self.value.as_f64() {
            Some(value) if value < 0.0 => Err(self.error(FaultKind::Negative, "expected a number of at least 0")),
            Some(value) => Ok(value),
            None => Err(self.error(FaultKind::NotANumber, "expected a number")),
        }
    }

    /// A whole number of at least `least`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn count(&self, least: u32) -> Result<u32, TraceError> {
        let expected = format!("expected a whole number of at least {least}");
        let number = self.number()?;
        match number {
            n if n.fract() != 0.0 => Err(self.error(FaultKind::NotInteger, &expected)),
            n if n < f64::from(least) => Err(self.error(FaultKind::TooSmall, &expected)),
            n if n >= f64::from(u32::MAX) => Err(self.error(FaultKind::TooLarge, &expected)),
            n => Ok(n as u32),
        }
    }

    /// The member `key`.
    ///
    /// # Errors
    /// If it is absent or null.
    pub fn need(&self, key: &str) -> Result<Node<'a>, TraceError> {
        self.get(key).ok_or_else(|| {
            let column = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
            let fault = Fault::new(FaultKind::MissingValue, "it must be there").column(&column);
            TraceError { file: self.file.to_owned(), line: self.line, fault: Box::new(fault) }
        })
    }

    /// The list `key`, of as many items as `like` has.
    ///
    /// # Errors
    /// If it is absent or of another length.
    pub fn parallel(&self, key: &str, like: usize) -> Result<Vec<Node<'a>>, TraceError> {
        let list = self.need(key)?;
        let items: Vec<Node<'a>> = list.items().collect();
        if items.len() == like {
            return Ok(items);
        }
        Err(list.error(FaultKind::FieldCount, &format!("expected {like} values, one per request, found {}", items.len())))
    }

    /// An error here.
    pub fn error(&self, kind: FaultKind, expected: &str) -> TraceError {
        let mut fault = Fault::new(kind, expected).column(&self.path);
        if !self.value.is_object() && !self.value.is_array() {
            fault = fault.text(&self.value.to_string());
        }
        TraceError { file: self.file.to_owned(), line: self.line, fault: Box::new(fault) }
    }
}
