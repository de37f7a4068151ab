//! Which of a file's columns means what, of formats whose rows are whole: one line, one request.

use super::blocks;
use super::columns::{Column, NATIVE_COLUMNS};
use super::error::{Fault, FaultKind, did_you_mean};
use super::format::TraceFormat;
use super::number::{Decimal, Unit, count};
use super::options::ReadOptions;
use super::record::{Picker, Record, Splitter};
use super::row::{Cover, Ended, TraceRow};

/// Ours, and the name in the file.
type Names = &'static [(&'static str, &'static str)];

const AZURE: Names =
    &[("arrival", "TIMESTAMP"), ("input", "ContextTokens"), ("output", "GeneratedTokens"), ("images", "NumImages")];
const BURSTGPT: Names = &[
    ("arrival", "Timestamp"),
    ("input", "Request tokens"),
    ("output", "Response tokens"),
    ("model", "Model"),
    ("route", "Log Type"),
    ("session", "Session ID"),
    ("e2e", "Elapsed time"),
];
const VIDUR: Names = &[
    ("arrival", "arrived_at"),
    ("input", "num_prefill_tokens"),
    ("output", "num_decode_tokens"),
    ("reasoning_tokens", "reasoning_tokens"),
    ("tenant", "client_id"),
];
const MOONCAKE: Names =
    &[("arrival", "timestamp"), ("input", "input_length"), ("output", "output_length"), ("prefix_hashes", "hash_ids")];

/// A column that is read.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it holds.
    pub column: Column,
    /// Its name in the file.
    pub name: String,
    /// Its place in a record.
    pub index: usize,
    /// Of a time.
    pub unit: Unit,
    /// Place and unit of what is taken off an arrival that is stamped at the end.
    pub less: Option<(usize, Unit)>,
}

/// How to read a file's lines.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Never [`TraceFormat::Detect`].
    pub format: TraceFormat,
    /// JSON lines; else CSV with a header.
    pub json: bool,
    /// Of arrival times.
    pub unit: Unit,
    /// Columns that are read.
    pub columns: Vec<Read>,
    /// Takes them out of JSON.
    picker: Picker,
    /// Fields of a CSV record.
    width: usize,
    /// Tokens per prefix hash, unless a row says it.
    pub block_tokens: Option<u32>,
    /// How much of a prompt its hashes cover.
    pub cover: Cover,
    /// Columns that are not read.
    pub ignored: Vec<String>,
}

impl Schema {
    /// Of a file of `format` whose header, or first object, has `names`. `head` are its first lines.
    ///
    /// # Errors
    /// If a column is missing or misspelt, or a unit cannot be told.
    pub fn of(format: TraceFormat, json: bool, names: &[&str], head: &[String], options: &ReadOptions) -> Result<Schema, Fault> {
        let has = |name: &str| names.contains(&name) || json && name.split_once('.').is_some_and(|(key, _)| names.contains(&key));
        if format == TraceFormat::Vidur && !has("arrived_at") {
            let advice = "this is a pool of lengths with no arrivals: describe them as a class with arrivals of its own";
            return Err(Fault::new(FaultKind::Unsupported, advice));
        }
        let (mut columns, unit) = match format {
            TraceFormat::Azure => fixed(AZURE, Unit::Calendar),
            TraceFormat::Burstgpt => fixed(BURSTGPT, Unit::Seconds),
            TraceFormat::Vidur => fixed(VIDUR, Unit::Seconds),
            TraceFormat::Mooncake => fixed(MOONCAKE, mooncake_unit(head, options)?),
            TraceFormat::Mapped => mapped(options, names, json, &has)?,
            _ => (NATIVE_COLUMNS.iter().filter_map(|name| plain(name, name, Unit::Seconds)).collect(), Unit::Seconds),
        };
        let by_user = format == TraceFormat::Mapped;
        // Later objects may have optional keys that the first one lacks.
        columns.retain(|c| json || by_user || !c.column.optional() || has(&c.name));
        for (place, read) in columns.iter_mut().enumerate() {
            if !(has(&read.name) || json && (by_user || read.column.optional())) {
                return Err(missing(&read.name, names));
            }
            read.index = if json { place } else { names.iter().position(|n| *n == read.name).unwrap_or(usize::MAX) };
        }
        let paths: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let picker = Picker::new(paths.iter().copied());
        let taken = |name: &str| columns.iter().any(|c| c.name == name || json && c.name.split('.').next() == Some(name));
        let ignored: Vec<String> = names.iter().filter(|n| !taken(n)).map(|n| (*n).to_owned()).collect();
        if format == TraceFormat::Native {
            refuse_misspelt(&ignored, &has)?;
        }
        let (block_tokens, cover) = match format {
            TraceFormat::Mooncake if has("hash_ids") => {
                let blocks = blocks::infer(head, "input_length", "hash_ids", options.block_tokens)?;
                (Some(blocks.tokens), blocks.cover)
            }
            _ => (options.block_tokens, Cover::Prefix),
        };
        Ok(Schema { format, json, unit, columns, picker, width: names.len(), block_tokens, cover, ignored })
    }

