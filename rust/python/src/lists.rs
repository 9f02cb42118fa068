//! Lists with checked allocation: without enough memory a call raises, instead of ending the process.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

/// A list of values.
pub(crate) fn list<'py, T>(values: &Bound<'py, PyAny>) -> PyResult<Vec<T>>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let mut list = with_room(values.len()?)?;
    for value in values.try_iter()? {
        // Python code may have changed the list by now.
        list.try_reserve(1).map_err(|_| no_room(1))?;
        list.push(value?.extract()?);
    }
    Ok(list)
}

/// An empty list with capacity for `len` elements.
pub(crate) fn with_room<T>(len: usize) -> PyResult<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(|_| no_room(len.saturating_mul(size_of::<T>())))?;
    Ok(list)
}

fn no_room(bytes: usize) -> PyErr {
    PyMemoryError::new_err(format!("{bytes} bytes cannot be had; ask for less"))
}
