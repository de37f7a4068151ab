//! A sweep's table as JSON, for whoever draws it.

use std::path::Path;

use polars::prelude::{Column, DataType};
use serde_json::{Map, Value};

use super::error::SweepTableError;
use super::read::open;
use crate::error::TableError;

/// The columns of a table that `tokentide sweep` wrote, in its order, each an array of a value per row: numbers and flags as such,
/// whichever format they were read from.
///
/// # Errors
/// If it cannot be read.
pub fn sweep_columns(path: &Path) -> Result<Value, SweepTableError> {
    let mut columns = Map::new();
    for column in open(path)?.columns() {
        columns.insert(column.name().to_string(), Value::Array(cells(path, column)?));
    }
    Ok(Value::Object(columns))
}

fn cells(path: &Path, column: &Column) -> Result<Vec<Value>, TableError> {
    let polars = |error| TableError::polars("read", path)(error);
    let texts = column.cast(&DataType::String).map_err(polars)?;
    // Points are named by hexadecimal digits, which may look like a number.
    let named = column.name().as_str() == "point";
    let cell = |text: &str| match text {
        "true" | "false" => Value::Bool(text == "true"),
        number if !named => number.parse::<serde_json::Number>().map_or_else(|_| Value::from(text), Value::Number),
        _ => Value::from(text),
    };
    Ok(texts.str().map_err(polars)?.iter().map(|text| text.filter(|text| !text.is_empty()).map_or(Value::Null, cell)).collect())
}
