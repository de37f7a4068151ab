//! Lines of a text file, plain or gzip, with a hash of its bytes. Holds one line in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tokentide_models::hash::{FNV_OFFSET, fnv1a};

use super::error::{Fault, FaultKind, TraceError};

/// Longest line [bytes]: a prompt of a million tokens has 2 MB of 16-token hashes.
pub const LINE_MAX: u64 = 10 << 20;

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    file: PathBuf,
    input: Input,
    buffer: Vec<u8>,
    line: u64,
}

#[derive(Debug)]
enum Input {
    Plain(BufReader<Hashing>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<Hashing>>>>),
}

#[derive(Debug)]
struct Hashing {
    file: File,
    hash: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash = fnv1a(self.hash, &buffer[..count]);
        Ok(count)
    }
}

impl Lines {
    /// Opens a file; the magic bytes decide whether it is gzip.
    pub fn open(path: &Path) -> Result<Lines, TraceError> {
        let fail = |fault: Fault| TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) };
        let unreadable = |error: io::Error| fail(Fault::new(FaultKind::Unreadable, error.to_string()));
        let file = File::open(path).map_err(unreadable)?;
        let mut plain = BufReader::with_capacity(1 << 16, Hashing { file, hash: FNV_OFFSET });
        let magic = plain.fill_buf().map_err(unreadable)?;
        let input = match magic {
            [0x1f, 0x8b, ..] => Input::Gzip(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain)))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return Err(fail(Fault::new(FaultKind::Unsupported, "this is zstd: decompress it, or use gzip")));
            }
            [b'P', b'A', b'R', b'1', ..] => {
                return Err(fail(Fault::new(FaultKind::Unsupported, "this is Parquet, which is read as a table, not as lines")));
            }
            _ => Input::Plain(plain),
        };
        Ok(Lines { file: path.to_owned(), input, buffer: Vec::new(), line: 0 })
    }

    /// The next line that is not blank, without its end and without a byte order mark; `None` at the end.
    pub fn next_line(&mut self) -> Result<Option<&str>, TraceError> {
        loop {
            self.buffer.clear();
            let read = match &mut self.input {
                Input::Plain(reader) => reader.take(LINE_MAX + 1).read_until(b'\n', &mut self.buffer),
                Input::Gzip(reader) => reader.take(LINE_MAX + 1).read_until(b'\n', &mut self.buffer),
            };
            if read.map_err(|e| self.io_error(&e))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.buffer.len() as u64 > LINE_MAX {
                return Err(self.error(Fault::new(FaultKind::LineTooLong, format!("a line holds at most {} MiB", LINE_MAX >> 20))));
            }
            if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        match str::from_utf8(self.buffer.trim_ascii_end()) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let (at, text) = (error.valid_up_to(), String::from_utf8_lossy(&self.buffer));
                Err(self.error(
                    Fault::new(FaultKind::NotUtf8, format!("byte {} of the line starts no character", at + 1))
                        .text(text.trim_end()),
                ))
            }
        }
    }

    /// Number of the line read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// FNV-1a of the file's bytes read so far: of the whole file after its last line.
    pub fn hash(&self) -> u64 {
        match &self.input {
            Input::Plain(reader) => reader.get_ref().hash,
            Input::Gzip(reader) => reader.get_ref().get_ref().get_ref().hash,
        }
    }

    /// An error at the line read last.
    pub fn error(&self, fault: Fault) -> TraceError {
        TraceError { file: self.file.clone(), line: (self.line > 0).then_some(self.line), fault: Box::new(fault) }
    }

    fn io_error(&self, error: &io::Error) -> TraceError {
        let kind = match (&self.input, error.kind()) {
            (Input::Gzip(_), io::ErrorKind::UnexpectedEof) => FaultKind::TruncatedGzip,
            (Input::Gzip(_), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => FaultKind::DamagedGzip,
            _ => FaultKind::Unreadable,
        };
        let advice = match kind {
            FaultKind::TruncatedGzip => format!("{} whole lines came before: get the file again", self.line),
            _ => error.to_string(),
        };
        self.error(Fault::new(kind, advice))
    }
}
