//! Rows of one operator's table, with their times.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{CalibrateError, Frame};

/// Names that the time of a row goes by, both in milliseconds.
const TIME_COLUMNS: [&str; 2] = ["latency", "latency_ms"];

/// Some rows of a table. Every time of the whole table has been found positive and finite.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    frame: Arc<Frame>,
    kept: Vec<usize>,
    ms: Vec<f64>,
}

impl Rows {
    /// All rows of a table.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if it has no column of times, or a time that is not positive, with the row and the time.
    pub(super) fn new(frame: Arc<Frame>) -> Result<Rows, CalibrateError> {
        let column = TIME_COLUMNS.into_iter().find(|name| frame.has(name)).unwrap_or(TIME_COLUMNS[0]);
        let ms = frame.numbers(column)?.to_vec();
        match ms.iter().position(|ms| !(*ms > 0.0 && ms.is_finite())) {
            Some(row) => Err(frame.bad_row(row, format!("{column} is {} ms, expected a positive time", ms[row]))),
            None => Ok(Rows { kept: (0..ms.len()).collect(), ms, frame }),
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &str {
        self.frame.path()
    }

    /// Whether no row is left.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether the table has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.frame.has(column)
    }

    /// The rows with a text that `wanted` says yes to.
    pub(super) fn texts(&self, column: &str, wanted: impl Fn(&str) -> bool) -> Result<Rows, CalibrateError> {
        let texts = self.frame.texts(column)?;
        Ok(self.filter(|row| wanted(&texts[row])))
    }

    /// The rows with a number that `wanted` says yes to.
    pub(super) fn numbers(&self, column: &str, wanted: impl Fn(f64) -> bool) -> Result<Rows, CalibrateError> {
        let numbers = self.frame.numbers(column)?;
        Ok(self.filter(|row| wanted(numbers[row])))
    }

    /// The rows in which a column is this number.
    pub(super) fn where_is(&self, column: &str, number: u32) -> Result<Rows, CalibrateError> {
        self.numbers(column, |x| x == f64::from(number))
    }

    fn filter(&self, wanted: impl Fn(usize) -> bool) -> Rows {
        let kept = self.kept.iter().copied().filter(|&row| wanted(row)).collect();
        Rows { kept, frame: Arc::clone(&self.frame), ms: self.ms.clone() }
    }

    /// A column of counts.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if there is no such column, or for a row whose value is no count.
    pub(super) fn counts(&self, column: &str) -> Result<Vec<u32>, CalibrateError> {
        let numbers = self.frame.numbers(column)?;
        let count = |&row: &usize| {
            let x = numbers[row];
            let whole = x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&x);
            if whole { Ok(x as u32) } else { Err(self.frame.bad_row(row, format!("{column} is {x}, expected a count"))) }
        };
        self.kept.iter().map(count).collect()
    }

    /// Times [ms].
    pub(super) fn ms(&self) -> Vec<f64> {
        self.kept.iter().map(|&row| self.ms[row]).collect()
    }

    /// Different texts of a column.
    pub(super) fn different(&self, column: &str) -> Result<BTreeSet<String>, CalibrateError> {
        let texts = self.frame.texts(column)?;
        Ok(self.kept.iter().map(|&row| texts[row].clone()).collect())
    }

    /// The error of one of these rows.
    pub(super) fn bad_row(&self, index: usize, message: String) -> CalibrateError {
        self.frame.bad_row(self.kept[index], message)
    }

    /// The error of the whole table.
    pub(super) fn bad(&self, message: String) -> CalibrateError {
        CalibrateError::Value { path: self.path().to_owned(), message }
    }
}
