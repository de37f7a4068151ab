//! Rows of a trace, each one checked, in order of arrival.

use std::collections::BTreeMap;

use tokentide_models::units::PS_PER_S;
use tokentide_traces::error::did_you_mean;
use tokentide_traces::row::Cover;
use tokentide_traces::{Fault, FaultKind, Reader, TraceError, TraceRow};

use crate::scenario::TraceConfig;

/// Longest trace [s]: what simulated time can count.
pub const SPAN_MAX_S: i128 = 18_000_000;

/// Reads rows from a file, or takes ready ones, and checks them. The same rows come out each time.
#[derive(Debug)]
pub struct Rows {
    feed: Feed,
    skip_bad_rows: bool,
    classes: Vec<String>,
    /// First arrival [ps] and its line, and those of the latest row kept.
    first: Option<i128>,
    last: Option<(i128, u64)>,
    /// Session of the latest row kept, whose next turn may follow.
    open_session: Option<String>,
    /// Rows seen, good or bad.
    pub read: u64,
    /// Rows left out, by reason.
    pub rejected: BTreeMap<FaultKind, u64>,
}

#[derive(Debug)]
enum Feed {
    File(Box<Reader>),
    Memory { rows: std::vec::IntoIter<TraceRow>, at: u64, block_tokens: Option<u32> },
}

impl Rows {
    /// Rows of the file at `config.path`.
    pub fn open(config: &TraceConfig, classes: &[String]) -> Result<Rows, TraceError> {
        let reader = Reader::open(&config.path, &config.read_options())?;
        Ok(Rows::of(Feed::File(Box::new(reader)), config, classes))
    }

    /// Rows read elsewhere, numbered from 1.
    pub fn ready(rows: Vec<TraceRow>, config: &TraceConfig, classes: &[String]) -> Rows {
        Rows::of(Feed::Memory { rows: rows.into_iter(), at: 0, block_tokens: config.block_tokens }, config, classes)
    }

    fn of(feed: Feed, config: &TraceConfig, classes: &[String]) -> Rows {
        Rows {
            feed,
            skip_bad_rows: config.skip_bad_rows,
            classes: classes.to_vec(),
            first: None,
            last: None,
            open_session: None,
            read: 0,
            rejected: BTreeMap::new(),
        }
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

    /// The reader, of a file.
    pub fn reader(&self) -> Option<&Reader> {
        match &self.feed {
            Feed::File(reader) => Some(reader),
            Feed::Memory { .. } => None,
        }
    }

    /// Hash of the bytes read so far, of a file that is read line by line.
    pub fn hash(&self) -> Option<u64> {
        self.reader().and_then(Reader::hash)
    }

    /// Checks a row by itself and against the one before; gives its class.
    fn check(&mut self, row: &TraceRow) -> Result<u16, Fault> {
        row.check(self.reader().map_or(Cover::Prefix, |reader| reader.cover))?;
        let class = match &row.class {
            None => 0,
            Some(name) => self.classes.iter().position(|c| c == name).ok_or_else(|| self.unknown_class(name))?,
        };
        let line = self.feed.line();
        if row.delay_ps.is_some() && (row.session.is_none() || row.session != self.open_session) {
            let expected =
                "a row with a delay stands right behind the turn before, which it waits for; `trace import` puts them so";
            return Err(Fault::new(FaultKind::BadSession, expected));
        }
        if let Some((last, last_line)) = self.last
            && row.arrival_ps < last
        {
            let back = (last - row.arrival_ps) as f64 / PS_PER_S as f64;
            let expected =
                format!("line {line} comes {back} s before line {last_line}: sort the rows by arrival, as `trace import` does");
            return Err(Fault::new(FaultKind::Backwards, expected));
        }
        let first = *self.first.get_or_insert(row.arrival_ps);
        if row.arrival_ps - first > SPAN_MAX_S * i128::from(PS_PER_S) {
            let expected = format!("a trace spans at most {SPAN_MAX_S} s (208 days): is the time unit right?");
            return Err(Fault::new(FaultKind::TooLarge, expected));
        }
        self.last = Some((row.arrival_ps, line));
        if row.session != self.open_session {
            self.open_session.clone_from(&row.session);
        }
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
        match self {
            Feed::File(reader) => {
                let Some(entry) = reader.next_entry()? else { return Ok(None) };
                let block_tokens = reader.block_tokens;
                match entry.aside {
                    // Told by the row's own check, with what a prompt and an answer must have.
                    None | Some(FaultKind::ZeroInput | FaultKind::ZeroOutput) => {
                        let block = entry.row.prefix_block_tokens.or(block_tokens);
                        Ok(Some(TraceRow { prefix_block_tokens: block, ..entry.row }))
                    }
                    Some(kind) => Err(reader.error(Fault::new(kind, "such a record is no load"))),
                }
            }
            Feed::Memory { rows, at, block_tokens } => {
                *at += 1;
                let row = rows.next();
                Ok(row.map(|row| TraceRow { prefix_block_tokens: row.prefix_block_tokens.or(*block_tokens), ..row }))
            }
        }
    }

    fn line(&self) -> u64 {
        match self {
            Feed::File(reader) => reader.line().unwrap_or(0),
            Feed::Memory { at, .. } => *at,
        }
    }

    fn error(&self, fault: Fault) -> TraceError {
        match self {
            Feed::File(reader) => reader.error(fault),
            Feed::Memory { at, .. } => TraceError { file: "".into(), line: Some(*at), fault: Box::new(fault) },
        }
    }
}
