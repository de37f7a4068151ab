//! The Trace Event Format: an object with a list of events, written as it grows.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;
use tokentide_models::units::Time;

use crate::error::ViewError;
use crate::partial::Partial;

const PS_PER_US: u64 = 1_000_000;

/// An event; the fields have the format's names.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event {
    pub name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cat: &'static str,
    /// What it is: `X` a slice, `b` and `e` the ends of an asynchronous one, `C` a counter, `i` an instant, `M` a name.
    pub ph: &'static str,
    /// When [us].
    pub ts: u64,
    /// How long [us].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dur: Option<u64>,
    pub pid: u32,
    pub tid: u32,
    /// Of asynchronous slices that belong together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2: Option<LocalId>,
    /// How far an instant reaches: `g` over everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub args: Value,
}

/// An identity within its process: viewers show what has one there, and what has a global one apart.
#[derive(Clone, Debug, Serialize)]
pub struct LocalId {
    pub local: String,
}

/// A time as the format has it [us]. Rounded down, so that slices that follow each other never overlap.
pub fn us(at: Time) -> u64 {
    at.0 / PS_PER_US
}

/// A file of events. What goes wrong while it grows is told at its end.
pub struct TraceFile {
    path: PathBuf,
    out: Sink,
    events: u64,
    failed: Option<io::Error>,
}

enum Sink {
    Plain(BufWriter<Partial>),
    Gzip(Box<GzEncoder<BufWriter<Partial>>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(out) => out.write(bytes),
            Sink::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(out) => out.flush(),
            Sink::Gzip(out) => out.flush(),
        }
    }
}

impl Sink {
    fn finish(self) -> io::Result<()> {
        match self {
            Sink::Plain(out) => out,
            Sink::Gzip(out) => out.finish()?,
        }
        .into_inner()?
        .keep()
    }
}

impl TraceFile {
    /// Begins a file: `.json`, or `.json.gz`.
    ///
    /// # Errors
    /// If the extension is another, or the file cannot be written.
    pub fn create(path: &Path) -> Result<TraceFile, ViewError> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let zipped = name.ends_with(".json.gz");
        if !zipped && !name.ends_with(".json") {
            return Err(ViewError::UnknownExtension { path: path.to_owned(), expected: "`.json` or `.json.gz`" });
        }
        let file = BufWriter::new(Partial::create(path).map_err(ViewError::io(path))?);
        // Without a file name and a time in its head, so that the same run gives the same bytes.
        let out = if zipped { Sink::Gzip(Box::new(GzEncoder::new(file, Compression::default()))) } else { Sink::Plain(file) };
        let mut file = TraceFile { path: path.to_owned(), out, events: 0, failed: None };
        file.attempt(|out| out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":["));
        Ok(file)
    }

    /// One more event.
    pub fn push(&mut self, event: &Event) {
        let between: &[u8] = if self.events > 0 { b",\n" } else { b"\n" };
        self.events += 1;
        self.attempt(|out| {
            out.write_all(between)?;
            Ok(serde_json::to_writer(out, event)?)
        });
    }

    /// Ends the file, which is not there before, with `other` as its metadata.
    ///
    /// # Errors
    /// If any of it could not be written.
    pub fn finish(mut self, other: &Value) -> Result<(), ViewError> {
        self.attempt(|out| write!(out, "\n],\"otherData\":{other}}}\n"));
        let done = match self.failed {
            Some(error) => Err(error),
            None => self.out.finish(),
        };
        done.map_err(ViewError::io(&self.path))
    }

    fn attempt(&mut self, write: impl FnOnce(&mut Sink) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(&mut self.out).err();
        }
    }
}
