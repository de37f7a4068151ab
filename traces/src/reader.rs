//! The records of a file, one by one, whatever its format.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::blocks;
use crate::detect::{self, Layout};
use crate::document::Node;
use crate::entry::Entry;
use crate::error::{Fault, FaultKind, TraceError};
use crate::format::TraceFormat;
use crate::lines::Lines;
use crate::logs::{self, Log};
use crate::measured;
use crate::number::Unit;
use crate::options::ReadOptions;
use crate::record::{Record, Splitter};
use crate::row::{Cover, TraceRow};
use crate::schema::{Schema, missing};
use crate::sessions::{AiperfSessions, Bailian, SimSessions, weka};
use crate::spans;

/// Reads the records of a file. What is read is in the order of the file, except that a document is in the order of arrival.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// Format that it was found to have.
    pub format: TraceFormat,
    /// Unit of its arrival times.
    pub unit: Unit,
    /// Columns that are not read.
    pub ignored: Vec<String>,
    /// How much of a prompt its hashes cover.
    pub cover: Cover,
    /// Tokens per hash, where the format leaves it open.
    pub block_tokens: Option<u32>,
    /// What should be known of the file, beside its rows.
    pub remarks: Vec<String>,
    /// Rows that a report names and does not hold.
    pub left_out: Vec<measured::LeftOut>,
    lines: Option<Lines>,
    kind: Kind,
    queue: VecDeque<Entry>,
    splitter: Splitter,
    /// Which of the schema's columns some row had.
    seen: Vec<bool>,
}

