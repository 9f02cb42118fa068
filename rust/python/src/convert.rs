//! Converts Python's values to plain arrays.

use numpy::prelude::*;
use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::arrays::is_plain;

/// `value` as an array of this dtype and shape `(*leading, *row)` in C order: itself if it is one, else a copy.
///
/// Conversions keep values: to the same kind (float64 to float32 may round) or a wider one, and between integers if
/// every value fits.
pub(crate) fn plain_array<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyArrayDescr>,
    leading: &[usize],
    row: &[usize],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = value.cast::<PyUntypedArray>()
        && has_shape(array, leading, row)
        && is_plain(array, dtype)
    {
        return Ok(array.clone());
    }
    converted(name, value, dtype, leading, row)
}

#[cold]
fn converted<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyArrayDescr>,
    leading: &[usize],
    row: &[usize],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let numpy = NUMPY
        .get_or_try_init(py, || py.import("numpy").map(Bound::unbind))?
        .bind(py);
    let array = numpy
        .call_method1(intern!(py, "asarray"), (value,))?
        .cast_into::<PyUntypedArray>()?;
    if !has_shape(&array, leading, row) {
        let (found, expected) = (
            PyTuple::new(py, array.shape())?,
            PyTuple::new(py, [leading, row].concat())?,
        );
        return Err(PyValueError::new_err(format!(
            "{name} has shape {found}, expected {expected}"
        )));
    }
    let found = array.dtype();
    let whole = is_whole(&found) && is_whole(dtype);
    if !whole
        && !numpy
            .call_method1(intern!(py, "can_cast"), (&found, dtype, "same_kind"))?
            .extract::<bool>()?
    {
        let message = format!(
            "{name} has dtype {found}, which cannot be stored as {dtype}; convert it first"
        );
        return Err(PyTypeError::new_err(message));
    }
    let options = PyDict::new(py);
    options.set_item("order", "C")?;
    let plain = array.call_method(intern!(py, "astype"), (dtype,), Some(&options))?;
    if whole
        && !numpy
            .call_method1(intern!(py, "array_equal"), (&array, &plain))?
            .extract::<bool>()?
    {
        return Err(PyValueError::new_err(format!(
            "{name} holds a value that does not fit {dtype}"
        )));
    }
    Ok(plain.cast_into()?)
}

/// A number argument; an error if it is not a number or out of any range.
pub(crate) fn number<'py, T>(name: &str, kind: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    value.extract::<T>().map_err(|error| {
        let py = value.py();
        let found = describe(value);
        let message = format!("{name} must be {kind}, got {found}");
        if error.is_instance_of::<PyTypeError>(py) {
            PyTypeError::new_err(message)
        } else if error.is_instance_of::<PyOverflowError>(py) {
            PyValueError::new_err(message)
        } else {
            error
        }
    })
}

/// A value for an error message: its repr, or its type if the repr fails.
pub(crate) fn describe(value: &Bound<'_, PyAny>) -> String {
    let described = value.repr().or_else(|_| value.get_type().repr());
    described.map_or_else(|_| "something else".to_owned(), |text| text.to_string())
}

/// Whether the dtype is an integer or bool.
fn is_whole(dtype: &Bound<'_, PyArrayDescr>) -> bool {
    matches!(dtype.kind(), b'b' | b'i' | b'u')
}

/// Whether the array's shape is `(*leading, *row)`.
pub(crate) fn has_shape(
    array: &Bound<'_, PyUntypedArray>,
    leading: &[usize],
    row: &[usize],
) -> bool {
    // Compared one by one: comparing slices would be a call each.
    let found = array.shape();
    found.len() == leading.len() + row.len()
        && found
            .iter()
            .zip(leading.iter().chain(row))
            .all(|(found, expected)| found == expected)
}
