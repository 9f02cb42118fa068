//! The rows of a column, and arrays of such rows.

use numpy::prelude::*;
use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{MAX_AXES, bytes};
use crate::convert::plain_array;

/// The shape and dtype of one row.
pub(crate) struct Rows {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Py<PyArrayDescr>,
    pub(crate) nbytes: usize,
    is_int64_scalar: bool,
}

impl Rows {
    pub(crate) fn new(
        name: &str,
        shape: Vec<usize>,
        dtype: &Bound<'_, PyArrayDescr>,
    ) -> PyResult<Self> {
        // Two axes are those of a batch.
        if shape.len() > MAX_AXES - 2 {
            let message = format!(
                "{name} must have at most {} axes, got {}",
                MAX_AXES - 2,
                shape.len()
            );
            return Err(PyValueError::new_err(message));
        }
        let nbytes = shape
            .iter()
            .try_fold(dtype.itemsize(), |bytes, &length| bytes.checked_mul(length));
        let nbytes = nbytes.filter(|&bytes| bytes < 1 << 40);
        let nbytes = nbytes.ok_or_else(|| {
            PyValueError::new_err(format!("{name} {shape:?} is too large for one row"))
        })?;
        let is_int64_scalar =
            shape.is_empty() && dtype.is_equiv_to(&numpy::dtype::<i64>(dtype.py()));
        Ok(Self {
            shape,
            dtype: dtype.clone().unbind(),
            nbytes,
            is_int64_scalar,
        })
    }

    /// One row.
    pub(crate) fn one<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyUntypedArray>> {
        plain_array(name, value, self.dtype.bind(value.py()), &[], &self.shape)
    }

    /// Several rows.
    pub(crate) fn many<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
        rows: usize,
    ) -> PyResult<Bound<'py, PyUntypedArray>> {
        plain_array(
            name,
            value,
            self.dtype.bind(value.py()),
            &[rows],
            &self.shape,
        )
    }

    /// One row; a Python int makes an int64 without an array.
    pub(crate) fn one_or_int<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Row<'py>> {
        if self.is_int64_scalar
            && let Ok(number) = value.extract::<i64>()
        {
            return Ok(Row::Int(number.to_ne_bytes()));
        }
        self.one(name, value).map(Row::Array)
    }
}

/// One row's bytes.
pub(crate) enum Row<'py> {
    Int([u8; 8]),
    Array(Bound<'py, PyUntypedArray>),
}

impl Row<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Int(bytes) => bytes,
            Self::Array(array) => bytes(array),
        }
    }
}
