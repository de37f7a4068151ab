//! Rows of a trace, each one checked, in order of arrival.

use std::collections::BTreeMap;

use tokentide_models::units::PS_PER_S;

use super::error::{Fault, FaultKind, TraceError, did_you_mean};
use super::lines::Lines;
use super::record::{Record, Splitter, lookup, object};
use super::row::TraceRow;
use super::schema::{Schema, missing};
use crate::scenario::TraceConfig;

/// Longest trace [s]: what simulated time can count.
pub const SPAN_MAX_S: i128 = 18_000_000;

/// Reads rows from lines, or takes ready ones, and checks them. The same rows come out each time.
#[derive(Debug)]
pub struct Rows {
    feed: Feed,
    skip_bad_rows: bool,
    classes: Vec<String>,
    /// First arrival [ps] and its line, and those of the latest row kept.
    first: Option<i128>,
    last: Option<(i128, u64)>,
    /// Rows seen, good or bad.
    pub read: u64,
    /// Rows left out, by reason.
    pub rejected: BTreeMap<FaultKind, u64>,
}

#[derive(Debug)]
enum Feed {
    File(Box<TextFile>),
    Memory { rows: std::vec::IntoIter<TraceRow>, at: u64, block_tokens: Option<u32> },
}

#[derive(Debug)]
struct TextFile {
    lines: Lines,
    splitter: Splitter,
    schema: Schema,
    /// Which of the schema's columns some row had.
    keys_seen: Vec<bool>,
}

impl Rows {
    /// Rows of the file at `config.path`.
    pub fn open(config: &TraceConfig, classes: &[String]) -> Result<Rows, TraceError> {
        let mut lines = Lines::open(&config.path)?;
        let schema = match lines.next_line()? {
            Some(first) => Schema::of(first, config),
            None => Err(Fault::new(FaultKind::Empty, "the file is empty")),
        };
        let schema = schema.map_err(|fault| lines.error(fault))?;
        if schema.json {
            // The first line is a row already: read it again as one.
            lines = Lines::open(&config.path)?;
        }
        let keys_seen = vec![!schema.json; schema.columns.len()];
        let file = TextFile { lines, splitter: Splitter::default(), schema, keys_seen };
        Ok(Rows::of(Feed::File(Box::new(file)), config, classes))
    }

    /// Rows read elsewhere, numbered from 1.
    pub fn ready(rows: Vec<TraceRow>, config: &TraceConfig, classes: &[String]) -> Rows {
        Rows::of(Feed::Memory { rows: rows.into_iter(), at: 0, block_tokens: config.block_tokens }, config, classes)
    }

    fn of(feed: Feed, config: &TraceConfig, classes: &[String]) -> Rows {
        let classes = classes.to_vec();
        Rows { feed, skip_bad_rows: config.skip_bad_rows, classes, first: None, last: None, read: 0, rejected: BTreeMap::new() }
    }

