//! Borrows arrays without conversion or copy.

use std::ops::Range;

use numpy::prelude::*;
use numpy::{BorrowError, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::arrays::{Number, is_plain};

/// An array with `width` numbers for each index of its leading axes; the row's own axes may be any.
pub(crate) fn column<'py, T: Number>(
    name: &str,
    value: &Bound<'py, PyAny>,
    leading: &[usize],
    width: usize,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let array = plain::<T>(name, value)?;
    let found = array.shape();
    let is_scalar = width == 1 && found.len() == leading.len();
    let is_rows =
        found.len() > leading.len() && found[leading.len()..].iter().product::<usize>() == width;
    if !found.starts_with(leading) || !(is_scalar || is_rows) {
        let row = (width > 1).then_some(width);
        let expected = describe(leading.iter().copied().chain(row));
        return Err(wrong_shape(name, found, &expected));
    }
    array.try_readonly().map_err(|error| in_use(name, &error))
}

/// The array, if it is one of `T` in C order.
pub(crate) fn plain<'a, 'py, T: Number>(
    name: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArrayDyn<T>>> {
    let dtype = numpy::dtype::<T>(value.py());
    let Ok(untyped) = value.cast::<PyUntypedArray>() else {
        let found = value.get_type().name()?;
        let message = format!("{name} must be an array of {dtype}, got {found}; convert it first");
        return Err(PyTypeError::new_err(message));
    };
    let found = untyped.dtype();
    if !found.is_equiv_to(&dtype) {
        let message = format!("{name} must be an array of {dtype}, got {found}; convert it first");
        return Err(PyTypeError::new_err(message));
    }
    if !is_plain(untyped, &dtype) {
        let message = format!("{name} must be in C order, got a strided view; copy it first");
        return Err(PyValueError::new_err(message));
    }
    Ok(value.cast::<PyArrayDyn<T>>()?)
}

#[cold]
pub(crate) fn wrong_shape(name: &str, found: &[usize], expected: &str) -> PyErr {
    let found = describe(found.iter().copied());
    PyValueError::new_err(format!("{name} must have shape {expected}, got {found}"))
}

/// A shape in Python's notation.
pub(crate) fn describe(lengths: impl Iterator<Item = usize>) -> String {
    let lengths: Vec<_> = lengths.map(|length| length.to_string()).collect();
    match &lengths[..] {
        [length] => format!("({length},)"),
        _ => format!("({})", lengths.join(", ")),
    }
}

#[cold]
pub(crate) fn in_use(name: &str, error: &BorrowError) -> PyErr {
    PyValueError::new_err(match error {
        BorrowError::NotWriteable => {
            format!("{name} must be writeable, got a read-only array; copy it first")
        }
        _ => format!(
            "{name} must not share memory with another array of the call, or of a round that is under way; copy it first"
        ),
    })
}

/// The addresses of numbers.
pub(crate) fn place<T>(numbers: &[T]) -> Range<usize> {
    let range = numbers.as_ptr_range();
    range.start.addr()..range.end.addr()
}

/// Check that no array in `changed` shares memory with another one there or in `read`.
///
/// The numpy crate only compares arrays with a common base, which arrays from two tensors do not have.
pub(crate) fn check_apart(
    changed: &[(&str, Range<usize>)],
    read: &[(&str, Range<usize>)],
) -> PyResult<()> {
    for (number, (name, place)) in changed.iter().enumerate() {
        for (other_name, other) in changed[number + 1..].iter().chain(read) {
            if place.start < other.end && other.start < place.end {
                let message =
                    format!("{name} and {other_name} must not share memory; copy one of them");
                return Err(PyValueError::new_err(message));
            }
        }
    }
    Ok(())
}
