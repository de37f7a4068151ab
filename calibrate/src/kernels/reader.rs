//! Reads a trace of any size, gzipped or not, event by event.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::event::Event;
use super::trace::Trace;
use crate::CalibrateError;

/// Bytes read at once.
const BUFFER: usize = 1 << 18;

/// Reads a trace: Kineto's JSON, or an array of events as Chrome also takes it; gzipped if it begins like it.
///
/// A file that ends too early gives what it holds until there, with [`Trace::truncated`].
///
/// # Errors
///
/// [`CalibrateError::Open`] if the file cannot be opened; [`CalibrateError::Value`], with the byte of the (unzipped) text and the
/// event, if it is no trace, holds no event, or an event is malformed.
pub fn read(path: &Path) -> Result<Trace, CalibrateError> {
    let shown = path.display().to_string();
    let open = |source| CalibrateError::Open { path: shown.clone(), source };
    let file = File::open(path).map_err(open)?;
    let mut source = Source::new(file).map_err(open)?;
    let mut collector = Collector::default();
    let mut json = serde_json::Deserializer::from_reader(&mut source);
    let end = json.deserialize_any(Top(&mut collector)).and_then(|()| json.end());
    let Collector { mut trace, found, .. } = collector;
    if let Err(error) = end {
        // What serde says of the place is by lines, of which a trace may have one.
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let message = format!("byte {}, event {}: {message}", source.taken(), trace.events + 1);
        if !error.is_eof() && !source.ended_early() || trace.events == 0 {
            let message = if found { message } else { format!("is no trace of the PyTorch profiler: {message}") };
            return Err(CalibrateError::Value { path: shown, message });
        }
        trace.truncated = Some(message);
    }
    let lacks = |message: &str| Err(CalibrateError::Value { path: shown.clone(), message: message.to_owned() });
    match (found, trace.events) {
        (false, _) => lacks("is no trace of the PyTorch profiler: it has no traceEvents"),
        (true, 0) => lacks("holds no event: was the profiler stopped before the server had worked?"),
        _ => Ok(trace),
    }
}

/// A file in blocks, unzipped on the way, that knows how much was taken of it.
struct Source {
    inner: Box<dyn Read>,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    before: u64,
    /// The packed data ended in their middle.
    ended_early: bool,
}

impl Source {
    fn new(mut file: File) -> io::Result<Source> {
        let mut head = [0; 2];
        let mut read = 0;
        while read < head.len() {
            match file.read(&mut head[read..])? {
                0 => break,
                n => read += n,
            }
        }
        let whole = io::Cursor::new(head[..read].to_vec()).chain(file);
        let inner: Box<dyn Read> = if head == [0x1f, 0x8b] {
            Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(BUFFER, whole)))
        } else {
            Box::new(whole)
        };
        Ok(Source { inner, buffer: vec![0; BUFFER].into(), at: 0, filled: 0, before: 0, ended_early: false })
    }

    /// Bytes of text handed out.
    fn taken(&self) -> u64 {
        self.before + self.at as u64
    }

    fn ended_early(&self) -> bool {
        self.ended_early
    }

    fn fill(&mut self) -> io::Result<()> {
        self.before += self.filled as u64;
        (self.at, self.filled) = (0, 0);
        while self.filled < self.buffer.len() {
            match self.inner.read(&mut self.buffer[self.filled..]) {
                Ok(0) => break,
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What could still be unzipped is read first: the error comes again at the next call.
                Err(_) if self.filled > 0 => break,
                Err(error) => {
                    self.ended_early = error.kind() == io::ErrorKind::UnexpectedEof;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.filled {
            self.fill()?;
        }
        let n = out.len().min(self.filled - self.at);
        out[..n].copy_from_slice(&self.buffer[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[derive(Default)]
struct Collector {
    trace: Trace,
    event: Event,
    /// There was a list of events.
    found: bool,
}

/// The whole file.
struct Top<'a>(&'a mut Collector);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with traceEvents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "traceEvents" => map.next_value_seed(Events(self.0))?,
                "deviceProperties" => {
                    let devices: serde_json::Value = map.next_value()?;
                    self.0.trace.gpu = devices[0]["name"].as_str().map(str::to_owned);
                }
                "distributedInfo" => {
                    let info: serde_json::Value = map.next_value()?;
                    self.0.trace.rank = info["rank"].as_u64().and_then(|rank| u32::try_from(rank).ok());
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Events(self.0).visit_seq(seq)
    }
}

/// The list of events.
struct Events<'a>(&'a mut Collector);

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Collector { trace, event, found } = self.0;
        *found = true;
        while seq.next_element_seed(&mut *event)?.is_some() {
            trace.take(event).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
