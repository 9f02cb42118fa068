//! The arrays of a batch.

use std::mem::MaybeUninit;

use acro_replay::Columns;
use numpy::prelude::*;
use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::arrays::Output;
use crate::convert::{describe, has_shape, number};
use crate::rows::Rows;
use crate::spare::{COLUMNS, Spare};

/// Batches and states of more bytes than this are copied without the interpreter, so that other threads can run.
pub(crate) const DETACH_BYTES: usize = 256 << 10;

/// The fields of a `Batch`, in order.
pub(crate) const FIELDS: [&str; COLUMNS] = [
    "obs",
    "actions",
    "rewards",
    "next_obs",
    "discounts",
    "terminated",
    "indices",
    "weights",
];

/// The leading axes of a batch: (B,) or (M, B).
pub(crate) struct Shape {
    lengths: [usize; 2],
    axes: usize,
}

impl Shape {
    /// The `batch_size` of `sample`: an int, or a pair of ints whose first may be 0.
    pub(crate) fn of_batch_size(batch_size: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (minibatches, batch) = if let Ok(batch) = batch_size.extract::<i64>() {
            (None, batch)
        } else if let Ok((minibatches, batch)) = batch_size.extract::<(i64, i64)>() {
            (Some(minibatches), batch)
        } else {
            let found = describe(batch_size);
            let message =
                format!("batch_size must be an int or a pair of ints (M, B), got {found}");
            return Err(PyTypeError::new_err(message));
        };
        let batch = checked("batch_size", 1, batch)?;
        match minibatches {
            None => Ok(Self {
                lengths: [batch, 1],
                axes: 1,
            }),
            Some(minibatches) => Ok(Self {
                lengths: [checked("M of batch_size (M, B)", 0, minibatches)?, batch],
                axes: 2,
            }),
        }
    }

    /// The shape of an array of indices.
    pub(crate) fn of_indices(shape: &[usize]) -> PyResult<Self> {
        match *shape {
            [batch] => Ok(Self {
                lengths: [batch, 1],
                axes: 1,
            }),
            [minibatches, batch] => Ok(Self {
                lengths: [minibatches, batch],
                axes: 2,
            }),
            _ => Err(PyValueError::new_err(format!(
                "indices must have 1 or 2 axes, got {}",
                shape.len()
            ))),
        }
    }

    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths[..self.axes]
    }

    pub(crate) fn minibatches(&self) -> usize {
        if self.axes == 1 { 1 } else { self.lengths[0] }
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.lengths[self.axes - 1]
    }
}

/// An int argument, at least `least`.
pub(crate) fn at_least(name: &str, least: i64, found: &Bound<'_, PyAny>) -> PyResult<usize> {
    let kind = format!("an int from {least} to 2**63 - 1");
    checked(name, least, number(name, &kind, found)?)
}

pub(crate) fn checked(name: &str, least: i64, found: i64) -> PyResult<usize> {
    let message = || PyValueError::new_err(format!("{name} must be at least {least}, got {found}"));
    usize::try_from(found)
        .ok()
        .filter(|_| found >= least)
        .ok_or_else(message)
}

/// Columns whose elements must be written.
type Unwritten<'a> =
    Columns<'a, MaybeUninit<u8>, MaybeUninit<f32>, MaybeUninit<bool>, MaybeUninit<i64>>;

/// The arrays of a batch.
pub(crate) struct Arrays<'py> {
    obs: Output<'py>,
    actions: Output<'py>,
    rewards: Output<'py>,
    next_obs: Output<'py>,
    discounts: Output<'py>,
    terminated: Output<'py>,
    indices: Output<'py>,
    weights: Option<Output<'py>>,
    /// The caller's batch, if the arrays are its.
    batch: Option<Bound<'py, PyAny>>,
}

impl<'py> Arrays<'py> {
    /// New arrays, those of an earlier batch that nothing refers to any more, or those of `out`.
    pub(crate) fn new(
        py: Python<'py>,
        spare: &Spare,
        obs: &Rows,
        action: &Rows,
        shape: &Shape,
        weighted: bool,
        out: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Self> {
        let column = |place: usize, dtype: Bound<'py, PyArrayDescr>, row: &[usize]| match out {
            None => spare.output(place, dtype, shape.lengths(), row),
            Some(out) => of_caller(place, &out.get_item(place)?, &dtype, shape.lengths(), row),
        };
        let rows = |place, rows: &Rows| column(place, rows.dtype.bind(py).clone(), &rows.shape);
        let weights = weighted.then(|| column(7, numpy::dtype::<f32>(py), &[]));
        let arrays = Self {
            obs: rows(0, obs)?,
            actions: rows(1, action)?,
            rewards: column(2, numpy::dtype::<f32>(py), &[])?,
            next_obs: rows(3, obs)?,
            discounts: column(4, numpy::dtype::<f32>(py), &[])?,
            terminated: column(5, numpy::dtype::<bool>(py), &[])?,
            indices: column(6, numpy::dtype::<i64>(py), &[])?,
            weights: weights.transpose()?,
            batch: out.map(|out| out.as_any().clone()),
        };
        if out.is_some() {
            arrays.check_apart()?;
        }
        Ok(arrays)
    }

