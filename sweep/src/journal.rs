//! Results that survive an interruption: one line of JSON per finished point, appended as it finishes.
//!
//! A process that is killed leaves a whole number of lines and at most one torn one, which is cut off when the journal is opened
//! again. Where a point has several lines the last one counts, as when replications were added to it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::point::PointId;
use crate::row::{PointRows, Row};
use crate::sweep::{Identity, Sweep};

/// Version of the journal's format.
const FORMAT: u32 = 1;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot use `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("another sweep is writing `{}`", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is something else, or damaged other than at its end.
    #[error("`{}`, line {line}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// It is of another sweep.
    #[error("`{}` holds results of another sweep: {field} is {found} there and {expected} here", path.display())]
    Mixed {
        /// The file.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// In the file.
        found: String,
        /// Of this sweep.
        expected: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    point: std::borrow::Cow<'a, str>,
    rows: std::borrow::Cow<'a, [Row]>,
}

/// A point as one line of text, without its end.
///
/// # Errors
/// Never in practice: every part of a row has its JSON.
pub fn to_line(rows: &PointRows) -> serde_json::Result<String> {
    serde_json::to_string(&Line { point: rows.point.to_string().into(), rows: rows.rows.as_slice().into() })
}

/// The reverse.
///
/// # Errors
/// If it is no such line.
pub fn from_line(text: &str) -> Result<PointRows, String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let point = PointId::parse(&line.point).ok_or_else(|| format!("`{}` is no point", line.point))?;
    Ok(PointRows { point, rows: line.rows.into_owned() })
}

/// The journal of a sweep, held by one process.
pub struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
    /// Where each point's last line begins, and how many rows it has.
    points: HashMap<PointId, (u64, u32)>,
}

impl Journal {
    /// Opens the journal of a sweep or begins one.
    ///
    /// # Errors
    /// If it is held by another process, damaged, or of another sweep.
    pub fn open(path: &Path, sweep: &Sweep) -> Result<Journal, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut journal = Journal { path: path.to_owned(), file, end: 0, points: HashMap::new() };
        let columns = journal.read(sweep)?;
        journal.file.set_len(journal.end).map_err(io)?;
        if columns.is_none() {
            journal.begin(sweep)?;
        } else if let Some(columns) = columns.filter(|columns| columns != sweep.columns().names()) {
            journal.rewrite(sweep, &Columns::named(columns))?;
        }
        Ok(journal)
    }

    /// The rows of a point, if it has any.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn rows(&mut self, point: PointId) -> Result<Option<PointRows>, JournalError> {
        let Some(&(at, _)) = self.points.get(&point) else { return Ok(None) };
        let text = self.line_at(at).map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        from_line(&text).map(Some).map_err(|message| self.damaged(0, message))
    }

    /// How many rows a point has.
    pub fn count(&self, point: PointId) -> u32 {
        self.points.get(&point).map_or(0, |(_, rows)| *rows)
    }

    /// The points that are there.
    pub fn points(&self) -> impl Iterator<Item = PointId> {
        self.points.keys().copied()
    }

    /// Adds a point, in one write.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, rows: &PointRows) -> Result<(), JournalError> {
        let text = to_line(rows).map_err(|error| self.damaged(0, error.to_string()))? + "\n";
        let start = self.append(&text)?;
        self.points.insert(rows.point, (start, rows.rows.len() as u32));
        Ok(())
    }

    /// Takes it away: everything is elsewhere.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(self) -> Result<(), JournalError> {
        std::fs::remove_file(&self.path).map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }

    fn append(&mut self, text: &str) -> Result<u64, JournalError> {
        let start = self.end;
        let write = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.write_all(text.as_bytes()));
        write.map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        self.end += text.len() as u64;
        Ok(start)
    }

    fn begin(&mut self, sweep: &Sweep) -> Result<(), JournalError> {
        let header = Header { format: FORMAT, identity: sweep.identity().clone(), columns: sweep.columns().names().to_vec() };
        let text = serde_json::to_string(&header).map_err(|error| self.damaged(1, error.to_string()))? + "\n";
        self.append(&text).map(|_| ())
    }

    /// Finds the points, and the end of the last whole line. The columns, unless it is empty.
    fn read(&mut self, sweep: &Sweep) -> Result<Option<Vec<String>>, JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), source };
        let mut reader = BufReader::new(self.file.try_clone().map_err(io)?);
        let (mut columns, mut text, mut number) = (None, String::new(), 0);
        loop {
            text.clear();
            number += 1;
            let read = reader.read_line(&mut text);
            // A torn line may end within a character.
            let whole = matches!(&read, Ok(bytes) if *bytes > 0) && text.ends_with('\n');
            if let Err(error) = &read
                && error.kind() != io::ErrorKind::InvalidData
            {
                return Err(io(read.expect_err("an error")));
            }
            if !whole {
                return Ok(columns);
            }
            if columns.is_none() {
                let header: Header = serde_json::from_str(&text)
                    .map_err(|error| self.damaged(1, format!("this is no journal of a sweep ({error})")))?;
                self.same(&header, sweep)?;
                columns = Some(header.columns);
            } else {
                let rows = from_line(&text).map_err(|message| self.damaged(number, message))?;
                self.points.insert(rows.point, (self.end, rows.rows.len() as u32));
            }
            self.end += text.len() as u64;
        }
    }

    fn same(&self, header: &Header, sweep: &Sweep) -> Result<(), JournalError> {
        if header.format != FORMAT {
            return Err(self.damaged(1, format!("the journal's format is {}, and this program writes {FORMAT}", header.format)));
        }
        match differing(&header.identity, sweep.identity()) {
            None => Ok(()),
            Some((field, found, expected)) => Err(JournalError::Mixed { path: self.path.clone(), field, found, expected }),
        }
    }

    /// Lays all rows out by other columns. The old journal stays until the new one is whole.
    fn rewrite(&mut self, sweep: &Sweep, old: &Columns) -> Result<(), JournalError> {
        let path = self.path.with_extension("journal-new");
        let io = |source| JournalError::Io { path: path.clone(), source };
        let mut new = Journal { path: self.path.clone(), file: File::create(&path).map_err(io)?, end: 0, points: HashMap::new() };
        new.file.try_lock().map_err(|_| JournalError::Locked { path: path.clone() })?;
        new.begin(sweep)?;
        let places: Vec<Option<usize>> = sweep.columns().names().iter().map(|name| old.place(name)).collect();
        for point in self.points.keys().copied().collect::<Vec<_>>() {
            let Some(mut rows) = self.rows(point)? else { continue };
            for ran in rows.rows.iter_mut().filter_map(|row| row.result.as_mut().ok()) {
                ran.figures = places.iter().map(|place| place.and_then(|place| ran.figures[place])).collect();
            }
            new.push(&rows)?;
        }
        std::fs::rename(&path, &self.path).map_err(io)?;
        new.file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(io)?;
        *self = new;
        Ok(())
    }

    fn line_at(&mut self, at: u64) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(at))?;
        let mut text = String::new();
        BufReader::new(Read::by_ref(&mut self.file)).read_line(&mut text)?;
        Ok(text)
    }

    fn damaged(&self, line: u64, message: String) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), line, message }
    }
}

/// The first field in which two identities differ, with both values.
pub fn differing(found: &Identity, expected: &Identity) -> Option<(&'static str, String, String)> {
    [
        ("tokentide's version", &found.version, &expected.version),
        ("the scenario that is varied", &found.base, &expected.base),
        ("the cost profile", &found.profile, &expected.profile),
        ("where seeds come from", &found.seeds, &expected.seeds),
    ]
    .into_iter()
    .find(|(_, found, expected)| found != expected)
    .map(|(field, found, expected)| (field, found.clone(), expected.clone()))
}
