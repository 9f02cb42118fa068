//! The bytes of NumPy arrays; the only file with unsafe code.
//!
//! Why: rows can have any dtype, but the numpy crate's safe borrows need one element type at compile time and lock a
//! global table twice for each array, about 100 ns, while a whole sample of 256 transitions takes 4 µs. New arrays
//! also need not be cleared before they are written, which for images would be a second pass over all bytes.
//!
//! Miri supports neither CPython nor NumPy; `make memcheck` runs the memory's tests under valgrind instead.

use std::borrow::Cow;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ops::Range;

use numpy::npyffi::{
    NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE, PY_ARRAY_API, npy_intp,
};
use numpy::prelude::*;
use numpy::{Element, PyArrayDescr, PyUntypedArray};
use pyo3::prelude::*;

use crate::lists::with_room;

/// The most axes that NumPy 1 allows.
pub(crate) const MAX_AXES: usize = 32;

/// Whether the array has this dtype and is aligned and in C order.
pub(crate) fn is_plain(array: &Bound<'_, PyUntypedArray>, dtype: &Bound<'_, PyArrayDescr>) -> bool {
    let found = array.dtype();
    has_flags(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)
        && (found.is(dtype) || is_equivalent(&found, dtype))
}

/// Like `is_equiv_to`, which calls NumPy even for float32 and float64.
fn is_equivalent(found: &Bound<'_, PyArrayDescr>, dtype: &Bound<'_, PyArrayDescr>) -> bool {
    found.kind() == dtype.kind() && found.itemsize() == dtype.itemsize() && found.is_equiv_to(dtype)
}

#[expect(
    unsafe_code,
    reason = "the crate does not say whether an array is aligned"
)]
fn has_flags(array: &Bound<'_, PyUntypedArray>, flags: c_int) -> bool {
    // SAFETY: the pointer is that of a live array.
    unsafe { (*array.as_array_ptr()).flags & flags == flags }
}

/// Whether the array has one owner and no weak reference, so that nothing else can reach it.
#[expect(unsafe_code, reason = "the crate does not count references")]
pub(crate) fn is_unshared(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: the pointers are those of a live array; the interpreter is held, so its reference count cannot change.
    unsafe {
        pyo3::ffi::Py_REFCNT(array.as_ptr()) == 1 && (*array.as_array_ptr()).weakreflist.is_null()
    }
}

/// The bytes of an array in C order.
///
/// The thread holds the interpreter and runs no Python code while the slice lives, so no other Python thread writes to
/// the array. (Native code that writes without the interpreter races with every reader of that array; its owner must
/// prevent that.)
#[expect(unsafe_code, reason = "rows are of any dtype")]
pub(crate) fn bytes<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [u8] {
    assert!(
        has_flags(array, NPY_ARRAY_C_CONTIGUOUS),
        "only an array in C order is one piece of bytes"
    );
    let length = array.len() * array.dtype().itemsize();
    if length == 0 {
        return &[];
    }
    // SAFETY: an array in C order owns `length` initialised bytes from `data` on, and lives as long as `array`. Nothing
    // writes to them in the meantime: the interpreter is held (the module says `gil_used`), see above.
    unsafe { std::slice::from_raw_parts((*array.as_array_ptr()).data.cast::<u8>(), length) }
}

/// The numbers of a plain array whose dtype is that of `T`; see [`bytes`].
#[expect(unsafe_code, reason = "a borrow of the crate locks twice")]
pub(crate) fn numbers<'a, T: Number>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [T] {
    debug_assert!(is_plain(array, &numpy::dtype::<T>(array.py())));
    // SAFETY: every bit pattern is a value of a `Number`; unaligned bytes are not in the slice.
    let (before, numbers, after) = unsafe { bytes(array).align_to::<T>() };
    assert!(
        before.is_empty() && after.is_empty(),
        "a plain array is aligned"
    );
    numbers
}

/// The truth values of a plain array of bools; see [`bytes`].
#[expect(
    unsafe_code,
    reason = "a copy for each flag column would cost as much as storing a step"
)]
pub(crate) fn flags<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Cow<'a, [bool]>> {
    debug_assert!(is_plain(array, &numpy::dtype::<bool>(array.py())));
    let bytes = bytes(array);
    // A view of other bytes as bools may have any values.
    if bytes.iter().all(|&byte| byte <= 1) {
        // SAFETY: a bool has the size of a byte, its values are 0 and 1, and no byte has another value; as in `bytes`,
        // the interpreter is held, so this cannot change.
        return Ok(Cow::Borrowed(unsafe {
            std::slice::from_raw_parts(bytes.as_ptr().cast::<bool>(), bytes.len())
        }));
    }
    let mut flags = with_room(bytes.len())?;
    flags.extend(bytes.iter().map(|&byte| byte != 0));
    Ok(Cow::Owned(flags))
}