    /// Call `write` with the columns, the weights, and whether it may let other threads run. If it succeeds, it must
    /// have written all elements.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(Unwritten<'_>, Option<&mut [MaybeUninit<f32>]>, bool) -> PyResult<()>,
    ) -> PyResult<()> {
        let columns = Columns {
            obs: self.obs.bytes(),
            actions: self.actions.bytes(),
            rewards: self.rewards.elements(),
            next_obs: self.next_obs.bytes(),
            discounts: self.discounts.elements(),
            terminated: self.terminated.elements(),
            indices: self.indices.elements(),
        };
        let weights = self.weights.as_mut().map(Output::elements);
        let large = 2 * columns.obs.len() + columns.actions.len() > DETACH_BYTES;
        // Other threads may use the caller's arrays.
        write(columns, weights, large && self.batch.is_none())
    }

    /// The `Batch` of these arrays, after all were written.
    pub(crate) fn into_batch(
        self,
        py: Python<'py>,
        kind: &Py<PyType>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static TUPLE_NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if let Some(batch) = self.batch {
            return Ok(batch);
        }
        let make = || Ok::<_, PyErr>(PyTuple::type_object(py).getattr("__new__")?.unbind());
        let tuple_new = TUPLE_NEW.get_or_try_init(py, make)?.bind(py);
        let columns = (
            self.obs.into_array(),
            self.actions.into_array(),
            self.rewards.into_array(),
            self.next_obs.into_array(),
            self.discounts.into_array(),
            self.terminated.into_array(),
            self.indices.into_array(),
            self.weights.map(Output::into_array),
        );
        // A named tuple's own constructor is Python code; its base class's is faster.
        tuple_new.call1((kind, columns))
    }

    /// Check that no two arrays share bytes.
    fn check_apart(&self) -> PyResult<()> {
        let mut places = [
            self.obs.addresses(),
            self.actions.addresses(),
            self.rewards.addresses(),
            self.next_obs.addresses(),
            self.discounts.addresses(),
            self.terminated.addresses(),
            self.indices.addresses(),
            self.weights.as_ref().map_or(0..0, Output::addresses),
        ];
        places.sort_unstable_by_key(|place| place.start);
        if places.windows(2).all(|pair| pair[0].end <= pair[1].start) {
            return Ok(());
        }
        Err(PyValueError::new_err(
            "two arrays of out share memory; each column needs its own",
        ))
    }
}

/// What makes a batch that can be written.
const ADVICE: &str = "use a batch that this memory returned for the same batch_size";

/// One of the arrays of the caller's batch.
fn of_caller<'py>(
    place: usize,
    value: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyArrayDescr>,
    leading: &[usize],
    row: &[usize],
) -> PyResult<Output<'py>> {
    if let Ok(array) = value.cast::<PyUntypedArray>()
        && has_shape(array, leading, row)
        && let Some(output) = Output::of_caller(array, dtype)
    {
        return Ok(output);
    }
    Err(cannot_be_written(place, value, dtype, leading, row))
}

#[cold]
fn cannot_be_written(
    place: usize,
    value: &Bound<'_, PyAny>,
    dtype: &Bound<'_, PyArrayDescr>,
    leading: &[usize],
    row: &[usize],
) -> PyErr {
    let describe = || {
        let (py, field) = (value.py(), FIELDS[place]);
        let Ok(array) = value.cast::<PyUntypedArray>() else {
            let found = value.get_type().name()?;
            let message = format!("out.{field} must be an array, got {found}; {ADVICE}");
            return Ok(PyTypeError::new_err(message));
        };
        let shape = PyTuple::new(py, [leading, row].concat())?;
        let message = if has_shape(array, leading, row) && array.dtype().is_equiv_to(dtype) {
            format!("out.{field} must be writeable and in C order; {ADVICE}")
        } else {
            let (found, found_shape) = (array.dtype(), PyTuple::new(py, array.shape())?);
            format!("out.{field} is {found} {found_shape}, expected {dtype} {shape}; {ADVICE}")
        };
        Ok(PyValueError::new_err(message))
    };
    describe().unwrap_or_else(|error: PyErr| error)
}
