//! The bytes of NumPy arrays: the one place with unsafe code.
//!
//! What it earns: the safe borrows of the numpy crate know one element type at compile time and keep a global
//! table of borrows, locked twice for each array.

use std::ffi::c_int;

use numpy::npyffi::{PY_ARRAY_API, npy_intp};
use numpy::prelude::*;
use numpy::{Element, PyArrayDescr, PyUntypedArray};
use pyo3::prelude::*;

/// Whether the array's bytes are rows of this dtype, in C order and aligned.
pub(crate) fn is_plain(array: &Bound<'_, PyUntypedArray>, dtype: &Bound<'_, PyArrayDescr>) -> bool {
    let found = array.dtype();
    (found.is(dtype) || found.is_equiv_to(dtype)) && array.is_c_contiguous()
}

/// The bytes of an array in C order.
///
/// The thread stays attached and runs no Python code as long as the slice lives, so nothing writes to the array.
#[expect(
    unsafe_code,
    reason = "rows are bytes of any dtype; the crate's borrows are typed and cost 100 ns each"
)]
pub(crate) fn bytes<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [u8] {
    assert!(
        array.is_c_contiguous(),
        "only an array in C order is one piece of bytes"
    );
    let length = array.len() * array.dtype().itemsize();
    if length == 0 {
        return &[];
    }
    // SAFETY: a C-contiguous array owns `length` initialised bytes from `data` on, and lives as long as `array`.
    unsafe { std::slice::from_raw_parts((*array.as_array_ptr()).data.cast::<u8>(), length) }
}

/// The elements of an array in C order whose dtype is that of `T`.
#[expect(
    unsafe_code,
    reason = "as for bytes: two locks of a global table for each array"
)]
pub(crate) fn elements<'a, T: Element + Copy>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [T] {
    assert!(
        is_plain(array, &numpy::dtype::<T>(array.py())),
        "only an array of this dtype holds such elements"
    );
    let data = bytes(array);
    // SAFETY: the bytes are `T`s; the two ends are empty where NumPy aligned the array, as it does its own.
    let (before, elements, after) = unsafe { data.align_to::<T>() };
    assert!(
        before.is_empty() && after.is_empty(),
        "an array of this dtype is aligned for it"
    );
    elements
}

/// A new array of zeros in C order, and its bytes to be written.
#[expect(
    unsafe_code,
    reason = "an array of a dtype that is known at run time has no safe constructor"
)]
pub(crate) fn zeros<'py, 'a>(
    dtype: &Bound<'py, PyArrayDescr>,
    shape: &[usize],
) -> PyResult<(Bound<'py, PyUntypedArray>, &'a mut [u8])> {
    let py = dtype.py();
    let mut dims: Vec<npy_intp> = shape.iter().map(|&length| length as npy_intp).collect();
    let length = shape.iter().product::<usize>() * dtype.itemsize();
    // SAFETY: `dims` holds `nd` lengths; the call steals the reference to the dtype that it is given, and returns
    // a new reference or null with an exception set.
    let array = unsafe {
        let descr = dtype.clone().into_dtype_ptr();
        let array =
            PY_ARRAY_API.PyArray_Zeros(py, dims.len() as c_int, dims.as_mut_ptr(), descr, 0);
        Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked::<PyUntypedArray>()
    };
    // SAFETY: the array is new, in C order and owns `length` bytes, all zero; nobody else can reach it before this
    // function's caller hands it on.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut((*array.as_array_ptr()).data.cast::<u8>(), length)
    };
    Ok((array, bytes))
}

/// A new array of a batch's small columns, and its elements until they are taken.
pub(crate) struct Fresh<'py, T: 'static> {
    pub(crate) array: Bound<'py, PyUntypedArray>,
    elements: &'static mut [T],
}

impl<'py, T: Element + Copy> Fresh<'py, T> {
    /// An array of zeros.
    #[expect(unsafe_code, reason = "as for bytes")]
    pub(crate) fn new(py: Python<'py>, shape: &[usize]) -> PyResult<Self> {
        let (array, bytes) = zeros(&numpy::dtype::<T>(py), shape)?;
        // SAFETY: NumPy aligns what it allocates, and zeros are a value of every type that is used here.
        let (_, elements, _) = unsafe { bytes.align_to_mut::<T>() };
        Ok(Self { array, elements })
    }

    /// The elements, once.
    pub(crate) fn take(&mut self) -> &'static mut [T] {
        std::mem::take(&mut self.elements)
    }
}