    /// Takes a line apart.
    ///
    /// # Errors
    /// If it is no record, or one of another width than the header.
    pub fn record<'a>(&self, line: &'a str, splitter: &'a mut Splitter) -> Result<Record<'a>, Fault> {
        if self.json {
            return Ok(Record::Object(self.picker.pick(line)?));
        }
        let fields = splitter.split(line)?;
        if fields.len() != self.width {
            let expected = format!("{} fields, expected {} as in the header", fields.len(), self.width);
            return Err(Fault::new(FaultKind::FieldCount, expected).text(line));
        }
        Ok(Record::Fields(fields))
    }

    /// The row of a record, and the name of the record if it has one.
    ///
    /// # Errors
    /// If a value is not what its column holds.
    pub fn row(&self, record: &Record<'_>) -> Result<(TraceRow, Option<u64>), Fault> {
        let mut row = TraceRow { prefix_block_tokens: self.block_tokens, ..TraceRow::default() };
        let mut id = None;
        for read in &self.columns {
            self.column(&mut row, &mut id, read, record).map_err(|fault| fault.column(&read.name))?;
        }
        Ok((row, id))
    }

    fn column(&self, row: &mut TraceRow, id: &mut Option<u64>, read: &Read, record: &Record<'_>) -> Result<(), Fault> {
        if read.column == Column::PrefixHashes {
            row.prefix_hashes = record.identities(read.index)?;
            return Ok(());
        }
        let text = record.text(read.index)?;
        let Some(text) = text.as_deref() else {
            return match read.column.optional() {
                true => Ok(()),
                false => Err(Fault::new(FaultKind::MissingValue, "expected a number")),
            };
        };
        let owned = || Some(text.to_owned());
        match read.column {
            Column::Id => *id = Some(super::row::identity(text)),
            Column::Arrival => row.arrival_ps = self.arrival(text, read, record)?,
            Column::InputTokens => row.input_tokens = count(text)?,
            Column::OutputTokens => row.output_tokens = count(text)?,
            Column::MaxTokens => row.max_tokens = Some(count(text)?),
            Column::Class => row.class = owned(),
            Column::Tenant => row.tenant = owned(),
            Column::Route => row.route = owned(),
            Column::Model => row.model = owned(),
            Column::Session => row.session = owned(),
            Column::Turn => row.turn = Some(count(text)?),
            Column::HistoryTokens => row.history_tokens = Some(count(text)?),
            Column::PrefixBlockTokens => row.prefix_block_tokens = Some(count(text)?),
            Column::In(source) => row.sources[source as usize] = count(text)?,
            Column::ReasoningTokens => row.observed.reasoning_tokens = Some(count(text)?),
            Column::CachedTokens => row.observed.cached_tokens = Some(count(text)?),
            Column::Images => row.observed.images = Some(count(text)?),
            Column::Delay => row.delay_ps = Some(span(text, read.unit)?),
            Column::Queue => row.observed.queue_ps = Some(span(text, read.unit)?),
            Column::Ttft => row.observed.ttft_ps = Some(span(text, read.unit)?),
            Column::E2e => row.observed.e2e_ps = Some(span(text, read.unit)?),
            Column::Finish => row.observed.finish = Ended::named(text),
            Column::PrefixHashes => {}
        }
        Ok(())
    }