/// A new array of this shape with these elements; a MemoryError if there is not enough memory.
pub(crate) fn array_of<'py, T: Element + Copy>(
    py: Python<'py>,
    shape: &[usize],
    elements: &[T],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let mut array = Output::new(numpy::dtype::<T>(py), shape, &[])?;
    for (to, &from) in array.elements().iter_mut().zip(elements) {
        to.write(from);
    }
    Ok(array.into_array())
}

/// The element types of `numbers`.
pub(crate) trait Number: Element + Copy {}
impl Number for i64 {}
impl Number for f32 {}
impl Number for f64 {}

/// An array in C order that a call writes: a new one, or the caller's.
pub(crate) struct Output<'py>(Bound<'py, PyUntypedArray>);

impl<'py> Output<'py> {
    /// A new array of shape `(*leading, *row)`; all bytes must be written.
    #[expect(
        unsafe_code,
        reason = "an array of a dtype that is known at run time has no safe constructor"
    )]
    pub(crate) fn new(
        dtype: Bound<'py, PyArrayDescr>,
        leading: &[usize],
        row: &[usize],
    ) -> PyResult<Self> {
        let (py, axes) = (dtype.py(), leading.len() + row.len());
        let mut shape = [0 as npy_intp; MAX_AXES];
        for (length, &asked) in shape[..axes].iter_mut().zip(leading.iter().chain(row)) {
            *length = asked as npy_intp;
        }
        // SAFETY: `shape` has `axes` lengths; the call owns the reference to the dtype from now on, and returns a new
        // array, or null with an exception set.
        let array = unsafe {
            let array = PY_ARRAY_API.PyArray_Empty(
                py,
                axes as c_int,
                shape.as_mut_ptr(),
                dtype.into_dtype_ptr(),
                0,
            );
            Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked()
        };
        Ok(Self(array))
    }

    /// The caller's array, if it is a plain writable one of this dtype; the shape is checked elsewhere.
    pub(crate) fn of_caller(
        array: &Bound<'py, PyUntypedArray>,
        dtype: &Bound<'py, PyArrayDescr>,
    ) -> Option<Self> {
        let usable = is_plain(array, dtype) && has_flags(array, NPY_ARRAY_WRITEABLE);
        usable.then(|| Self(array.clone()))
    }

    /// Another owner of the array, to write it again later; none for more than `most_bytes`.
    pub(crate) fn to_keep(&self, most_bytes: usize) -> Option<Py<PyUntypedArray>> {
        (self.nbytes() <= most_bytes).then(|| self.0.clone().unbind())
    }

    /// The addresses of its bytes.
    #[expect(unsafe_code, reason = "rows are of any dtype")]
    pub(crate) fn addresses(&self) -> Range<usize> {
        // SAFETY: the pointer is that of a live array.
        let start = unsafe { (*self.0.as_array_ptr()).data.addr() };
        start..start + self.nbytes()
    }

    /// Its bytes, for writing; they may have values already.
    ///
    /// No two outputs of a call share bytes, and no Python code that could reach the caller's arrays runs while a slice
    /// lives.
    #[expect(unsafe_code, reason = "rows are of any dtype")]
    pub(crate) fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        let length = self.nbytes();
        // SAFETY: the array has `length` writable bytes, and nothing else reaches them: a new array is only given away
        // by `into_array`, and the caller's is written while the interpreter is held.
        unsafe { std::slice::from_raw_parts_mut((*self.0.as_array_ptr()).data.cast(), length) }
    }

    /// Its elements, for writing.
    #[expect(
        unsafe_code,
        reason = "the crate has no slice of elements that are yet to be written"
    )]
    pub(crate) fn elements<T: Element>(&mut self) -> &mut [MaybeUninit<T>] {
        assert!(
            self.0.dtype().is_equiv_to(&numpy::dtype::<T>(self.0.py())),
            "elements are of the array's dtype"
        );
        // SAFETY: a `MaybeUninit` may have any bytes.
        let (before, elements, after) = unsafe { self.bytes().align_to_mut::<MaybeUninit<T>>() };
        assert!(
            before.is_empty() && after.is_empty(),
            "a plain array is aligned"
        );
        elements
    }

    /// The array, after all bytes were written.
    pub(crate) fn into_array(self) -> Bound<'py, PyUntypedArray> {
        self.0
    }

    fn nbytes(&self) -> usize {
        self.0.len() * self.0.dtype().itemsize()
    }
}
