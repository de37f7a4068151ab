//! The log on disk: one line per record, written whole, so that a probe that is cut off loses at most the line it was writing.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::ProbeError;
use crate::observation::{Observations, Record};

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens `path` for a new log or, with `resume`, to go on with what is there, which is given as well.
    ///
    /// # Errors
    /// If there is a log and it is not to be resumed, if it is none, or if it cannot be written.
    pub fn open(path: &Path, resume: bool) -> Result<(Log, Option<Observations>), ProbeError> {
        let shown = path.display();
        let cannot =
            |error: std::io::Error| ProbeError::new(format!("cannot write the log `{shown}`: {error}"), "name another file: -o");
        if path.extension().is_some_and(|e| e == "gz") {
            return Err(ProbeError::new(
                format!("`{shown}`: a log is not written compressed"),
                "name it .jsonl; gzip it afterwards",
            ));
        }
        let there = path.metadata().is_ok_and(|data| data.len() > 0);
        if there && !resume {
            let help = "give --resume to go on with it, or name another file: -o";
            return Err(ProbeError::new(format!("there is a log already: `{shown}`"), help));
        }
        let before = if there { Some(take_up(path)?) } else { None };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(cannot)?;
        Ok((Log { file, path: path.to_owned() }, before))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), ProbeError> {
        let mut line = serde_json::to_string(record).expect("a record is JSON");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|error| {
            let help = "make room, then give --resume: what was measured before is kept";
            ProbeError::new(format!("cannot write the log `{}`: {error}", self.path.display()), help)
        })
    }
}

/// Reads a log, and leaves out of the file a last line that was cut off.
fn take_up(path: &Path) -> Result<Observations, ProbeError> {
    let wrong = |reason: String| ProbeError::new(format!("cannot resume: {reason}"), "name another file: -o");
    let shown = path.display();
    let observations = Observations::read(path).map_err(|error| wrong(error.to_string()))?;
    let text = std::fs::read(path).map_err(|error| wrong(format!("{shown}: {error}")))?;
    if text.last() != Some(&b'\n') {
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let complete = serde_json::from_slice::<Record>(&text[whole..]).is_ok();
        let mut file = OpenOptions::new().append(true).open(path).map_err(|error| wrong(format!("{shown}: {error}")))?;
        let mended = if complete { file.write_all(b"\n") } else { file.set_len(whole as u64) };
        mended.map_err(|error| wrong(format!("{shown}: {error}")))?;
    }
    Ok(observations)
}
