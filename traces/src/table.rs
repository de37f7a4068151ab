//! A CSV file with a header, row by row, with errors that name line, column, value and reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Fault, FaultKind, TraceError, did_you_mean};
use crate::lines::Lines;
use crate::number::count;
use crate::record::Splitter;

/// A whole CSV file, plain or gzip.
#[derive(Debug)]
pub struct Table {
    file: PathBuf,
    header: Vec<String>,
    /// Line in the file, and fields.
    rows: Vec<(u64, Vec<String>)>,
}

/// One row of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    table: &'a Table,
    line: u64,
    fields: &'a [String],
}

impl Table {
    /// Reads `path`.
    ///
    /// # Errors
    /// If it cannot be read, has no row, or a row has more or fewer fields than the header.
    pub fn read(path: &Path) -> Result<Table, TraceError> {
        let mut lines = Lines::open(path)?;
        let mut splitter = Splitter::default();
        let mut split = |text: &str| splitter.split(text).map(|fields| fields.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let mut table = Table { file: path.to_owned(), header: Vec::new(), rows: Vec::new() };
        while let Some(text) = lines.next_line()? {
            let fields = split(text);
            let fields = fields.map_err(|fault| lines.error(fault))?;
            if table.header.is_empty() {
                table.header = fields;
                continue;
            }
            if fields.len() != table.header.len() {
                let expected = format!("expected {} fields as in the header, found {}", table.header.len(), fields.len());
                return Err(lines.error(Fault::new(FaultKind::FieldCount, expected)));
            }
            table.rows.push((lines.line(), fields));
        }
        if table.rows.is_empty() {
            return Err(table.error(None, Fault::new(FaultKind::Empty, "expected a header and at least one row")));
        }
        Ok(table)
    }

    /// Whether it has a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// The first of `names` that it has.
    ///
    /// # Errors
    /// If it has none of them; what it has is told.
    pub fn one_of<'n>(&self, names: &[&'n str]) -> Result<&'n str, TraceError> {
        names.iter().copied().find(|name| self.has(name)).ok_or_else(|| {
            let near = did_you_mean(names[0], self.header.iter().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            let or = if names.len() > 1 { format!("also taken is {}; ", names[1..].join(", ")) } else { String::new() };
            let expected = format!("{hint}{or}the file has {}", self.header.join(", "));
            self.error(None, Fault::new(FaultKind::MissingColumn, expected).column(names[0]))
        })
    }

    /// Its rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, fields)| Row { table: self, line: *line, fields })
    }

    /// All columns of a row that are not empty, by name.
    pub fn columns(&self, row: &Row<'_>) -> BTreeMap<String, String> {
        self.header.iter().zip(row.fields).filter(|(_, text)| !text.is_empty()).map(|(n, t)| (n.clone(), t.clone())).collect()
    }

    fn error(&self, line: Option<u64>, fault: Fault) -> TraceError {
        TraceError { file: self.file.clone(), line, fault: Box::new(fault) }
    }
}

impl<'a> Row<'a> {
    /// The text of a column; `None` if it is empty or the file has no such column.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        let at = self.table.header.iter().position(|name| name == column)?;
        self.fields.get(at).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A finite number of at least zero; `None` if the field is empty or the column not there.
    ///
    /// # Errors
    /// For anything else.
    pub fn number(&self, column: &str) -> Result<Option<f64>, TraceError> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let fault = |kind, expected: &str| Err(self.error(column, Fault::new(kind, expected).text(text)));
        match text.parse::<f64>() {
            Ok(value) if !value.is_finite() => fault(FaultKind::NotFinite, "expected a finite number"),
            Ok(value) if value < 0.0 => fault(FaultKind::Negative, "expected a number of at least 0"),
            Ok(value) => Ok(Some(value)),
            Err(_) => fault(FaultKind::NotANumber, "expected a number"),
        }
    }

    /// A whole number of at least `least`.
    ///
    /// # Errors
    /// If it is missing, or anything else.
    pub fn count(&self, column: &str, least: u32) -> Result<u32, TraceError> {
        let expected = format!("expected a whole number of at least {least}");
        let Some(text) = self.text(column) else {
            return Err(self.error(column, Fault::new(FaultKind::MissingValue, expected)));
        };
        match count(text) {
            Ok(value) if value >= least => Ok(value),
            Ok(_) => Err(self.error(column, Fault::new(FaultKind::TooSmall, expected).text(text))),
            Err(fault) => Err(self.error(column, fault)),
        }
    }

    /// An error at a column of this row.
    pub fn error(&self, column: &str, fault: Fault) -> TraceError {
        self.table.error(Some(self.line), fault.column(column))
    }

    /// Line in the file, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}
