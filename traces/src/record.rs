//! One line, taken apart: fields of a CSV record, or the wanted values of a JSON object.

use std::borrow::Cow;
use std::fmt;

use csv_core::{ReadRecordResult, Reader};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Fault, FaultKind};

/// A line's fields by their place (CSV), or the values at the paths of a [`Picker`], as JSON text.
#[derive(Debug)]
pub enum Record<'a> {
    /// CSV fields, trimmed.
    Fields(Vec<&'a str>),
    /// Values of a JSON object.
    Object(Vec<Option<&'a str>>),
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
    ///
    /// # Errors
    /// [`FaultKind::BadCsv`]
    pub fn split<'a>(&'a mut self, line: &'a str) -> Result<Vec<&'a str>, Fault> {
        // Nearly every line of a trace: no quotes, so that a comma is a comma.
        if memchr::memchr(b'"', line.as_bytes()).is_none() {
            let mut fields = Vec::with_capacity(8);
            let mut start = 0;
            for end in memchr::memchr_iter(b',', line.as_bytes()).chain([line.len()]) {
                fields.push(line[start..end].trim());
                start = end + 1;
            }
            return Ok(fields);
        }
        self.split_quoted(line)
    }

    fn split_quoted(&mut self, line: &str) -> Result<Vec<&str>, Fault> {
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

/// Takes the values at some paths out of JSON objects, and skips all else.
#[derive(Clone, Debug, Default)]
pub struct Picker {
    count: usize,
    root: Branch,
}

/// What is wanted of an object.
#[derive(Clone, Debug, Default)]
struct Branch {
    values: Vec<(String, usize)>,
    inner: Vec<(String, Branch)>,
}

impl Branch {
    /// Wants the value at `path`, and that of the key that is spelt like the path, dots and all.
    fn want(&mut self, path: &str, index: usize) {
        self.values.push((path.to_owned(), index));
        let Some((head, rest)) = path.split_once('.') else { return };
        let place = self.inner.iter().position(|(key, _)| key == head).unwrap_or_else(|| {
            self.inner.push((head.to_owned(), Branch::default()));
            self.inner.len() - 1
        });
        self.inner[place].1.want(rest, index);
    }
}

impl Picker {
    /// A picker of the values at `paths`: keys, with dots between those of objects in objects.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Picker {
        let mut picker = Picker::default();
        for path in paths {
            picker.root.want(path, picker.count);
            picker.count += 1;
        }
        picker
    }

    /// The values, as JSON text, of the object on a line: `None` where there is none, or null.
    ///
    /// # Errors
    /// [`FaultKind::BadJson`]
    pub fn pick<'a>(&self, line: &'a str) -> Result<Vec<Option<&'a str>>, Fault> {
        let mut out = vec![None; self.count];
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let read = Seed { branch: &self.root, out: &mut out }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| Fault::new(FaultKind::BadJson, error.to_string()).text(line))?;
        Ok(out)
    }
}

struct Seed<'p, 'o, 'a> {
    branch: &'p Branch,
    out: &'o mut [Option<&'a str>],
}

impl<'a> DeserializeSeed<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key<'a>>()? {
            let value = self.branch.values.iter().find(|(wanted, _)| *wanted == key.0).map(|(_, index)| *index);
            let inner = self.branch.inner.iter().find(|(wanted, _)| *wanted == key.0).map(|(_, branch)| branch);
            if value.is_none() && inner.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw = map.next_value::<&RawValue>()?.get();
            if let Some(index) = value {
                self.out[index] = Some(raw).filter(|raw| *raw != "null");
            }
            if let Some(branch) = inner.filter(|_| raw.starts_with('{')) {
                let mut deserializer = serde_json::Deserializer::from_str(raw);
                let read = Seed { branch, out: self.out }.deserialize(&mut deserializer);
                read.map_err(serde::de::Error::custom)?;
            }
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Key<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Key<'a>, D::Error> {
        struct Text;
        impl<'a> Visitor<'a> for Text {
            type Value = Key<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'a> Record<'a> {
    /// The text of field `index`; `None` if it is empty, null or absent.
    ///
    /// # Errors
    /// If it is neither a number nor a text.
    pub fn text(&self, index: usize) -> Result<Option<Cow<'a, str>>, Fault> {
        match self {
            Record::Fields(fields) => Ok(fields.get(index).filter(|f| !f.is_empty()).map(|f| Cow::Borrowed(*f))),
            Record::Object(values) => values[index].map_or(Ok(None), text),
        }
    }

    /// The identities of the list at field `index`: a JSON array, or text with blanks, semicolons or commas between.
    ///
    /// # Errors
    /// If it is a list of something else than numbers and texts.
    pub fn identities(&self, index: usize) -> Result<Vec<u64>, Fault> {
        if let Record::Object(values) = self
            && let Some(raw) = values[index].filter(|raw| raw.starts_with('['))
        {
            return identities(raw);
        }
        let Some(text) = self.text(index)? else { return Ok(Vec::new()) };
        let split = |c: char| c.is_whitespace() || matches!(c, ';' | ',' | '[' | ']');
        Ok(text.split(split).filter(|t| !t.is_empty()).map(super::row::identity).collect())
    }
}

/// The text of a JSON value: of a text what it says, trimmed, of a number how it is written; `None` if it is empty.
///
/// # Errors
/// If it is an object, a list, true or false.
pub fn text(raw: &str) -> Result<Option<Cow<'_, str>>, Fault> {
    let text = match raw.as_bytes() {
        [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_none() => Cow::Borrowed(raw[1..raw.len() - 1].trim()),
        [b'"', ..] => {
            let text: String = serde_json::from_str(raw).map_err(|e| Fault::new(FaultKind::BadJson, e.to_string()).text(raw))?;
            Cow::Owned(text.trim().to_owned())
        }
        [b'0'..=b'9' | b'-', ..] => Cow::Borrowed(raw),
        _ => return Err(Fault::new(FaultKind::NotANumber, "expected a number or a string").text(raw)),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The identities of a JSON array of numbers or texts.
fn identities(raw: &str) -> Result<Vec<u64>, Fault> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(memchr::memchr_iter(b',', bytes).count() + 1);
    let mut at = 1;
    // Whole numbers, which nearly all are.
    while at < bytes.len() {
        match bytes[at] {
            b'0'..=b'9' => {
                let mut value = 0u64;
                while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
                    let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
                    let Some(next) = next else { return any_identities(raw) };
                    value = next;
                    at += 1;
                }
                if matches!(bytes.get(at), Some(b'.' | b'e' | b'E')) {
                    return any_identities(raw);
                }
                out.push(value);
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b']' => return Ok(out),
            _ => return any_identities(raw),
        }
    }
    any_identities(raw)
}

fn any_identities(raw: &str) -> Result<Vec<u64>, Fault> {
    let values: Vec<&RawValue> = serde_json::from_str(raw).map_err(|e| Fault::new(FaultKind::BadJson, e.to_string()).text(raw))?;
    let of = |value: &&RawValue| match text(value.get()) {
        Ok(Some(text)) => Ok(super::row::identity(&text)),
        Ok(None) => Ok(super::row::identity("")),
        Err(_) => Err(Fault::new(FaultKind::BadBlocks, "expected a list of numbers or strings").text(value.get())),
    };
    values.iter().map(of).collect()
}
