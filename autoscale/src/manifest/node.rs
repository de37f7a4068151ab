//! YAML as a tree that knows its places, so that everything wrong with a file can be told at once, with the line.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Where something stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: Option<u64>,
    /// The bytes of the text.
    pub span: Option<Range<usize>>,
}

impl Place {
    /// That of a node of the parser.
    pub fn of(location: Location) -> Place {
        let span = location.span();
        let at = |bytes: u64| usize::try_from(bytes).ok();
        let start = span.byte_offset().and_then(at);
        let length = span.byte_len().and_then(at);
        Place { line: Some(location.line()).filter(|line| *line > 0), span: start.zip(length).map(|(from, n)| from..from + n) }
    }
}

/// A node with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A truth value; as in Kubernetes, also in the spellings of YAML 1.1 (`yes`, `off`).
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub at: Place,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "`{value}`"),
            Value::Int(value) => write!(f, "`{value}`"),
            Value::Float(value) => write!(f, "`{value}`"),
            Value::Text(value) => write!(f, "`{value}`"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a mapping"),
        }
    }
}

/// The documents of a file; empty ones are left out.
///
/// # Errors
/// What the parser says, and where: no YAML, a key given twice, an alias that grows without bound.
pub fn documents(text: &str) -> Result<Vec<Node>, (String, Place)> {
    // Kubernetes reads a leading 0 as octal, and `yes` as true, as YAML 1.1 has it.
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| (error.without_snippet().to_string(), error.location().map(Place::of).unwrap_or_default()))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { at: Place::of(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| E::custom(format!("`{value}` is beyond 64 bits")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            map.push((Key { text: key.value, at: Place::of(key.referenced) }, access.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_line() {
        let text = "a: 1\n---\n\n---\nb:\n  - x\n  - yes\n  - \"38\"\n  -\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(map) = &documents[1].value else { panic!("{documents:?}") };
        assert_eq!((map[0].0.text.as_str(), map[0].0.at.line), ("b", Some(5)));
        let Value::List(list) = &map[0].1.value else { panic!("{map:?}") };
        let lines: Vec<_> = list.iter().map(|node| node.at.line).collect();
        assert_eq!(lines[..3], [Some(6), Some(7), Some(8)]);
        let values: Vec<_> = list.iter().map(|node| node.value.clone()).collect();
        assert_eq!(values, [Value::Text("x".into()), Value::Bool(true), Value::Text("38".into()), Value::Null]);
        assert_eq!(list[2].at.span.clone().map(|span| &text[span]), Some("\"38\""));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        let (message, at) = documents("a: 1\nb: [1,\n").unwrap_err();
        assert!(!message.is_empty() && at.line.is_some(), "{message} {at:?}");
        let (message, at) = documents("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert!(message.contains("`a`") || message.contains("duplicate"), "{message}");
        assert_eq!(at.line, Some(3), "{message}");
    }
}