/// Reads a JSON object as a tree.
type Tree = fn(&Node<'_>, &mut Vec<Entry>) -> Result<(), TraceError>;

/// How objects of a format are read that have trees in them, alone in a document or one a line, and the unit of their times.
fn tree(format: TraceFormat) -> Option<(Tree, Unit)> {
    match format {
        TraceFormat::Weka => Some((weka, Unit::Seconds)),
        TraceFormat::Otlp => Some((spans::otlp, Unit::Nanoseconds)),
        TraceFormat::SpanDump => Some((spans::dump, Unit::Calendar)),
        TraceFormat::Langfuse => Some((spans::langfuse, Unit::Calendar)),
        _ => None,
    }
}

/// How lines become records.
#[derive(Debug)]
enum Kind {
    Flat(Box<Schema>),
    Log(Log),
    Bailian(Box<Bailian>),
    Sim(SimSessions),
    Sessions(AiperfSessions),
    /// A JSON object a line, read as a tree.
    Objects(Tree),
    /// All is in the queue already.
    Ready,
}

impl Reader {
    /// Opens a file and finds out what it is.
    ///
    /// # Errors
    /// If it cannot be read, or it cannot be told what it is.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Reader, TraceError> {
        let head = detect::head(path)?;
        let at_start = |fault: Fault| TraceError { file: path.to_owned(), line: Some(1), fault: Box::new(fault) };
        let format = detect::format(&head, options).map_err(at_start)?;
        let mut reader = Reader {
            path: path.to_owned(),
            format,
            unit: Unit::Seconds,
            ignored: Vec::new(),
            cover: Cover::Prefix,
            block_tokens: options.block_tokens,
            remarks: Vec::new(),
            left_out: Vec::new(),
            lines: None,
            kind: Kind::Ready,
            queue: VecDeque::new(),
            splitter: Splitter::default(),
            seen: Vec::new(),
        };
        match format {
            TraceFormat::Servegen => {
                let why = "a pool of ServeGen's clients has rates and no requests: `tokentide trace import` draws them";
                return Err(at_start(Fault::new(FaultKind::Unsupported, why)));
            }
            TraceFormat::VllmBench
            | TraceFormat::Guidellm
            | TraceFormat::AiperfExport
            | TraceFormat::InferencePerf
            | TraceFormat::Probe => reader.benchmark(options)?,
            _ if head.layout == Layout::Archive => {
                return Err(at_start(Fault::new(FaultKind::Unsupported, "expected a file, this is a folder or a tar")));
            }
            _ if head.document.is_some() => head.document.iter().try_for_each(|value| reader.document(value))?,
            _ => reader.lines(&head, options).map_err(|fault| match fault {
                Start::Fault(fault) => at_start(fault),
                Start::Error(error) => error,
            })?,
        }
        Ok(reader)
    }

    /// Stands ready at the first record of a file of lines.
    fn lines(&mut self, head: &detect::Head, options: &ReadOptions) -> Result<(), Start> {
        let json = head.layout == Layout::JsonLines;
        let mut lines = if options.hashed { Lines::hashed(&self.path)? } else { Lines::open(&self.path)? };
        if !json {
            lines.next_line()?;
        }
        self.lines = Some(lines);
        if !json && !self.format.is_flat() {
            let expected = format!("expected JSON lines of {}, this is a table", self.format.name());
            return Err(Fault::new(FaultKind::UnknownFormat, expected).into());
        }
        if let Some((read, unit)) = tree(self.format) {
            (self.kind, self.unit) = (Kind::Objects(read), unit);
            return Ok(());
        }
        self.kind = match self.format {
            TraceFormat::Bailian => {
                let blocks = blocks::infer(&head.lines, "input_length", "hash_ids", options.block_tokens)?;
                (self.cover, self.block_tokens) = (blocks.cover, Some(blocks.tokens));
                Kind::Bailian(Box::default())
            }
            TraceFormat::Llmservingsim => {
                self.unit = Unit::Nanoseconds;
                Kind::Sim(SimSessions::default())
            }
            TraceFormat::AiperfSessions => {
                self.unit = Unit::Milliseconds;
                let blocks = blocks::infer(&head.lines, "input_length", "hash_ids", options.block_tokens);
                // Without hashes at all there is nothing to be inferred.
                let hashes = head.lines.iter().any(|line| line.contains("\"hash_ids\""));
                self.block_tokens = if hashes { Some(blocks?.tokens) } else { None };
                Kind::Sessions(AiperfSessions::new(self.block_tokens))
            }
            TraceFormat::SglangLog => Kind::Log(logs::sglang()),
            TraceFormat::Litellm => Kind::Log(logs::litellm()),
            TraceFormat::LitellmSpend => {
                self.unit = Unit::Calendar;
                Kind::Log(logs::spend())
            }
            format => {
                let names: Vec<&str> = head.names.iter().map(String::as_str).collect();
                let schema = Schema::of(format, json, &names, &head.lines, options)?;
                (self.unit, self.cover, self.block_tokens) = (schema.unit, schema.cover, schema.block_tokens);
                self.ignored.clone_from(&schema.ignored);
                self.seen = vec![!json; schema.columns.len()];
                Kind::Flat(Box::new(schema))
            }
        };
        Ok(())
    }

    /// Takes the records of a document.
    fn document(&mut self, value: &Value) -> Result<(), TraceError> {
        let root = Node::root(&self.path, None, value);
        let Some((read, unit)) = tree(self.format) else {
            let expected = format!("{} is read from JSON lines: write one object per line", self.format.name());
            return Err(root.error(FaultKind::Unsupported, &expected));
        };
        self.unit = unit;
        let mut entries = Vec::new();
        match value.is_array() {
            true => root.items().try_for_each(|object| read(&object, &mut entries))?,
            false => read(&root, &mut entries)?,
        }
        // Sessions stay together.
        if self.format != TraceFormat::Weka {
            entries.sort_by_key(|entry| entry.row.arrival_ps);
        }
        self.queue = entries.into();
        Ok(())
    }

    /// Reads a benchmark's requests as a whole.
    fn benchmark(&mut self, options: &ReadOptions) -> Result<(), TraceError> {
        let mut runs = measured::read_runs(&self.path, None)?;
        let error = |why: String| {
            let fault = Fault::new(FaultKind::BadSetting, why);
            TraceError { file: self.path.clone(), line: None, fault: Box::new(fault) }
        };
        let run = match (runs.len(), options.benchmark) {
            (1, None | Some(1)) => runs.remove(0),
            (n, Some(k)) if (1..=n).contains(&k) => runs.remove(k - 1),
            (n, None) => return Err(error(format!("this report has {n} benchmarks: choose one, such as `--benchmark 1`"))),
            (n, Some(k)) => return Err(error(format!("this report has {n} benchmarks, and no number {k}"))),
        };
        if run.requests.iter().any(|request| request.arrival_s.is_none()) {
            return Err(error("this result has no times of its requests, so there is no trace in it".to_owned()));
        }
        if let measured::Pacing::Closed(clients) = run.pacing {
            self.remarks.push(format!(
                "{clients} clients waited for their answers: the arrivals of this run are those of the server that was measured, \
                 not of users"
            ));
        }
        let mut entries: Vec<Entry> = run.requests.iter().map(Entry::measured).collect();
        entries.extend(run.failed.iter().map(Entry::failed));
        entries.sort_by_key(|entry| entry.row.arrival_ps);
        self.queue = entries.into();
        self.left_out = run.left_out;
        // They are entries, which the import counts.
        for left in self.left_out.iter_mut().filter(|left| left.reason == measured::Run::FAILED) {
            left.rows -= run.failed.len();
        }
        self.left_out.retain(|left| left.rows > 0);
        Ok(())
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// If a record cannot be read; after the fault of a single row the next one can be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TraceError> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                return Ok(Some(entry));
            }
            let Some(lines) = &mut self.lines else { return Ok(None) };
            let mut out = Vec::new();
            let Some(line) = lines.next_line()? else {
                if let Kind::Sessions(sessions) = &mut self.kind {
                    self.queue = sessions.finish().into();
                }
                if self.queue.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            let read = match &mut self.kind {
                Kind::Flat(schema) => match flat(line, schema, &mut self.splitter, &mut self.seen) {
                    Ok(entry) => return Ok(Some(entry)),
                    Err(fault) => Err(fault),
                },
                Kind::Log(log) => log.read(line).map(|entry| out.push(entry)),
                Kind::Bailian(bailian) => bailian.read(line).map(|entry| out.push(entry)),
                Kind::Sim(sessions) => sessions.read(line, &mut out),
                Kind::Sessions(sessions) => sessions.read(line),
                Kind::Objects(read) => match serde_json::from_str(line) {
                    Ok(value) => {
                        let number = Some(lines.line());
                        read(&Node::root(&self.path, number, &value), &mut out)?;
                        Ok(())
                    }
                    Err(e) => Err(Fault::new(FaultKind::BadJson, e.to_string()).text(line)),
                },
                Kind::Ready => Ok(()),
            };
            read.map_err(|fault| lines.error(fault))?;
            self.queue.extend(out);
        }
    }

    /// Hash of the bytes read so far, of a file that is read line by line and hashed.
    pub fn hash(&self) -> Option<u64> {
        self.lines.as_ref().map(Lines::hash)
    }

    /// Line of the record read last, where lines are records.
    pub fn line(&self) -> Option<u64> {
        self.lines.as_ref().map(Lines::line)
    }

    /// An error at the record read last.
    pub fn error(&self, fault: Fault) -> TraceError {
        match &self.lines {
            Some(lines) => lines.error(fault),
            None => TraceError { file: self.path.clone(), line: None, fault: Box::new(fault) },
        }
    }

    /// After the last row: keys that the user has mapped and that were in no row.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_keys(&self) -> Result<(), TraceError> {
        let Kind::Flat(schema) = &self.kind else { return Ok(()) };
        if schema.format != TraceFormat::Mapped {
            return Ok(());
        }
        match schema.columns.iter().zip(&self.seen).find(|(_, seen)| !**seen) {
            Some((read, _)) => {
                let names: Vec<&str> = schema.ignored.iter().map(String::as_str).collect();
                Err(self.error(missing(&read.name, &names)))
            }
            None => Ok(()),
        }
    }
}

