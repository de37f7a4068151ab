//! One line, taken apart: fields of a CSV record or values of a JSON object.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value};

use super::error::{Fault, FaultKind};

/// A line's fields by their place (CSV) or key (JSON).
#[derive(Debug)]
pub enum Record<'a> {
    /// CSV fields, trimmed.
    Fields(Vec<&'a str>),
    /// A JSON object.
    Object(Map<String, Value>),
}

/// Splits lines into CSV fields. A record is one line: a quoted field may hold commas, but no line break.
#[derive(Debug)]
pub struct Splitter {
    core: Reader,
    input: Vec<u8>,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Splitter {
    fn default() -> Splitter {
        // `Reader::default` has no tables yet; `new` builds them.
        Splitter { core: Reader::new(), input: Vec::new(), output: Vec::new(), ends: Vec::new() }
    }
}

impl Splitter {
    /// The fields of a line, trimmed.
    pub fn split(&mut self, line: &str) -> Result<Vec<&str>, Fault> {
        self.core.reset();
        self.input.clear();
        self.input.extend_from_slice(line.as_bytes());
        self.input.push(b'\n');
        self.output.resize(self.input.len(), 0);
        self.ends.resize(line.bytes().filter(|b| *b == b',').count() + 2, 0);
        let (result, _, _, fields) = self.core.read_record(&self.input, &mut self.output, &mut self.ends);
        let bad = || Fault::new(FaultKind::BadCsv, "expected one record per line, quotes closed").text(line);
        if result != ReadRecordResult::Record {
            return Err(bad());
        }
        let mut start = 0;
        let mut out = Vec::with_capacity(fields);
        for &end in &self.ends[..fields] {
            out.push(str::from_utf8(&self.output[start..end]).map_err(|_| bad())?.trim());
            start = end;
        }
        Ok(out)
    }
}

/// The object on a line of JSON.
pub fn object(line: &str) -> Result<Map<String, Value>, Fault> {
    serde_json::from_str(line).map_err(|error| Fault::new(FaultKind::BadJson, error.to_string()).text(line))
}

impl Record<'_> {
    /// The text of field `index`, or at `key`; `None` if it is empty, null or absent. A key may be a path such as
    /// `usage.prompt_tokens`.
    pub fn text(&self, index: usize, key: &str) -> Result<Option<Cow<'_, str>>, Fault> {
        let value = match self {
            Record::Fields(fields) => return Ok(fields.get(index).filter(|f| !f.is_empty()).map(|f| Cow::Borrowed(*f))),
            Record::Object(object) => lookup(object, key),
        };
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|t| !t.is_empty()).map(Cow::Borrowed)),
            Some(Value::Number(number)) => Ok(Some(Cow::Owned(number.to_string()))),
            Some(other) => Err(Fault::new(FaultKind::NotANumber, "expected a number or a string").text(&other.to_string())),
        }
    }

    /// The list at field `index`, or at `key`: a JSON array, or text with blanks, semicolons or commas between.
    pub fn list(&self, index: usize, key: &str) -> Result<Vec<Cow<'_, str>>, Fault> {
        if let Record::Object(object) = self
            && let Some(Value::Array(values)) = lookup(object, key)
        {
            let text = |value: &'_ Value| match value {
                Value::Number(number) => Ok(Cow::Owned(number.to_string())),
                Value::String(_) => Ok(Cow::Owned(value.as_str().unwrap_or_default().to_owned())),
                other => Err(Fault::new(FaultKind::BadBlocks, "expected a list of numbers or strings").text(&other.to_string())),
            };
            return values.iter().map(text).collect();
        }
        let Some(text) = self.text(index, key)? else { return Ok(Vec::new()) };
        let split = |c: char| c.is_whitespace() || matches!(c, ';' | ',' | '[' | ']');
        Ok(text.split(split).filter(|t| !t.is_empty()).map(|t| Cow::Owned(t.to_owned())).collect())
    }
}

/// The value at a key, or at a path of keys with dots between.
pub fn lookup<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(key) {
        return Some(value);
    }
    let (head, rest) = key.split_once('.')?;
    lookup(object.get(head)?.as_object()?, rest)
}
