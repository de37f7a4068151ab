//! `--set path=value`: values put into the TOML before it is read, so that they are checked like typed ones.

use std::borrow::Cow;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problems, Sources, did_you_mean};

/// An override's text, padded so that its byte positions lie behind the scenario's and all other overrides'.
pub(crate) struct Override {
    /// `path = 0`, padded.
    path: String,
    /// `v=` and the value, padded.
    value: String,
}

impl Override {
    /// Registers `path=value` as a text of its own.
    pub(crate) fn new(path: &str, value: &str, sources: &mut Sources) -> Override {
        let start = sources.add(&format!("{path}={value}"));
        // `v=` ends where the value begins.
        let pad = start + path.len() + 1 - "v=".len();
        Override { path: format!("{:start$}{path} = 0", ""), value: format!("{:pad$}v={value}", "") }
    }

    /// Puts the value into `root`. What cannot be followed is noted; unknown keys are found later, when the sections are read.
    pub(crate) fn apply<'i>(&'i self, root: &mut DeTable<'i>, problems: &mut Problems) {
        let start = self.path.len() - self.path.trim_start().len();
        let end = self.path.len() - " = 0".len();
        let Some(keys) = DeTable::parse(&self.path).ok().and_then(|table| keys_of(table.into_inner())) else {
            problems.add(
                Some(start..end.max(start)),
                "expected a path of keys",
                Some("such as class.chat.prompt.retrieved.top_k=12".to_owned()),
            );
            return;
        };
        set(root, &keys, self.value(), problems);
    }

    /// The value: TOML, or else a text.
    fn value<'i>(&'i self) -> Spanned<DeValue<'i>> {
        let parsed = DeTable::parse(&self.value).ok().map(Spanned::into_inner).filter(|table| table.len() == 1);
        parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| {
            let start = self.value.find("v=").map_or(0, |at| at + "v=".len());
            Spanned::new(start..self.value.len(), DeValue::String(Cow::Borrowed(&self.value[start..])))
        })
    }
}

/// The keys of `a.b.c = 0`.
fn keys_of<'i>(mut table: DeTable<'i>) -> Option<Vec<Spanned<Cow<'i, str>>>> {
    let mut keys = Vec::new();
    loop {
        if table.len() != 1 {
            return None;
        }
        let (key, value) = table.into_iter().next()?;
        keys.push(key);
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(keys),
        }
    }
}

/// Sets the value at `keys` below `table`; missing tables are made.
fn set<'i>(table: &mut DeTable<'i>, keys: &[Spanned<Cow<'i, str>>], value: Spanned<DeValue<'i>>, problems: &mut Problems) {
    let Some((key, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        // The old key is taken out first: inserting would keep its place in the file.
        table.remove(key.get_ref().as_ref());
        table.insert(key.clone(), value);
        return;
    }
    if !table.contains_key(key.get_ref().as_ref()) {
        table.insert(key.clone(), Spanned::new(key.span(), DeValue::Table(DeTable::new())));
    }
    let Some(next) = table.get_mut(key.get_ref().as_ref()) else { return };
    match next.get_mut() {
        DeValue::Table(inner) => set(inner, rest, value, problems),
        DeValue::Array(classes) => {
            let names: Vec<String> = classes.iter().map(|c| name_of(c.get_ref()).unwrap_or_default().to_owned()).collect();
            let wanted = rest[0].get_ref().as_ref();
            match names.iter().position(|name| name == wanted) {
                Some(i) if rest.len() > 1 => {
                    if let Some(DeValue::Table(class)) = classes.get_mut(i).map(Spanned::get_mut) {
                        set(class, &rest[1..], value, problems);
                    }
                }
                Some(_) => problems.at(rest[0].span(), format!("expected a key of `{wanted}` after it")),
                None => {
                    let known: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
                    let help = match did_you_mean(wanted, known.iter().copied()) {
                        Some(best) => Some(format!("did you mean `{best}`?")),
                        None if known.is_empty() => None,
                        None => Some(format!("there are {}", known.join(", "))),
                    };
                    problems.add(Some(rest[0].span()), format!("there is no {} named `{wanted}`", key.get_ref()), help);
                }
            }
        }
        _ => problems.add(
            Some(rest[0].span()),
            format!("`{}` is a plain value: it has no key `{}`", key.get_ref(), rest[0].get_ref()),
            Some(format!("set `{}` as a whole, such as {}='{{ ... }}'", key.get_ref(), key.get_ref())),
        ),
    }
}

/// `name` of a table.
fn name_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    match value {
        DeValue::Table(table) => match table.get("name")?.get_ref() {
            DeValue::String(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}
