//! Typed access to the keys of a `config.json`, with errors that name the key.

use serde_json::{Map, Value};

use super::ConfigError;

/// No size in a model's file is larger: 2^30.
pub(super) const MAX_VALUE: u32 = 1 << 30;

/// Names under which multimodal files nest their language model.
const NESTED: [&str; 4] = ["text_config", "llm_config", "language_config", "thinker_config"];

/// The keys of a file: those of the nested language model first, then the outer ones.
pub(super) struct Keys<'a> {
    inner: &'a Map<String, Value>,
    outer: Option<&'a Map<String, Value>>,
    /// Put before the key in errors.
    path: String,
}

/// What a value is, for an error.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("{value}"),
        Value::String(value) => format!("\"{}\"", value.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// An error about a value of the wrong type.
pub(super) fn wrong_type(key: String, expected: &'static str, found: &Value) -> ConfigError {
    ConfigError::Type { key, expected, found: describe(found) }
}

impl<'a> Keys<'a> {
    /// The keys of a whole file.
    pub(super) fn new(root: &'a Value) -> Result<Keys<'a>, ConfigError> {
        let kind = match root {
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::String(_) => "a text",
            _ => "a single value",
        };
        let mut keys = Keys { inner: root.as_object().ok_or(ConfigError::NotObject(kind))?, outer: None, path: String::new() };
        // One level at a time: some files nest their language model twice.
        while let Some((name, value)) = NESTED.iter().find_map(|name| Some((name, keys.inner.get(*name)?))) {
            if value.is_null() {
                break;
            }
            let path = format!("{}{name}", keys.path);
            let inner = value.as_object().ok_or_else(|| wrong_type(path.clone(), "an object", value))?;
            keys = Keys { inner, outer: Some(keys.outer.unwrap_or(keys.inner)), path: format!("{path}.") };
        }
        Ok(keys)
    }

    /// The value of a key, with its full name for errors. A null is as good as nothing: many files write one.
    fn get(&self, key: &str) -> Option<(String, &'a Value)> {
        let inner = self.inner.get(key).map(|value| (format!("{}{key}", self.path), value));
        let outer = || self.outer?.get(key).map(|value| (key.to_owned(), value));
        inner.filter(|(_, value)| !value.is_null()).or_else(outer).filter(|(_, value)| !value.is_null())
    }

    /// The first of several names that is there.
    fn first(&self, key: &str, also: &[&str]) -> Option<(String, &'a Value)> {
        self.get(key).or_else(|| also.iter().find_map(|key| self.get(key)))
    }

    /// The value of a key, whatever its type.
    pub(super) fn value(&self, key: &str) -> Option<(String, &'a Value)> {
        self.get(key)
    }

    /// The model's class; empty if the file does not say.
    pub(super) fn model_type(&self) -> &'a str {
        self.get("model_type").and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Whether there is more to the model than language.
    pub(super) fn is_multimodal(&self) -> bool {
        self.outer.is_some() || ["vision_config", "audio_config"].iter().any(|key| self.get(key).is_some())
    }

    /// A size that may be missing.
    pub(super) fn optional(&self, key: &str, also: &[&str]) -> Result<Option<u32>, ConfigError> {
        self.first(key, also).map(|(key, value)| whole(key, value, 1)).transpose()
    }

    /// A count that may be missing, or zero.
    pub(super) fn count(&self, key: &str, also: &[&str]) -> Result<Option<u32>, ConfigError> {
        self.first(key, also).map(|(key, value)| whole(key, value, 0)).transpose()
    }

    /// A size that must be there.
    pub(super) fn positive(&self, key: &str, also: &[&str]) -> Result<u32, ConfigError> {
        self.positive_or(key, also, None)
    }

    /// A size that must be there unless the model's class has a default.
    pub(super) fn positive_or(&self, key: &str, also: &[&str], default: Option<u32>) -> Result<u32, ConfigError> {
        self.optional(key, also)?.or(default).ok_or_else(|| ConfigError::Missing {
            key: format!("{}{key}", self.path),
            also: also.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some((key, value)) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong_type(key, "true or false", value))
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some((key, value)) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| wrong_type(key, "a number", value))
    }

    /// A text.
    pub(super) fn text(&self, key: &str, also: &[&str]) -> Result<Option<&'a str>, ConfigError> {
        let Some((key, value)) = self.first(key, also) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong_type(key, "a text", value))
    }

    /// A list.
    pub(super) fn list(&self, key: &str) -> Result<Option<(String, &'a Vec<Value>)>, ConfigError> {
        let Some((key, value)) = self.get(key) else { return Ok(None) };
        match value.as_array() {
            Some(list) => Ok(Some((key, list))),
            None => Err(wrong_type(key, "a list", value)),
        }
    }

    /// The keys of an object inside.
    pub(super) fn object(&self, key: &str) -> Result<Option<Keys<'a>>, ConfigError> {
        let Some((key, value)) = self.get(key) else { return Ok(None) };
        match value.as_object() {
            Some(inner) => Ok(Some(Keys { inner, outer: None, path: format!("{key}.") })),
            None => Err(wrong_type(key, "an object", value)),
        }
    }

    /// The values of this object.
    pub(super) fn values(&self) -> impl Iterator<Item = (String, &'a Value)> {
        self.inner.iter().map(|(key, value)| (format!("{}{key}", self.path), value))
    }
}

/// A whole number of at least `least`.
fn whole(key: String, value: &Value, least: i64) -> Result<u32, ConfigError> {
    let Some(number) = value.as_number() else {
        return Err(wrong_type(key, "a whole number", value));
    };
    let reason = match number.as_i64() {
        Some(number) if (least..=i64::from(MAX_VALUE)).contains(&number) => return Ok(number as u32),
        Some(number) if number < least => if least == 0 { "must not be negative" } else { "must be positive" }.to_owned(),
        None if number.is_f64() => return Err(wrong_type(key, "a whole number", value)),
        _ => format!("no model is that large (at most {MAX_VALUE} is read)"),
    };
    Err(ConfigError::Range { key, value: number.to_string(), reason })
}
