//! The bytes of NumPy arrays: the one place with unsafe code.
//!
//! What it earns: rows are of any dtype, but the safe borrows of the numpy crate know one element type at compile
//! time, and lock a global table twice for each array, about 100 ns; a sample of 256 transitions takes 4 µs in all.
//! And new arrays are not cleared before they are written: with images that would be a second pass over all bytes.
//!
//! Miri knows neither CPython nor NumPy; `make memcheck` runs the memory's tests under valgrind instead.

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

/// Whether the array's bytes are rows of this dtype, in C order and aligned.
pub(crate) fn is_plain(array: &Bound<'_, PyUntypedArray>, dtype: &Bound<'_, PyArrayDescr>) -> bool {
    let found = array.dtype();
    has_flags(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)
        && (found.is(dtype) || is_equivalent(&found, dtype))
}

/// As `is_equiv_to`, which asks NumPy even to tell float32 from float64.
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

/// Whether the array has one owner and no weak reference, so that whoever has this reference is the only one.
#[expect(unsafe_code, reason = "the crate does not count references")]
pub(crate) fn is_unshared(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: the pointers are those of a live array, and the interpreter is held: nobody counts meanwhile.
    unsafe {
        pyo3::ffi::Py_REFCNT(array.as_ptr()) == 1 && (*array.as_array_ptr()).weakreflist.is_null()
    }
}

/// The bytes of an array in C order.
///
/// The thread holds the interpreter and runs no Python code as long as the slice lives, so no other Python thread
/// writes to the array. (One that writes without the interpreter, in a loop of NumPy's or in other native code, races
/// with every reader of that array; not to do so is its owner's part.)
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
    // SAFETY: an array in C order owns `length` initialised bytes from `data` on, and lives as long as `array`. Nobody
    // writes to them meanwhile: the interpreter is held (the module says `gil_used`), as said above.
    unsafe { std::slice::from_raw_parts((*array.as_array_ptr()).data.cast::<u8>(), length) }
}

/// The numbers of a plain array whose dtype is that of `T`; see [`bytes`].
#[expect(unsafe_code, reason = "a borrow of the crate locks twice")]
pub(crate) fn numbers<'a, T: Number>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [T] {
    debug_assert!(is_plain(array, &numpy::dtype::<T>(array.py())));
    // SAFETY: every bit pattern is a value of a `Number`; the bytes that are not aligned for it are left aside.
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
    // A view of other bytes as bools may hold any.
    if bytes.iter().all(|&byte| byte <= 1) {
        // SAFETY: a bool has the size of a byte, 0 and 1 are its values, and no byte has another; as in `bytes`, the
        // interpreter is held, so none gets another.
        return Ok(Cow::Borrowed(unsafe {
            std::slice::from_raw_parts(bytes.as_ptr().cast::<bool>(), bytes.len())
        }));
    }
    let mut flags = with_room(bytes.len())?;
    flags.extend(bytes.iter().map(|&byte| byte != 0));
    Ok(Cow::Owned(flags))
}

/// A new array of this shape with these elements; MemoryError where there is no room for it.
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

/// What `numbers` may be asked for.
pub(crate) trait Number: Element + Copy {}
impl Number for i64 {}
impl Number for f32 {}
impl Number for f64 {}

/// An array in C order that a call writes: a new one, or one that the caller brings.
pub(crate) struct Output<'py>(Bound<'py, PyUntypedArray>);

impl<'py> Output<'py> {
    /// A new array of shape `(*leading, *row)`, every byte of which is yet to be written.
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
        // SAFETY: `shape` holds `axes` lengths; the call takes over the reference to the dtype that it is given, and
        // returns an array of its own or null with an exception set.
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

    /// The caller's array, if it is a plain one of this dtype that may be written; its shape is the caller's to check.
    pub(crate) fn of_caller(
        array: &Bound<'py, PyUntypedArray>,
        dtype: &Bound<'py, PyArrayDescr>,
    ) -> Option<Self> {
        let usable = is_plain(array, dtype) && has_flags(array, NPY_ARRAY_WRITEABLE);
        usable.then(|| Self(array.clone()))
    }

    /// Another owner of it, to write it again later; none for more than so many bytes.
    pub(crate) fn to_keep(&self, most_bytes: usize) -> Option<Py<PyUntypedArray>> {
        (self.nbytes() <= most_bytes).then(|| self.0.clone().unbind())
    }

    /// Where its bytes are, as numbers.
    #[expect(unsafe_code, reason = "rows are of any dtype")]
    pub(crate) fn addresses(&self) -> Range<usize> {
        // SAFETY: the pointer is that of a live array.
        let start = unsafe { (*self.0.as_array_ptr()).data.addr() };
        start..start + self.nbytes()
    }

    /// Its bytes, to be written; they may hold values, which only writing replaces.
    ///
    /// No two outputs of one call share bytes, and while a slice lives no Python code runs that could reach an array
    /// of the caller's.
    #[expect(unsafe_code, reason = "rows are of any dtype")]
    pub(crate) fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        let length = self.nbytes();
        // SAFETY: the array owns or lends `length` bytes that may be written, and nobody else reaches them: a new
        // array is given away only by `into_array`, and one of the caller's is written while the interpreter is held.
        unsafe { std::slice::from_raw_parts_mut((*self.0.as_array_ptr()).data.cast(), length) }
    }

    /// Its elements of the array's dtype, to be written.
    #[expect(
        unsafe_code,
        reason = "the crate has no slice of elements that are yet to be written"
    )]
    pub(crate) fn elements<T: Element>(&mut self) -> &mut [MaybeUninit<T>] {
        assert!(
            self.0.dtype().is_equiv_to(&numpy::dtype::<T>(self.0.py())),
            "elements are of the array's dtype"
        );
        // SAFETY: a `MaybeUninit` may hold any bytes.
        let (before, elements, after) = unsafe { self.bytes().align_to_mut::<MaybeUninit<T>>() };
        assert!(
            before.is_empty() && after.is_empty(),
            "a plain array is aligned"
        );
        elements
    }

    /// The array, every byte of which was written.
    pub(crate) fn into_array(self) -> Bound<'py, PyUntypedArray> {
        self.0
    }

    fn nbytes(&self) -> usize {
        self.0.len() * self.0.dtype().itemsize()
    }
}