/// Why a file cannot be begun.
enum Start {
    Fault(Fault),
    Error(TraceError),
}

impl From<Fault> for Start {
    fn from(fault: Fault) -> Start {
        Start::Fault(fault)
    }
}

impl From<TraceError> for Start {
    fn from(error: TraceError) -> Start {
        Start::Error(error)
    }
}

fn flat(line: &str, schema: &Schema, splitter: &mut Splitter, seen: &mut [bool]) -> Result<Entry, Fault> {
    let record = schema.record(line, splitter)?;
    if let Record::Object(values) = &record {
        seen.iter_mut().zip(values).for_each(|(seen, value)| *seen |= value.is_some());
    }
    let (row, id) = schema.row(&record)?;
    Ok(Entry { id, ..Entry::of(row) })
}

impl Entry {
    /// A request of a benchmark that got no answer.
    fn failed(request: &measured::FailedRequest) -> Entry {
        let arrival_ps = (request.arrival_s * 1e12).round() as i128;
        let row = TraceRow { arrival_ps, input_tokens: request.input_tokens, ..TraceRow::default() };
        Entry::of(row).aside(Some(FaultKind::Failed))
    }

    /// The request that a benchmark measured.
    fn measured(request: &measured::MeasuredRequest) -> Entry {
        let ps = |ms: Option<f64>| ms.filter(|ms| *ms >= 0.0).map(|ms| (ms * 1e9).round() as u64);
        let mut row = TraceRow {
            arrival_ps: (request.arrival_s.unwrap_or(0.0) * 1e12).round() as i128,
            input_tokens: request.input_tokens,
            output_tokens: request.output_tokens,
            ..TraceRow::default()
        };
        (row.observed.ttft_ps, row.observed.e2e_ps) = (ps(request.ttft_ms), ps(request.e2e_ms));
        Entry::of(row)
    }
}
