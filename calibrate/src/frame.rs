//! A table of measurements in memory, whatever file it came in: Parquet, CSV or gzipped CSV.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use polars::prelude::{Column, DataType, ParquetReader, SerReader};

use crate::CalibrateError;

/// Columns of equal length, by name, with the file they came from for messages.
#[derive(Clone, Debug)]
pub struct Frame {
    path: String,
    rows: usize,
    columns: BTreeMap<String, Cells>,
}

/// Cells of one column, in row order.
#[derive(Clone, Debug)]
enum Cells {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    /// Numbers, of which the first missing one is in this row: an error only for who asks for the column.
    Holed(usize),
}

impl Frame {
    /// Reads `.parquet`, `.csv` or `.csv.gz`. A CSV column is one of numbers if all its cells are.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if the file cannot be read, or is of none of these formats.
    pub fn read(path: &Path) -> Result<Frame, CalibrateError> {
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|source| CalibrateError::Open { path: shown.clone(), source })?;
        let name = shown.to_ascii_lowercase();
        match () {
            () if name.ends_with(".parquet") => parquet(shown, file),
            () if name.ends_with(".csv.gz") => comma_separated(shown, GzDecoder::new(BufReader::new(file))),
            () if name.ends_with(".csv") => comma_separated(shown, BufReader::new(file)),
            () => Err(CalibrateError::Value { path: shown, message: "is neither .parquet nor .csv nor .csv.gz".into() }),
        }
    }

    /// The file it came from.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether it has a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// A column of numbers.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if there is no such column, with those that there are, or if it holds text, with the first such
    /// row and its value.
    pub fn numbers(&self, column: &str) -> Result<&[f64], CalibrateError> {
        match self.cells(column)? {
            Cells::Numbers(numbers) => Ok(numbers),
            Cells::Holed(row) => Err(self.bad_row(*row, format!("{column} is empty, expected a number"))),
            Cells::Texts(texts) => {
                let odd = texts.iter().position(|text| text.trim().parse::<f64>().is_err()).unwrap_or(0);
                Err(self.bad_row(odd, format!("{column} is `{}`, expected a number", texts[odd])))
            }
        }
    }

    /// A column of text; numbers are written out.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if there is no such column.
    pub fn texts(&self, column: &str) -> Result<Vec<String>, CalibrateError> {
        Ok(match self.cells(column)? {
            Cells::Numbers(numbers) => numbers.iter().map(f64::to_string).collect(),
            Cells::Texts(texts) => texts.clone(),
            Cells::Holed(row) => return Err(self.bad_row(*row, format!("{column} is empty"))),
        })
    }

    /// The error of a row, counted from 0 here and from 1 in the message.
    pub fn bad_row(&self, row: usize, message: String) -> CalibrateError {
        CalibrateError::Value { path: self.path.clone(), message: format!("row {}: {message}", row + 1) }
    }

    fn cells(&self, column: &str) -> Result<&Cells, CalibrateError> {
        self.columns.get(column).ok_or_else(|| CalibrateError::Value {
            path: self.path.clone(),
            message: format!("has no column {column}; its columns are {}", self.names().join(", ")),
        })
    }

    fn names(&self) -> Vec<&str> {
        self.columns.keys().map(String::as_str).collect()
    }
}

fn parquet(path: String, file: File) -> Result<Frame, CalibrateError> {
    let bad = |message: String| CalibrateError::Value { path: path.clone(), message };
    let frame = ParquetReader::new(file).finish().map_err(|e| bad(format!("is no Parquet file that can be read: {e}")))?;
    let rows = frame.height();
    let cells = |column: &Column| parquet_cells(column).map_err(|message| bad(format!("column {}: {message}", column.name())));
    let columns = frame.columns().iter().map(|c| Ok((c.name().to_string(), cells(c)?))).collect::<Result<_, CalibrateError>>()?;
    Ok(Frame { path, rows, columns })
}

