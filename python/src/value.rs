//! Python values as TOML: what an override sets.

use std::path::PathBuf;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyList, PyMapping, PyString, PyTuple};
use tokentide_sim::scenario::duration::parse_duration;
use toml::Value;

/// Nesting beyond this is refused: a list that contains itself would never end.
const DEPTH_MAX: u32 = 32;

/// Path and TOML text of each override in a mapping `{"cluster.replicas": 4}`.
///
/// # Errors
/// `TypeError` for keys that are no text and values that TOML has no word for, `OverflowError` for whole numbers beyond 64 bits,
/// `ValueError` for values nested too deeply.
pub(crate) fn overrides(set: Option<&Bound<'_, PyMapping>>) -> PyResult<Vec<(String, String)>> {
    let settings = set.map_or_else(|| Ok(Vec::new()), settings)?;
    Ok(settings.into_iter().map(|(path, value)| (path, value.to_string())).collect())
}

/// Path and value of each setting in a mapping.
///
/// # Errors
/// See [`overrides`].
pub(crate) fn settings(set: &Bound<'_, PyMapping>) -> PyResult<Vec<(String, Value)>> {
    let mut settings = Vec::new();
    for item in set.items()?.iter() {
        let (path, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let path: String = path.extract().map_err(|_| {
            PyTypeError::new_err(format!("the path of a setting is a text such as \"cluster.replicas\", not {path}"))
        })?;
        let value = toml_of(&value, &path, 0)?;
        settings.push((path, value));
    }
    Ok(settings)
}

/// A time such as `800ms` [ms], as in scenarios.
///
/// # Errors
/// `ValueError` for texts that are none.
#[pyfunction]
pub(crate) fn milliseconds(text: &str) -> PyResult<f64> {
    let time = parse_duration(text).map_err(|why| PyValueError::new_err(format!("`{text}` is no time: {why}")))?;
    Ok(time.as_millis_f64())
}

/// A whole document.
///
/// # Errors
/// See [`overrides`].
pub(crate) fn document(dict: &Bound<'_, PyMapping>) -> PyResult<String> {
    match table(dict, "the scenario", 0)? {
        Value::Table(table) => Ok(table.to_string()),
        other => Ok(other.to_string()),
    }
}

/// A document of one list of tables.
///
/// # Errors
/// See [`overrides`].
pub(crate) fn document_of_lists(key: &str, tables: &[Bound<'_, PyMapping>]) -> PyResult<String> {
    let tables: Vec<Value> = tables.iter().map(|dict| table(dict, key, 0)).collect::<PyResult<_>>()?;
    let mut document = toml::Table::new();
    if !tables.is_empty() {
        document.insert(key.to_owned(), Value::Array(tables));
    }
    Ok(document.to_string())
}

/// A value in TOML's terms. A text stays a text: unlike `--set`, Python says itself what type a value has.
fn toml_of(value: &Bound<'_, PyAny>, path: &str, depth: u32) -> PyResult<Value> {
    if depth > DEPTH_MAX {
        return Err(PyValueError::new_err(format!("`{path}`: nested more than {DEPTH_MAX} levels deep")));
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Boolean(flag.is_true()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(text.to_str()?.to_owned()));
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Value::Float(float.value()));
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        return table(mapping, path, depth);
    }
    if value.cast::<PyList>().is_ok() || value.cast::<PyTuple>().is_ok() {
        let items = value.try_iter()?.map(|item| toml_of(&item?, path, depth + 1));
        return Ok(Value::Array(items.collect::<PyResult<_>>()?));
    }
    if let Ok(file) = value.extract::<PathBuf>() {
        return Ok(Value::String(file.display().to_string()));
    }
    // By protocol, so that the scalars of numpy and its like need no import.
    if value.hasattr("__index__")? {
        let beyond = |_| PyOverflowError::new_err(format!("`{path}`: {value} is beyond 64 bits"));
        return Ok(Value::Integer(value.extract().map_err(beyond)?));
    }
    if value.hasattr("__float__")? {
        return Ok(Value::Float(value.extract()?));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("`{path}`: expected a bool, number, text, path, list or dict, found {kind}")))
}

/// An inline table.
fn table(mapping: &Bound<'_, PyMapping>, path: &str, depth: u32) -> PyResult<Value> {
    let mut table = toml::Table::new();
    for item in mapping.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let key: String = key.extract().map_err(|_| PyTypeError::new_err(format!("`{path}`: keys are texts, not {key}")))?;
        table.insert(key, toml_of(&value, path, depth + 1)?);
    }
    Ok(Value::Table(table))
}
