//! From a batch's shape to its arrays.

use std::mem::MaybeUninit;

use acro_replay::Columns;
use numpy::PyArrayDescr;
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::arrays::Fresh;
use crate::rows::Rows;

/// Batches of more bytes than this are copied while other Python threads run.
const DETACH_BYTES: usize = 256 << 10;

/// The leading axes of a batch: (B,) or (M, B).
pub(crate) struct Shape {
    lengths: [usize; 2],
    axes: usize,
}

impl Shape {
    /// What `sample` was asked for: an int, or a pair of ints whose first may be 0.
    pub(crate) fn of_batch_size(batch_size: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (rounds, batch) = if let Ok(batch) = batch_size.extract::<i64>() {
            (None, batch)
        } else if let Ok((rounds, batch)) = batch_size.extract::<(i64, i64)>() {
            (Some(rounds), batch)
        } else {
            let found = batch_size.repr()?;
            let message =
                format!("batch_size must be an int or a pair of ints (M, B), got {found}");
            return Err(PyTypeError::new_err(message));
        };
        let batch = at_least("batch_size", 1, batch)?;
        match rounds {
            None => Ok(Self {
                lengths: [batch, 1],
                axes: 1,
            }),
            Some(rounds) => Ok(Self {
                lengths: [at_least("M of batch_size (M, B)", 0, rounds)?, batch],
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
            [rounds, batch] => Ok(Self {
                lengths: [rounds, batch],
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

    pub(crate) fn rounds(&self) -> usize {
        if self.axes == 1 { 1 } else { self.lengths[0] }
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.lengths[self.axes - 1]
    }
}

/// Check an int of the caller's.
pub(crate) fn at_least(name: &str, least: i64, found: i64) -> PyResult<usize> {
    let message = || PyValueError::new_err(format!("{name} must be at least {least}, got {found}"));
    usize::try_from(found)
        .ok()
        .filter(|_| found >= least)
        .ok_or_else(message)
}

/// Columns whose elements are yet to be written.
type Unwritten<'a> =
    Columns<'a, MaybeUninit<u8>, MaybeUninit<f32>, MaybeUninit<bool>, MaybeUninit<i64>>;

/// New arrays for a batch, but for its weights.
pub(crate) struct Arrays<'py> {
    obs: Fresh<'py>,
    actions: Fresh<'py>,
    rewards: Fresh<'py>,
    next_obs: Fresh<'py>,
    discounts: Fresh<'py>,
    terminated: Fresh<'py>,
    indices: Fresh<'py>,
}

impl<'py> Arrays<'py> {
    pub(crate) fn new(py: Python<'py>, obs: &Rows, action: &Rows, shape: &Shape) -> PyResult<Self> {
        let rows =
            |rows: &Rows| Fresh::new(rows.dtype.bind(py).clone(), shape.lengths(), &rows.shape);
        let numbers = |dtype: Bound<'py, PyArrayDescr>| Fresh::new(dtype, shape.lengths(), &[]);
        Ok(Self {
            obs: rows(obs)?,
            actions: rows(action)?,
            rewards: numbers(numpy::dtype::<f32>(py))?,
            next_obs: rows(obs)?,
            discounts: numbers(numpy::dtype::<f32>(py))?,
            terminated: numbers(numpy::dtype::<bool>(py))?,
            indices: numbers(numpy::dtype::<i64>(py))?,
        })
    }

    /// Call `write` with the columns; if it succeeds it has written all of them.
    pub(crate) fn write(
        &mut self,
        py: Python<'py>,
        write: impl FnOnce(Unwritten<'_>) -> PyResult<()> + Send,
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
        let large = 2 * columns.obs.len() + columns.actions.len() > DETACH_BYTES;
        if large {
            py.detach(|| write(columns))
        } else {
            write(columns)
        }
    }

    /// The `Batch` of these arrays, all of them written.
    pub(crate) fn into_batch(
        self,
        py: Python<'py>,
        kind: &Py<PyType>,
        weights: Option<Fresh<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static TUPLE_NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = || Ok::<_, PyErr>(PyTuple::type_object(py).getattr("__new__")?.unbind());
        let tuple_new = TUPLE_NEW.get_or_try_init(py, make)?.bind(py);
        let columns = (
            self.obs.written(),
            self.actions.written(),
            self.rewards.written(),
            self.next_obs.written(),
            self.discounts.written(),
            self.terminated.written(),
            self.indices.written(),
            weights.map(Fresh::written),
        );
        // A named tuple's own constructor is Python code; its base's takes all fields at once.
        tuple_new.call1((kind, columns))
    }
}