fn parquet_cells(column: &Column) -> Result<Cells, String> {
    let numeric = column.dtype().is_primitive_numeric() || *column.dtype() == DataType::Boolean;
    let wanted = if numeric { DataType::Float64 } else { DataType::String };
    let cast = column.cast(&wanted).map_err(|e| e.to_string())?;
    if !numeric {
        let texts = cast.str().map_err(|e| e.to_string())?;
        return Ok(Cells::Texts(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect()));
    }
    let numbers = cast.f64().map_err(|e| e.to_string())?;
    let all: Option<Vec<f64>> = numbers.iter().collect();
    Ok(all.map_or_else(|| Cells::Holed(numbers.iter().position(|x| x.is_none()).unwrap_or(0)), Cells::Numbers))
}

fn comma_separated(path: String, reader: impl Read) -> Result<Frame, CalibrateError> {
    let mut reader = csv::Reader::from_reader(reader);
    let bad = |source: csv::Error| CalibrateError::Row { path: path.clone(), source };
    let names: Vec<String> = reader.headers().map_err(bad)?.iter().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(CalibrateError::Value { path, message: "has no header".into() });
    }
    let mut texts = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(bad)?;
        texts.iter_mut().zip(&record).for_each(|(column, cell)| column.push(cell.to_owned()));
    }
    let rows = texts[0].len();
    let columns = names.into_iter().zip(texts.into_iter().map(typed)).collect();
    Ok(Frame { path, rows, columns })
}

/// Numbers if every cell is one.
fn typed(texts: Vec<String>) -> Cells {
    match texts.iter().map(|text| text.trim().parse()).collect() {
        Ok(numbers) => Cells::Numbers(numbers),
        Err(_) => Cells::Texts(texts),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use polars::prelude::{DataFrame, NamedFrom, ParquetWriter, Series};

    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tokentide-frame-{}-{name}", std::process::id()))
    }

    #[test]
    fn both_formats_give_the_same_columns() {
        let (text, binary) = (file("a.csv"), file("a.parquet"));
        std::fs::write(&text, "layer,tokens,time_us\nqkv,1,2.5\no,16,3\n").unwrap();
        let mut frame = DataFrame::new_infer_height(vec![
            Series::new("layer".into(), ["qkv", "o"]).into(),
            Series::new("tokens".into(), [1_i64, 16]).into(),
            Series::new("time_us".into(), [2.5_f32, 3.0]).into(),
        ])
        .unwrap();
        ParquetWriter::new(File::create(&binary).unwrap()).finish(&mut frame).unwrap();
        for path in [&text, &binary] {
            let frame = Frame::read(path).unwrap();
            assert_eq!((frame.len(), frame.has("layer"), frame.has("x")), (2, true, false));
            assert_eq!(frame.texts("layer").unwrap(), ["qkv", "o"]);
            assert_eq!(frame.numbers("tokens").unwrap(), [1.0, 16.0]);
            assert_eq!(frame.numbers("time_us").unwrap(), [2.5, 3.0]);
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let path = file("b.csv");
        std::fs::write(&path, "layer,time_us\nqkv,1\no,fast\n").unwrap();
        let frame = Frame::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let message = frame.numbers("time_us").unwrap_err().to_string();
        assert!(message.contains("row 2: time_us is `fast`, expected a number"), "{message}");
        let message = frame.numbers("tokens").unwrap_err().to_string();
        assert!(message.contains("has no column tokens; its columns are layer, time_us"), "{message}");
        std::fs::write(&path, "no parquet").unwrap();
        let renamed = path.with_extension("parquet");
        std::fs::rename(&path, &renamed).unwrap();
        assert!(Frame::read(&renamed).unwrap_err().to_string().contains("no Parquet file"));
        std::fs::remove_file(&renamed).unwrap();
        assert!(Frame::read(&renamed).is_err());
    }
}