    /// The next good row, with its class's index; `None` at the end. A bad row is an error, or counted and left out.
    pub fn next_row(&mut self) -> Result<Option<(TraceRow, u16)>, TraceError> {
        loop {
            let row = match self.feed.next_row() {
                Ok(None) => return Ok(None),
                Ok(Some(row)) => self.check(&row).map(|class| (row, class)).map_err(|fault| self.feed.error(fault)),
                Err(error) => Err(error),
            };
            match row {
                Ok(row) => {
                    self.read += 1;
                    return Ok(Some(row));
                }
                Err(error) if self.skip_bad_rows && error.fault.kind.of_a_row() => {
                    self.read += 1;
                    *self.rejected.entry(error.fault.kind).or_default() += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The schema, of a file.
    pub fn schema(&self) -> Option<&Schema> {
        match &self.feed {
            Feed::File(file) => Some(&file.schema),
            Feed::Memory { .. } => None,
        }
    }

    /// Hash of the bytes read so far, of a file.
    pub fn hash(&self) -> Option<u64> {
        match &self.feed {
            Feed::File(file) => Some(file.lines.hash()),
            Feed::Memory { .. } => None,
        }
    }

    /// After the last row: keys that were mapped or may be there, and were in no row, are `Err` if the user has named them.
    pub fn check_keys(&self, config: &TraceConfig) -> Result<(), TraceError> {
        let Feed::File(file) = &self.feed else { return Ok(()) };
        let TextFile { lines, schema, keys_seen, .. } = &**file;
        if config.columns.is_empty() {
            return Ok(());
        }
        match schema.columns.iter().zip(keys_seen).find(|(_, seen)| !**seen) {
            Some(((_, name, _), _)) => {
                let names: Vec<&str> = schema.ignored.iter().map(String::as_str).collect();
                Err(lines.error(missing(name, &names)))
            }
            None => Ok(()),
        }
    }

    /// Checks a row by itself and against the one before; gives its class.
    fn check(&mut self, row: &TraceRow) -> Result<u16, Fault> {
        let exact = self.schema().is_some_and(|s| s.exact_blocks);
        row.check(exact)?;
        let class = match &row.class {
            None => 0,
            Some(name) => self.classes.iter().position(|c| c == name).ok_or_else(|| self.unknown_class(name))?,
        };
        let line = self.feed.line();
        if let Some((last, last_line)) = self.last
            && row.arrival_ps < last
        {
            let back = (last - row.arrival_ps) as f64 / PS_PER_S as f64;
            let expected = format!("line {line} comes {back} s before line {last_line}: sort the rows by arrival");
            return Err(Fault::new(FaultKind::Backwards, expected));
        }
        let first = *self.first.get_or_insert(row.arrival_ps);
        if row.arrival_ps - first > SPAN_MAX_S * i128::from(PS_PER_S) {
            let expected = format!("a trace spans at most {SPAN_MAX_S} s (208 days): is the time unit right?");
            return Err(Fault::new(FaultKind::TooLarge, expected));
        }
        self.last = Some((row.arrival_ps, line));
        Ok(class as u16)
    }

    fn unknown_class(&self, name: &str) -> Fault {
        let known = || self.classes.iter().map(String::as_str);
        let hint = did_you_mean(name, known()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
        let expected = format!("{hint}the scenario has {}", known().collect::<Vec<_>>().join(", "));
        Fault::new(FaultKind::UnknownClass, expected).text(name)
    }

    /// An error at the row read last.
    pub fn error(&self, fault: Fault) -> TraceError {
        self.feed.error(fault)
    }
}

impl Feed {
    fn next_row(&mut self) -> Result<Option<TraceRow>, TraceError> {
        let TextFile { lines, splitter, schema, keys_seen } = match self {
            Feed::File(file) => &mut **file,
            Feed::Memory { rows, at, block_tokens } => {
                *at += 1;
                let row = rows.next();
                return Ok(row.map(|row| TraceRow { prefix_block_tokens: row.prefix_block_tokens.or(*block_tokens), ..row }));
            }
        };
        let Some(line) = lines.next_line()? else { return Ok(None) };
        let row = parse(line, splitter, schema, keys_seen);
        row.map(Some).map_err(|fault| lines.error(fault))
    }

    fn line(&self) -> u64 {
        match self {
            Feed::File(file) => file.lines.line(),
            Feed::Memory { at, .. } => *at,
        }
    }

    fn error(&self, fault: Fault) -> TraceError {
        match self {
            Feed::File(file) => file.lines.error(fault),
            Feed::Memory { at, .. } => TraceError { file: "".into(), line: Some(*at), fault: Box::new(fault) },
        }
    }
}

fn parse(line: &str, splitter: &mut Splitter, schema: &Schema, keys_seen: &mut [bool]) -> Result<TraceRow, Fault> {
    let record = if schema.json { Record::Object(object(line)?) } else { Record::Fields(splitter.split(line)?) };
    match &record {
        Record::Fields(fields) if fields.len() != schema.width => {
            let expected = format!("{} fields, expected {} as in the header", fields.len(), schema.width);
            return Err(Fault::new(FaultKind::FieldCount, expected).text(line));
        }
        Record::Fields(_) => {}
        Record::Object(object) => {
            let unseen = keys_seen.iter_mut().zip(&schema.columns).filter(|(seen, _)| !**seen);
            unseen.for_each(|(seen, (_, key, _))| *seen = lookup(object, key).is_some());
        }
    }
    TraceRow::read(&record, schema)
}
