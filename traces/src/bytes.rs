//! The bytes of a file: plain, gzip or zstd by its first bytes, with a hash of what lies on disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use tokentide_models::hash::{FNV_OFFSET, fnv1a};

use super::error::{Fault, FaultKind, TraceError};

/// Buffers on the way [bytes].
const BUFFER: usize = 1 << 16;

/// A file that is read from its start.
pub struct Bytes {
    reader: Box<dyn BufRead + Send>,
    hash: Arc<AtomicU64>,
    compressed: bool,
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bytes").field("compressed", &self.compressed).finish_non_exhaustive()
    }
}

struct Hashing {
    file: File,
    hash: Option<Arc<AtomicU64>>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if let Some(hash) = &self.hash {
            hash.store(fnv1a(hash.load(Ordering::Relaxed), &buffer[..count]), Ordering::Relaxed);
        }
        Ok(count)
    }
}

impl Bytes {
    /// Opens a file; its first bytes decide whether it is compressed.
    ///
    /// # Errors
    /// If it cannot be read, or is a folder or Parquet.
    pub fn open(path: &Path) -> Result<Bytes, TraceError> {
        Bytes::begin(path, false)
    }

    /// The same, with the hash of what is read, which takes a nanosecond a byte.
    ///
    /// # Errors
    /// See [`Bytes::open`].
    pub fn hashed(path: &Path) -> Result<Bytes, TraceError> {
        Bytes::begin(path, true)
    }

    fn begin(path: &Path, hashed: bool) -> Result<Bytes, TraceError> {
        let fail = |fault: Fault| TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) };
        let unreadable = |error: io::Error| fail(Fault::new(FaultKind::Unreadable, error.to_string()));
        let file = File::open(path).map_err(unreadable)?;
        let hash = Arc::new(AtomicU64::new(FNV_OFFSET));
        let mut plain = BufReader::with_capacity(BUFFER, Hashing { file, hash: hashed.then(|| hash.clone()) });
        let magic: [u8; 4] = {
            let head = plain.fill_buf().map_err(unreadable)?;
            std::array::from_fn(|i| head.get(i).copied().unwrap_or(0))
        };
        let (reader, compressed): (Box<dyn BufRead + Send>, bool) = match magic {
            [0x1f, 0x8b, ..] => (Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain))), true),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(plain).map_err(unreadable)?;
                (Box::new(BufReader::with_capacity(BUFFER, decoder)), true)
            }
            [b'P', b'A', b'R', b'1'] => {
                return Err(fail(Fault::new(FaultKind::Unsupported, "this is Parquet, which is read as a table, not as lines")));
            }
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                return Err(fail(Fault::new(FaultKind::NotUtf8, "this is UTF-16: convert it to UTF-8")));
            }
            _ => (Box::new(plain), false),
        };
        Ok(Bytes { reader, hash, compressed })
    }

    /// Its decompressed bytes.
    pub fn reader(&mut self) -> &mut (dyn BufRead + Send) {
        &mut *self.reader
    }

    /// FNV-1a of the file's bytes read so far, if it is [`Bytes::hashed`]: of the whole file at its end.
    pub fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// What an error of reading means.
    pub fn fault(&self, error: &io::Error) -> Fault {
        match (self.compressed, error.kind()) {
            (true, io::ErrorKind::UnexpectedEof) => Fault::new(FaultKind::Truncated, "get the file again"),
            (true, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other) => {
                // zstd says in words that a frame ends early.
                let kind = if error.to_string().contains("incomplete") { FaultKind::Truncated } else { FaultKind::Damaged };
                Fault::new(kind, error.to_string())
            }
            _ => Fault::new(FaultKind::Unreadable, error.to_string()),
        }
    }
}
