//! Arrays of earlier batches that can be reused.

use std::sync::Mutex;

use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::prelude::*;

use crate::arrays::{Output, is_unshared};
use crate::convert::has_shape;

/// Columns of a batch.
pub(crate) const COLUMNS: usize = 8;
/// Two, since the batch before is usually in use until the next one exists.
const BATCHES: usize = 2;
/// Larger arrays are freed at once: for them the copy takes the time, and memory matters.
const MOST_BYTES: usize = 1 << 20;

type Kept = [[Option<Py<PyUntypedArray>>; BATCHES]; COLUMNS];

/// The columns of the last few batches, for reuse: making seven arrays takes as long as filling them.
///
/// An array is only reused if this is its last owner; its views, tensors and buffers own it too.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Kept>);

impl Spare {
    /// An array of shape `(*leading, *row)` for a field of a batch; all bytes must be written.
    pub(crate) fn output<'py>(
        &self,
        field: usize,
        dtype: Bound<'py, PyArrayDescr>,
        leading: &[usize],
        row: &[usize],
    ) -> PyResult<Output<'py>> {
        let py = dtype.py();
        // Locked briefly and with the interpreter; a thread that finds it locked makes a new array.
        let Ok(mut kept) = self.0.try_lock() else {
            return Output::new(dtype, leading, row);
        };
        let places = &mut kept[field];
        let unshared = |place: &&mut Option<Py<PyUntypedArray>>| {
            place
                .as_ref()
                .is_none_or(|array| is_unshared(array.bind(py)))
        };
        let Some(place) = places.iter_mut().find(unshared) else {
            // Batches that are kept for long must not occupy places.
            let output = Output::new(dtype, leading, row)?;
            places.rotate_left(1);
            places[BATCHES - 1] = output.to_keep(MOST_BYTES);
            return Ok(output);
        };
        if let Some(array) = place.as_ref().map(|array| array.bind(py))
            && has_shape(array, leading, row)
            && let Some(output) = Output::of_caller(array, &dtype)
        {
            return Ok(output);
        }
        let output = Output::new(dtype, leading, row)?;
        *place = output.to_keep(MOST_BYTES);
        Ok(output)
    }
}
