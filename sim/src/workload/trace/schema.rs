//! Which of a file's columns means what.

use super::error::{Fault, FaultKind, did_you_mean};
use super::number::Unit;
use super::record::{Splitter, lookup, object};
use crate::scenario::{Source, TraceConfig, TraceFormat};

/// Tokens per prefix hash of Mooncake traces; the files do not say it.
const MOONCAKE_BLOCK: u32 = 512;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Arrival time.
    Arrival,
    /// Prompt length.
    InputTokens,
    /// Realised length of the answer.
    OutputTokens,
    /// Requested maximum.
    MaxTokens,
    /// Name of a class of the scenario.
    Class,
    /// Tenant label.
    Tenant,
    /// Route label.
    Route,
    /// Name of the session.
    Session,
    /// Identities of the prompt's blocks.
    PrefixHashes,
    /// Tokens per identity.
    PrefixBlockTokens,
    /// Input tokens from this source.
    In(Source),
}

impl Column {
    /// The column of this name, as native traces and column maps call it.
    fn named(name: &str) -> Option<Column> {
        Some(match name {
            "arrival_s" | "arrival" => Column::Arrival,
            "input_tokens" | "input" => Column::InputTokens,
            "output_tokens" | "output" => Column::OutputTokens,
            "max_tokens" => Column::MaxTokens,
            "class" => Column::Class,
            "tenant" => Column::Tenant,
            "route" => Column::Route,
            "session" => Column::Session,
            "prefix_hashes" => Column::PrefixHashes,
            "prefix_block_tokens" => Column::PrefixBlockTokens,
            _ => Column::In(Source::ALL.into_iter().find(|s| name.strip_prefix("in_") == Some(s.name()))?),
        })
    }
}

impl Column {
    /// Whether a trace may do without it.
    pub fn optional(self) -> bool {
        !matches!(self, Column::Arrival | Column::InputTokens | Column::OutputTokens)
    }
}

/// Names that native traces use, in every file format; the first three must be there.
pub const NATIVE_COLUMNS: [&str; 18] = [
    "arrival_s",
    "input_tokens",
    "output_tokens",
    "max_tokens",
    "class",
    "tenant",
    "route",
    "session",
    "prefix_hashes",
    "prefix_block_tokens",
    "in_system",
    "in_developer",
    "in_history",
    "in_retrieved",
    "in_tools",
    "in_user",
    "in_metadata",
    "in_formatting",
];
const AZURE: [(&str, &str); 3] =
    [("arrival", "TIMESTAMP"), ("input_tokens", "ContextTokens"), ("output_tokens", "GeneratedTokens")];
const MOONCAKE: [(&str, &str); 3] =
    [("arrival", "timestamp"), ("input_tokens", "input_length"), ("output_tokens", "output_length")];

/// How to read a file's lines.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Never [`TraceFormat::Detect`].
    pub format: TraceFormat,
    /// JSON lines; else CSV with a header.
    pub json: bool,
    /// Of arrival times.
    pub unit: Unit,
    /// Meaning, name in the file, and place (CSV) of each column that is read.
    pub columns: Vec<(Column, String, usize)>,
    /// Fields of a CSV record.
    pub width: usize,
    /// Tokens per prefix hash, unless a row says it.
    pub block_tokens: Option<u32>,
    /// Whether each row's hashes cover its whole prompt.
    pub exact_blocks: bool,
    /// Columns that are not read.
    pub ignored: Vec<String>,
}

impl Schema {
    /// From the file's first line: its CSV header or first JSON object.
    pub fn of(first: &str, config: &TraceConfig) -> Result<Schema, Fault> {
        if first.starts_with('[') {
            return Err(Fault::new(FaultKind::Unsupported, "this is a JSON array: write one object per line (JSONL)"));
        }
        let json = first.starts_with('{');
        let object = if json { Some(object(first)?) } else { None };
        let mut splitter = Splitter::default();
        let names: Vec<&str> = match &object {
            Some(object) => object.keys().map(String::as_str).collect(),
            None => splitter.split(first)?,
        };
        let has = |name: &str| names.contains(&name) || object.as_ref().is_some_and(|o| lookup(o, name).is_some());
        let format = match config.format {
            TraceFormat::Detect => detect(&has, &names, config)?,
            format => format,
        };
        let map = column_map(format, config, json, &has)?;
        let exact_blocks = format == TraceFormat::Mooncake && has("hash_ids");
        let mut columns = Vec::with_capacity(map.columns.len());
        for (column, theirs) in map.columns {
            // Later objects may have optional keys that the first one lacks.
            if !(has(&theirs) || json && column.optional()) {
                return Err(missing(&theirs, &names));
            }
            let index = names.iter().position(|n| *n == theirs).unwrap_or(usize::MAX);
            columns.push((column, theirs, index));
        }
        let ignored: Vec<String> =
            names.iter().filter(|n| !columns.iter().any(|(_, theirs, _)| theirs == *n)).map(|n| (*n).to_owned()).collect();
        if format == TraceFormat::Native {
            refuse_misspelt(&ignored, &has)?;
        }
        let default = (format == TraceFormat::Mooncake).then_some(MOONCAKE_BLOCK);
        let block_tokens = config.block_tokens.or(default);
        Ok(Schema { format, json, unit: map.unit, columns, width: names.len(), block_tokens, exact_blocks, ignored })
    }
}

