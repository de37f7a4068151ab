//! Tables handed to Python by the Arrow C stream interface (<https://arrow.apache.org/docs/format/CStreamInterface.html>): polars,
//! pandas, pyarrow and DuckDB read them, and no row becomes a Python object on the way.

use std::path::PathBuf;

use polars::prelude::{
    AnyValue, ArrowDataType, Column, CompatLevel, DataFrame, IdxCa, IdxSize, PlSmallStr, PolarsResult, SchemaExt,
};
use polars_arrow::array::{Array, StructArray};
use polars_arrow::datatypes::Field;
use polars_arrow::ffi;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};
use tokentide_tables::{open_sweep, write_table};

use crate::tidy::tidy;

/// A table. Columns are typed, and null where nothing was observed.
#[pyclass(frozen, module = "tokentide._tokentide")]
pub(crate) struct Frame {
    frame: DataFrame,
}

impl From<DataFrame> for Frame {
    fn from(frame: DataFrame) -> Frame {
        Frame { frame }
    }
}

#[pymethods]
impl Frame {
    /// The table as an Arrow C stream.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The protocol lets a producer ignore what it cannot do.
        drop(requested_schema);
        let mut frame = self.frame.clone();
        frame.align_chunks();
        let schema = frame.schema().to_arrow(CompatLevel::oldest());
        let fields: Vec<Field> = schema.iter_values().cloned().collect();
        let rows = Field::new(PlSmallStr::EMPTY, ArrowDataType::Struct(fields), false);
        let datatype = rows.dtype.clone();
        let chunks: Vec<PolarsResult<Box<dyn Array>>> = frame
            .iter_chunks(CompatLevel::oldest(), false)
            .map(|chunk| {
                let length = chunk.len();
                let array: Box<dyn Array> = Box::new(StructArray::new(datatype.clone(), length, chunk.into_arrays(), None));
                Ok(array)
            })
            .collect();
        PyCapsule::new_with_value(py, ffi::export_iterator(Box::new(chunks.into_iter()), rows), c"arrow_array_stream")
    }

    /// Names of the columns, in order.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.frame.get_column_names().iter().map(|name| name.to_string()).collect()
    }

    fn __len__(&self) -> usize {
        self.frame.height()
    }

    /// The values of a column as a list.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let column = self.frame.column(name).map_err(|_| PyKeyError::new_err(format!("there is no column `{name}`")))?;
        let values = PyList::empty(py);
        for row in 0..column.len() {
            values.append(object(py, column, row)?)?;
        }
        Ok(values)
    }

    /// Some of the rows, by their numbers.
    fn take(&self, rows: Vec<usize>) -> PyResult<Frame> {
        if let Some(row) = rows.iter().find(|row| **row >= self.frame.height()) {
            return Err(PyIndexError::new_err(format!("there is no row {row}")));
        }
        let rows: Vec<IdxSize> = rows.into_iter().map(|row| row as IdxSize).collect();
        Ok(self.frame.take(&IdxCa::from_vec(PlSmallStr::EMPTY, rows)).map_err(refused)?.into())
    }

    /// A row as a dict.
    fn row<'py>(&self, py: Python<'py>, number: usize) -> PyResult<Bound<'py, PyDict>> {
        if number >= self.frame.height() {
            return Err(PyIndexError::new_err(format!("there is no row {number}")));
        }
        let row = PyDict::new(py);
        for column in self.frame.columns() {
            row.set_item(column.name().as_str(), object(py, column, number)?)?;
        }
        Ok(row)
    }

    /// A row per object of a list in JSON.
    #[staticmethod]
    fn tidy(rows: &str) -> PyResult<Frame> {
        let rows: Vec<serde_json::Value> = serde_json::from_str(rows).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(tidy(&rows).map_err(refused)?.into())
    }

    /// The table of a sweep, and the paths of its settings.
    #[staticmethod]
    fn read_sweep(py: Python<'_>, path: PathBuf) -> PyResult<(Frame, Vec<String>)> {
        let read = py.detach(|| open_sweep(&path)).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((read.0.into(), read.1))
    }

    /// Writes .parquet or .csv, as the command line does.
    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| write_table(&path, &self.frame)).map_err(|error| PyOSError::new_err(error.to_string()))
    }
}

/// What polars refuses.
pub(crate) fn refused(error: polars::error::PolarsError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn object<'py>(py: Python<'py>, column: &Column, row: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
    let any = |value: Result<Bound<'py, PyAny>, PyErr>| value.map(Some);
    match column.get(row).map_err(refused)? {
        AnyValue::Null => Ok(None),
        AnyValue::Boolean(flag) => any(Ok(flag.into_pyobject(py)?.to_owned().into_any())),
        AnyValue::String(text) => any(Ok(text.into_pyobject(py)?.into_any())),
        AnyValue::StringOwned(text) => any(Ok(text.as_str().into_pyobject(py)?.into_any())),
        value if value.is_float() => any(Ok(value.extract::<f64>().into_pyobject(py)?.into_any())),
        value => any(Ok(value.extract::<i128>().into_pyobject(py)?.into_any())),
    }
}
