//! TOML to typed sections, finding every wrong key and type at once: what cannot be read is noted, taken out, and the rest is
//! read again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problems, did_you_mean};

/// Reads the sections. What is wrong is noted in `problems` and left out of the result.
pub(crate) fn read_sections<F: DeserializeOwned + Default>(mut table: Spanned<DeTable<'_>>, problems: &mut Problems) -> F {
    loop {
        let error = match F::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(file) => return file,
            Err(error) => error,
        };
        let Explained { message, help, meant } = explain(error.message());
        // The key that was meant is not reported as missing in addition.
        problems.unreadable.extend(meant);
        let Some(span) = error.span() else {
            problems.add(None, message, help);
            return F::default();
        };
        problems.add(Some(span.clone()), message, help);
        // Each round takes out one entry, so there are as many rounds as entries at most.
        match take_out(table.get_mut(), &span) {
            Some(key) => problems.unreadable.push(key),
            None => return F::default(),
        }
    }
}

/// A message in the words of a scenario.
struct Explained {
    message: String,
    help: Option<String>,
    /// The key that an unknown one stands for.
    meant: Option<String>,
}

/// serde's message in the words of a scenario.
fn explain(message: &str) -> Explained {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((word, known)) = quoted.split_first().filter(|_| message.starts_with("unknown ")) else {
        return Explained { message: explain_type(message), help: None, meant: None };
    };
    let meant = did_you_mean(word, known.iter().copied());
    if message.starts_with("unknown variant") {
        let message = format!("unknown value \"{word}\": expected {}", list(known, "\""));
        return Explained { message, help: meant.map(|best| format!("did you mean \"{best}\"?")), meant: None };
    }
    let help = match meant {
        Some(best) => Some(format!("did you mean `{best}`?")),
        None if known.is_empty() => None,
        None => Some(format!("keys here are {}", list(known, "`"))),
    };
    Explained { message: format!("unknown key `{word}`"), help, meant: meant.map(str::to_owned) }
}

/// What was found instead of what.
fn explain_type(message: &str) -> String {
    let message = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")).unwrap_or(message);
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" | "a borrowed string" | "path string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        "a tuple of size 2" => "a pair of values",
        other => other.strip_prefix("struct ").map_or(other, |_| "a table"),
    };
    let found =
        found.replace("floating point", "number").replace("integer", "number").replace("string", "text").replace("map", "table");
    format!("expected {expected}, found {}", found.replace("sequence", "list").replace("invalid length", "a list of length"))
}

/// `a, b or c`, each quoted.
fn list(words: &[&str], quote: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("{quote}{w}{quote}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Removes the smallest entry of any table whose key or value covers `span`; returns its key.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let path = smallest_entry(table, span)?.1;
    remove(table, &path)
}

/// A step from a table or list to what is in it.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Length and path of the smallest entry that covers `span`. Tables written as `[header]` do not cover what is below them, so
/// every entry is looked at.
fn smallest_entry(table: &DeTable<'_>, span: &Range<usize>) -> Option<(usize, Vec<Step>)> {
    let mut best: Option<(usize, Vec<Step>)> = None;
    for (key, value) in table {
        let here = [key.span(), value.span()];
        let own =
            here.iter().filter(|s| s.start <= span.start && span.end <= s.end).map(|s| s.len()).min().map(|len| (len, Vec::new()));
        let below = smallest_within(value.get_ref(), span);
        let step = Step::Key(key.get_ref().to_string());
        for (len, mut path) in own.into_iter().chain(below) {
            if best.as_ref().is_none_or(|(least, _)| len <= *least) {
                path.insert(0, step.clone());
                best = Some((len, path));
            }
        }
    }
    best
}

/// [`smallest_entry`] of the tables in a value.
fn smallest_within(value: &DeValue<'_>, span: &Range<usize>) -> Option<(usize, Vec<Step>)> {
    match value {
        DeValue::Table(table) => smallest_entry(table, span),
        DeValue::Array(array) => {
            let found = array.iter().enumerate().filter_map(|(i, item)| {
                let (len, mut path) = smallest_within(item.get_ref(), span)?;
                path.insert(0, Step::Index(i));
                Some((len, path))
            });
            found.min_by_key(|(len, _)| *len)
        }
        _ => None,
    }
}

/// Removes the entry at `path`, which ends in a key.
fn remove(table: &mut DeTable<'_>, path: &[Step]) -> Option<String> {
    let (Step::Key(key), rest) = path.split_first()? else { return None };
    if rest.is_empty() {
        return table.remove(key.as_str()).map(|_| key.clone());
    }
    remove_within(table.get_mut(key.as_str())?.get_mut(), rest)
}

/// [`remove`] in a value.
fn remove_within(value: &mut DeValue<'_>, path: &[Step]) -> Option<String> {
    match (value, path.split_first()?) {
        (DeValue::Table(table), _) => remove(table, path),
        (DeValue::Array(array), (Step::Index(i), rest)) => remove_within(array.get_mut(*i)?.get_mut(), rest),
        _ => None,
    }
}
