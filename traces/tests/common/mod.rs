//! What the tests share: files of the shared data, and an import into memory. Not every test uses all of it.
#![allow(dead_code)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use tokentide_traces::import::{ImportError, ImportOptions, ImportReport, import};
use tokentide_traces::{TraceError, TraceRow};

/// A file of the shared data; `None`, and said so, where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TOKENTIDE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let path = root.join("data").join(name);
    if !path.exists() {
        println!("skipped: no file {} (set TOKENTIDE_SHARED)", path.display());
        return None;
    }
    Some(path)
}

/// Imports files into memory.
pub fn rows(paths: &[PathBuf], options: &ImportOptions) -> Result<(ImportReport, Vec<TraceRow>), TraceError> {
    let mut rows = Vec::new();
    let mut sink = |row: TraceRow| -> Result<(), Infallible> {
        rows.push(row);
        Ok(())
    };
    match import(paths, options, &mut |_| {}, &mut sink) {
        Ok(report) => Ok((report, rows)),
        Err(ImportError::Trace(error)) => Err(error),
        Err(ImportError::Sink(never)) => match never {},
    }
}

/// The same of one file.
pub fn file(path: &Path, change: impl FnOnce(&mut ImportOptions)) -> Result<(ImportReport, Vec<TraceRow>), TraceError> {
    let mut options = ImportOptions { seed: 1, rate_scale: 1.0, ..ImportOptions::default() };
    change(&mut options);
    rows(&[path.to_owned()], &options)
}

/// The same of a text, in a file that is removed again.
pub fn text(
    content: impl AsRef<[u8]>,
    change: impl FnOnce(&mut ImportOptions),
) -> Result<(ImportReport, Vec<TraceRow>), TraceError> {
    let path = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(path.path(), content).expect("a temporary file");
    file(path.path(), change)
}
