//! Lines of a text file, plain or compressed, with a hash of its bytes. Holds one line in memory.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::error::{Fault, FaultKind, TraceError};

/// Longest line [bytes]: a prompt of a million tokens has 2 MB of 16-token hashes.
pub const LINE_MAX: u64 = 10 << 20;

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    file: PathBuf,
    bytes: Bytes,
    buffer: Vec<u8>,
    line: u64,
}

impl Lines {
    /// Opens a file.
    ///
    /// # Errors
    /// See [`Bytes::open`].
    pub fn open(path: &Path) -> Result<Lines, TraceError> {
        Ok(Lines { file: path.to_owned(), bytes: Bytes::open(path)?, buffer: Vec::new(), line: 0 })
    }

    /// The same, with the hash of the file's bytes.
    ///
    /// # Errors
    /// See [`Bytes::open`].
    pub fn hashed(path: &Path) -> Result<Lines, TraceError> {
        Ok(Lines { file: path.to_owned(), bytes: Bytes::hashed(path)?, buffer: Vec::new(), line: 0 })
    }

    /// The next line that is not blank, without its end and without a byte order mark; `None` at the end.
    ///
    /// # Errors
    /// If it cannot be read, is too long, or not UTF-8.
    pub fn next_line(&mut self) -> Result<Option<&str>, TraceError> {
        loop {
            self.buffer.clear();
            let read = self.bytes.reader().take(LINE_MAX + 1).read_until(b'\n', &mut self.buffer);
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

    /// FNV-1a of the file's bytes read so far, of [`Lines::hashed`]: of the whole file after its last line.
    pub fn hash(&self) -> u64 {
        self.bytes.hash()
    }

    /// An error at the line read last.
    pub fn error(&self, fault: Fault) -> TraceError {
        TraceError { file: self.file.clone(), line: (self.line > 0).then_some(self.line), fault: Box::new(fault) }
    }

    fn io_error(&self, error: &std::io::Error) -> TraceError {
        let fault = self.bytes.fault(error);
        match fault.kind {
            FaultKind::Truncated => {
                self.error(Fault { expected: format!("{} whole lines came before: get the file again", self.line), ..fault })
            }
            _ => self.error(fault),
        }
    }
}

/// The text of line `number` of a file, to show it in a message; `None` if it cannot be read (again).
pub fn line_text(path: &Path, number: u64) -> Option<String> {
    let mut lines = Lines::open(path).ok()?;
    loop {
        let text = lines.next_line().ok()??.to_owned();
        if lines.line() >= number {
            return (lines.line() == number).then_some(text);
        }
    }
}
