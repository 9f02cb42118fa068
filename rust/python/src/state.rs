//! Converts a memory's state to a dict of arrays, and back.

use std::borrow::Cow;

use acro_replay::State;
use numpy::prelude::*;
use numpy::{IntoPyArray, PyArrayDescr, PyUntypedArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{bytes, flags, numbers};
use crate::convert::plain_array;

/// Each column as an array with one axis; rows of observations and actions as bytes.
pub(crate) fn to_columns<'py>(
    py: Python<'py>,
    state: State<'static>,
) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item(
        "rng",
        state.rng.map(|word| word as i64).to_vec().into_pyarray(py),
    )?;
    columns.set_item("counts", state.counts.into_owned().into_pyarray(py))?;
    columns.set_item("lens", state.lens.into_owned().into_pyarray(py))?;
    columns.set_item("heads", state.heads.into_owned().into_pyarray(py))?;
    columns.set_item("open", state.open.into_owned().into_pyarray(py))?;
    columns.set_item("obs", state.obs.into_owned().into_pyarray(py))?;
    columns.set_item("actions", state.actions.into_owned().into_pyarray(py))?;
    columns.set_item("rewards", state.rewards.into_owned().into_pyarray(py))?;
    columns.set_item("terminated", state.terminated.into_owned().into_pyarray(py))?;
    columns.set_item("last", state.last.into_owned().into_pyarray(py))?;
    columns.set_item("finals", state.finals.into_owned().into_pyarray(py))?;
    columns.set_item(
        "priorities",
        state
            .priorities
            .map(|leaves| leaves.into_owned().into_pyarray(py)),
    )?;
    Ok(columns)
}

/// Call `restore` with the state in these columns, which it borrows.
pub(crate) fn of_columns<'py>(
    columns: &Bound<'py, PyDict>,
    restore: impl FnOnce(&State<'_>) -> PyResult<()>,
) -> PyResult<()> {
    let py = columns.py();
    let (ints, bools) = (numpy::dtype::<i64>(py), numpy::dtype::<bool>(py));
    let column = |name: &str| {
        let array = columns.as_any().get_item(name)?;
        Ok::<_, PyErr>(array.cast_into::<PyUntypedArray>()?)
    };
    // As plain arrays: borrowed if they are plain already, else copied.
    let plain = |name: &str, dtype: &Bound<'py, PyArrayDescr>| {
        let array = column(name)?;
        plain_array(name, &array, dtype, array.shape(), &[])
    };
    let rows = |name: &str| {
        let array = column(name)?;
        plain_array(name, &array, &array.dtype(), array.shape(), &[])
    };
    let (rng, counts, lens) = (
        plain("rng", &ints)?,
        plain("counts", &ints)?,
        plain("lens", &ints)?,
    );
    let (heads, open) = (plain("heads", &ints)?, plain("open", &bools)?);
    let (obs, actions, finals) = (rows("obs")?, rows("actions")?, rows("finals")?);
    let rewards = plain("rewards", &numpy::dtype::<f32>(py))?;
    let (terminated, last) = (plain("terminated", &bools)?, plain("last", &bools)?);
    let priorities = match columns.as_any().get_item("priorities")?.is_none() {
        true => None,
        false => Some(plain("priorities", &numpy::dtype::<f64>(py))?),
    };
    let rng = <[i64; 4]>::try_from(numbers::<i64>(&rng))
        .map_err(|_| PyValueError::new_err("rng must hold 4 numbers"))?;
    restore(&State {
        rng: rng.map(|word| word as u64),
        counts: Cow::Borrowed(numbers(&counts)),
        lens: Cow::Borrowed(numbers(&lens)),
        heads: Cow::Borrowed(numbers(&heads)),
        open: flags(&open)?,
        obs: Cow::Borrowed(bytes(&obs)),
        actions: Cow::Borrowed(bytes(&actions)),
        rewards: Cow::Borrowed(numbers(&rewards)),
        terminated: flags(&terminated)?,
        last: flags(&last)?,
        finals: Cow::Borrowed(bytes(&finals)),
        priorities: priorities
            .as_ref()
            .map(|leaves| Cow::Borrowed(numbers(leaves))),
    })
}