    fn arrival(&self, text: &str, read: &Read, record: &Record<'_>) -> Result<i128, Fault> {
        if self.format == TraceFormat::Mooncake && self.unit == Unit::Milliseconds && !Decimal::parse(text)?.is_whole() {
            return Err(fractional(text));
        }
        let end = self.unit.parse(text).map_err(|fault| match self.unit {
            Unit::Calendar => fault,
            unit => Fault { expected: format!("expected a time in {}", unit.name()), ..fault },
        })?;
        let Some((index, unit)) = read.less else { return Ok(end) };
        let duration = record.text(index)?.ok_or_else(|| Fault::new(FaultKind::MissingValue, "expected a duration"))?;
        Ok(end - i128::from(span(&duration, unit)?))
    }
}

/// A length of time [ps].
pub(crate) fn span(text: &str, unit: Unit) -> Result<u64, Fault> {
    let ps = unit.parse(text)?;
    u64::try_from(ps).map_err(|_| match ps < 0 {
        true => Fault::new(FaultKind::Negative, "expected a length of time").text(text),
        false => Fault::new(FaultKind::TooLarge, "expected less than 213 days").text(text),
    })
}

/// A column of this name is not among `names`.
pub fn missing(column: &str, names: &[&str]) -> Fault {
    let hint = did_you_mean(column, names.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
    Fault::new(FaultKind::MissingColumn, format!("{hint}the file has {}", names.join(", "))).column(column)
}

/// Stamps of Mooncake are whole milliseconds; who has others must say of what.
fn mooncake_unit(head: &[String], options: &ReadOptions) -> Result<Unit, Fault> {
    if let Some(unit) = options.time_unit {
        return Ok(unit);
    }
    let picker = Picker::new(["timestamp"]);
    let fraction = |line: &String| {
        let raw = picker.pick(line).ok()?[0]?;
        Decimal::parse(raw).is_ok_and(|stamp| !stamp.is_whole()).then(|| raw.to_owned())
    };
    match head.iter().find_map(fraction) {
        Some(text) => Err(fractional(&text).column("timestamp")),
        None => Ok(Unit::Milliseconds),
    }
}

fn fractional(text: &str) -> Fault {
    let advice = "stamps of this format are whole milliseconds, and a fraction may mean seconds: `trace import --time-unit s` says \
                  so, or map the columns and name the unit, such as arrival = \"timestamp:s\"";
    Fault::new(FaultKind::AmbiguousUnit, advice).text(text)
}

fn plain(ours: &str, theirs: &str, unit: Unit) -> Option<Read> {
    let column = Column::named(ours)?;
    let unit = match column.is_time() && ours.ends_with("_ms") {
        true => Unit::Milliseconds,
        false => unit,
    };
    Some(Read { column, name: theirs.to_owned(), index: 0, unit, less: None })
}

fn fixed(names: Names, unit: Unit) -> (Vec<Read>, Unit) {
    (names.iter().filter_map(|(ours, theirs)| plain(ours, theirs, Unit::Seconds)).collect(), unit)
}

/// `ours -> theirs[:unit]`. Arrival times need a unit, unless they are called `arrival_s`.
fn mapped(options: &ReadOptions, names: &[&str], json: bool, has: &dyn Fn(&str) -> bool) -> Result<(Vec<Read>, Unit), Fault> {
    let bad = |text: String| Fault::new(FaultKind::BadSetting, text);
    let mut columns: Vec<Read> = Vec::with_capacity(options.columns.len());
    let mut durations = Vec::new();
    for (ours, theirs) in &options.columns {
        let Some(column) = Column::named(ours) else {
            let hint = did_you_mean(ours, NATIVE_COLUMNS).map_or(String::new(), |n| format!("did you mean `{n}`? "));
            return Err(bad(format!("{hint}a column map may name {}, id", NATIVE_COLUMNS.join(", "))).text(ours));
        };
        if columns.iter().any(|c| c.column == column) {
            return Err(bad("it is mapped twice".to_owned()).text(ours));
        }
        let mut read = Read { column, name: theirs.clone(), index: 0, unit: Unit::Seconds, less: None };
        if column == Column::Arrival || column.is_time() {
            let (name, unit) = time_unit(ours, theirs, has, options)?;
            (read.name, read.unit) = (name.to_owned(), unit);
        }
        if column == Column::Arrival && !has(&read.name) {
            let difference = difference(&read.name, has)?;
            if let Some((stamp, duration, unit)) = difference {
                durations.push((duration, unit));
                read.name = stamp;
            }
        }
        columns.push(read);
    }
    for (required, name) in [Column::Arrival, Column::InputTokens, Column::OutputTokens].into_iter().zip(NATIVE_COLUMNS) {
        if !columns.iter().any(|c| c.column == required) {
            return Err(bad(format!("the column map does not say which column is `{name}`")));
        }
    }
    let unit = columns.iter().find(|c| c.column == Column::Arrival).map_or(Unit::Seconds, |c| c.unit);
    if let Some((duration, unit)) = durations.pop() {
        // Read as a column of its own, so that it has a place in every record.
        let index = names.iter().position(|n| *n == duration).unwrap_or(usize::MAX);
        let index = if json { columns.len() } else { index };
        columns.iter_mut().filter(|c| c.column == Column::Arrival).for_each(|c| c.less = Some((index, unit)));
        columns.push(Read { column: Column::E2e, name: duration, index, unit, less: None });
    }
    Ok((columns, unit))
}

/// `end-duration_ms`: an arrival that is stamped at the end of its request.
fn difference(name: &str, has: &dyn Fn(&str) -> bool) -> Result<Option<(String, String, Unit)>, Fault> {
    let Some((stamp, duration)) =
        name.match_indices('-').map(|(i, _)| (&name[..i], &name[i + 1..])).find(|(a, b)| has(a) && has(b))
    else {
        return Ok(None);
    };
    let unit = [("_ms", Unit::Milliseconds), ("_us", Unit::Microseconds), ("_ns", Unit::Nanoseconds), ("_s", Unit::Seconds)];
    match unit.into_iter().find(|(suffix, _)| duration.ends_with(suffix)) {
        Some((_, unit)) => Ok(Some((stamp.to_owned(), duration.to_owned(), unit))),
        None => {
            let advice = "what is taken off must end in its unit: _s, _ms, _us or _ns";
            Err(Fault::new(FaultKind::AmbiguousUnit, advice).column(duration))
        }
    }
}

fn time_unit<'a>(ours: &str, theirs: &'a str, has: &dyn Fn(&str) -> bool, options: &ReadOptions) -> Result<(&'a str, Unit), Fault> {
    let (name, unit) = match theirs.rsplit_once(':') {
        Some((name, unit)) if Unit::named(unit).is_some() => (name, Unit::named(unit)),
        Some((name, unit)) if !has(theirs) && has(name) => {
            return Err(Fault::new(FaultKind::BadSetting, format!("units are {}", Unit::NAMES.join(", "))).text(unit));
        }
        _ => (theirs, None),
    };
    let from_name = match ours {
        "arrival_s" | "delay_s" => Some(Unit::Seconds),
        ours if ours.ends_with("_ms") => Some(Unit::Milliseconds),
        "arrival" => options.time_unit,
        _ => None,
    };
    let Some(unit) = unit.or(from_name) else {
        let advice = format!("write the unit behind the name, such as `{name}:s`; units are {}", Unit::NAMES.join(", "));
        return Err(Fault::new(FaultKind::AmbiguousUnit, advice).column(name));
    };
    Ok((name, unit))
}

/// Columns that native traces do not have are ignored, but not if they are one or two letters from one that this file lacks. What
/// was only observed loses nothing of a load.
fn refuse_misspelt(ignored: &[String], has: &dyn Fn(&str) -> bool) -> Result<(), Fault> {
    let load = NATIVE_COLUMNS.into_iter().filter(|name| {
        let column = Column::named(name);
        let observed = [Column::Model, Column::Turn, Column::ReasoningTokens, Column::CachedTokens, Column::Images];
        column.is_some_and(|c| !(observed.contains(&c) || matches!(c, Column::Queue | Column::Ttft | Column::E2e | Column::Finish)))
    });
    let load: Vec<&str> = load.collect();
    for name in ignored {
        let edits_max = if name.len() > 5 { 2 } else { 1 };
        let near = |known: &&str| !has(known) && strsim::damerau_levenshtein(name, known) <= edits_max;
        if let Some(known) = load.iter().copied().find(near) {
            return Err(Fault::new(FaultKind::MisspeltColumn, format!("did you mean `{known}`?")).column(name));
        }
    }
    Ok(())
}
