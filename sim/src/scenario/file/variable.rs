//! Values of a template's variables.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::distribution::DistributionTable;
use crate::scenario::at::At;

/// A variable of a prompt template.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum VariableFile {
    /// A text, put in as it is.
    Text(String),
    /// For conditions.
    Flag(bool),
    /// A text of this length, different in each request [tokens].
    Length(f64),
    /// A text whose length varies by request [tokens].
    Distribution(Box<DistributionTable<f64>>),
    /// For loops.
    List(Vec<At<VariableFile>>),
    /// For `{{ user.name }}`.
    Table(BTreeMap<String, At<VariableFile>>),
}

/// The keys of a distribution.
const DISTRIBUTION: [&str; 9] = ["fixed", "uniform", "median", "p95", "min", "max", "mean", "quantiles", "pmf"];
/// Those of them that nothing else is likely to be called.
const TELLING: [&str; 5] = ["uniform", "median", "p95", "quantiles", "pmf"];

impl<'de> Deserialize<'de> for VariableFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VariableVisitor)
    }
}

struct VariableVisitor;

impl<'de> Visitor<'de> for VariableVisitor {
    type Value = VariableFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, true or false, a number of tokens, a distribution, a list or a table")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<VariableFile, E> {
        Ok(VariableFile::Flag(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<VariableFile, E> {
        Ok(VariableFile::Length(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<VariableFile, E> {
        Ok(VariableFile::Length(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<VariableFile, E> {
        Ok(VariableFile::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<VariableFile, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(VariableFile::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VariableFile, A::Error> {
        let mut table: BTreeMap<String, At<VariableFile>> = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            table.insert(key, value);
        }
        let known = |key: &String| DISTRIBUTION.contains(&key.as_str());
        let telling = table.keys().any(|key| TELLING.contains(&key.as_str()));
        if !telling && (table.is_empty() || !table.keys().all(known)) {
            return Ok(VariableFile::Table(table));
        }
        if let Some(unknown) = table.keys().find(|key| !known(key)) {
            return Err(A::Error::unknown_field(unknown, &DISTRIBUTION));
        }
        distribution(&table).map(|table| VariableFile::Distribution(Box::new(table)))
    }
}

/// A table of a distribution's keys as one.
fn distribution<E: Error>(table: &BTreeMap<String, At<VariableFile>>) -> Result<DistributionTable<f64>, E> {
    Ok(DistributionTable {
        fixed: entry(table, "fixed", number)?,
        uniform: entry(table, "uniform", pair)?,
        median: entry(table, "median", number)?,
        p95: entry(table, "p95", number)?,
        min: entry(table, "min", number)?,
        max: entry(table, "max", number)?,
        mean: entry(table, "mean", number)?,
        quantiles: entry(table, "quantiles", pairs)?,
        pmf: entry(table, "pmf", pairs)?,
    })
}

/// The value at `key`, if there is one, as `read` takes it.
fn entry<T, E: Error>(
    table: &BTreeMap<String, At<VariableFile>>,
    key: &str,
    read: impl Fn(&VariableFile) -> Option<T>,
) -> Result<Option<At<T>>, E> {
    let Some(value) = table.get(key) else { return Ok(None) };
    let span: Range<usize> = value.span();
    match read(value) {
        Some(read) => Ok(Some(At::new(span, read))),
        None => {
            let expected = match key {
                "uniform" => "a pair of numbers",
                "quantiles" | "pmf" => "a list of pairs of numbers",
                _ => "a number",
            };
            Err(E::custom(format!("`{key}` of a distribution must be {expected}")))
        }
    }
}

fn number(value: &VariableFile) -> Option<f64> {
    match value {
        VariableFile::Length(value) => Some(*value),
        _ => None,
    }
}

fn pair(value: &VariableFile) -> Option<(f64, f64)> {
    match value {
        VariableFile::List(entries) => match entries.as_slice() {
            [a, b] => Some((number(a)?, number(b)?)),
            _ => None,
        },
        _ => None,
    }
}

fn pairs(value: &VariableFile) -> Option<Vec<(f64, f64)>> {
    match value {
        VariableFile::List(entries) => entries.iter().map(|entry| pair(entry)).collect(),
        _ => None,
    }
}