/// A column of this name is not among `names`.
pub fn missing(column: &str, names: &[&str]) -> Fault {
    let hint = did_you_mean(column, names.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
    Fault::new(FaultKind::MissingColumn, format!("{hint}the file has {}", names.join(", "))).column(column)
}

fn detect(has: &dyn Fn(&str) -> bool, names: &[&str], config: &TraceConfig) -> Result<TraceFormat, Fault> {
    if !config.columns.is_empty() {
        return Ok(TraceFormat::Mapped);
    }
    if AZURE.iter().all(|(_, theirs)| has(theirs)) {
        return Ok(TraceFormat::Azure);
    }
    if has("input_length") && (has("session_id") || has("delay")) {
        let advice = "AIPerf sessions give what each turn adds, not whole prompts, and no arrival times: \
                      describe them as a class with sessions";
        return Err(Fault::new(FaultKind::Unsupported, advice));
    }
    if MOONCAKE.iter().all(|(_, theirs)| has(theirs)) {
        return Ok(TraceFormat::Mooncake);
    }
    // One of the three is enough: what is missing is then told by its name.
    if NATIVE_COLUMNS[..3].iter().any(|name| has(name)) {
        return Ok(TraceFormat::Native);
    }
    let found = names.iter().take(20).copied().collect::<Vec<_>>().join(", ");
    let advice = "known are native (arrival_s, input_tokens, output_tokens), Azure (TIMESTAMP, ContextTokens, GeneratedTokens) and \
                  Mooncake (timestamp, input_length, output_length); map other columns, such as arrival = \"start:unix_ms\"";
    Err(Fault::new(FaultKind::UnknownFormat, advice).text(&found))
}

struct ColumnMap {
    columns: Vec<(Column, String)>,
    unit: Unit,
}

fn column_map(format: TraceFormat, config: &TraceConfig, json: bool, has: &dyn Fn(&str) -> bool) -> Result<ColumnMap, Fault> {
    let fixed = |pairs: &[(&str, &str)], unit| {
        let columns = pairs.iter().filter_map(|(ours, theirs)| Some((Column::named(ours)?, (*theirs).to_owned()))).collect();
        ColumnMap { columns, unit }
    };
    Ok(match format {
        TraceFormat::Azure => fixed(&AZURE, Unit::Calendar),
        TraceFormat::Mooncake => {
            let mut map = fixed(&MOONCAKE, Unit::Milliseconds);
            if json || has("hash_ids") {
                map.columns.push((Column::PrefixHashes, "hash_ids".to_owned()));
            }
            map
        }
        TraceFormat::Native | TraceFormat::Detect => {
            let there =
                NATIVE_COLUMNS.iter().enumerate().filter(|(i, name)| json || *i < 3 || has(name)).map(|(_, name)| (*name, *name));
            fixed(&there.collect::<Vec<_>>(), Unit::Seconds)
        }
        TraceFormat::Mapped => mapped(config, has)?,
    })
}

/// `ours -> theirs[:unit]`. Arrival times need a unit, unless they are called `arrival_s`.
fn mapped(config: &TraceConfig, has: &dyn Fn(&str) -> bool) -> Result<ColumnMap, Fault> {
    let bad = |text: String| Fault::new(FaultKind::BadSetting, text);
    let mut columns: Vec<(Column, String)> = Vec::with_capacity(config.columns.len());
    let mut unit = None;
    for (ours, theirs) in &config.columns {
        let Some(column) = Column::named(ours) else {
            let hint = did_you_mean(ours, NATIVE_COLUMNS).map_or(String::new(), |n| format!("did you mean `{n}`? "));
            return Err(bad(format!("{hint}a column map may name {}", NATIVE_COLUMNS.join(", "))).text(ours));
        };
        if columns.iter().any(|(c, _)| *c == column) {
            return Err(bad("it is mapped twice".to_owned()).text(ours));
        }
        let mut name = theirs.as_str();
        if column == Column::Arrival {
            (name, unit) = arrival_unit(ours, theirs, has)?;
        }
        columns.push((column, name.to_owned()));
    }
    for (required, name) in [Column::Arrival, Column::InputTokens, Column::OutputTokens].into_iter().zip(NATIVE_COLUMNS) {
        if !columns.iter().any(|(c, _)| *c == required) {
            return Err(bad(format!("the column map does not say which column is `{name}`")));
        }
    }
    Ok(ColumnMap { columns, unit: unit.unwrap_or(Unit::Seconds) })
}

fn arrival_unit<'a>(ours: &str, theirs: &'a str, has: &dyn Fn(&str) -> bool) -> Result<(&'a str, Option<Unit>), Fault> {
    let (name, unit) = match theirs.rsplit_once(':') {
        Some((name, unit)) if Unit::named(unit).is_some() => (name, Unit::named(unit)),
        Some((name, unit)) if !has(theirs) && has(name) => {
            return Err(Fault::new(FaultKind::BadSetting, format!("units are {}", Unit::NAMES.join(", "))).text(unit));
        }
        _ => (theirs, None),
    };
    if unit.is_none() && ours != "arrival_s" {
        let advice = format!("write the unit behind the name, such as `{name}:s`; units are {}", Unit::NAMES.join(", "));
        return Err(Fault::new(FaultKind::AmbiguousUnit, advice).column(name));
    }
    Ok((name, unit))
}

/// Columns that native traces do not have are ignored, but not if they are one or two letters from one that this file lacks.
fn refuse_misspelt(ignored: &[String], has: &dyn Fn(&str) -> bool) -> Result<(), Fault> {
    for name in ignored {
        let edits_max = if name.len() > 5 { 2 } else { 1 };
        let near = |known: &&str| !has(known) && strsim::damerau_levenshtein(name, known) <= edits_max;
        if let Some(known) = NATIVE_COLUMNS.into_iter().find(near) {
            return Err(Fault::new(FaultKind::MisspeltColumn, format!("did you mean `{known}`?")).column(name));
        }
    }
    Ok(())
}
