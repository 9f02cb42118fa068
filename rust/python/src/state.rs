//! A memory's state as a dict of arrays, and back.

use std::borrow::Cow;

use acro_replay::State;
use numpy::{IntoPyArray, PyUntypedArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{bytes, flags, numbers};

/// Each column as an array of one axis; rows of observations and actions as bytes.
pub(crate) fn to_columns<'py>(
    py: Python<'py>,
    state: State<'static>,
) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item(
        "rng",
        state.rng.map(|word| word as i64).to_vec().into_pyarray(py),
    )?;
    columns.set_item("counts", state.counts.into_pyarray(py))?;
    columns.set_item("lens", state.lens.into_pyarray(py))?;
    columns.set_item("heads", state.heads.into_pyarray(py))?;
    columns.set_item("open", state.open.into_pyarray(py))?;
    columns.set_item("obs", state.obs.into_owned().into_pyarray(py))?;
    columns.set_item("actions", state.actions.into_owned().into_pyarray(py))?;
    columns.set_item("rewards", state.rewards.into_pyarray(py))?;
    columns.set_item("terminated", state.terminated.into_pyarray(py))?;
    columns.set_item("last", state.last.into_pyarray(py))?;
    columns.set_item("finals", state.finals.into_owned().into_pyarray(py))?;
    columns.set_item(
        "priorities",
        state.priorities.map(|leaves| leaves.into_pyarray(py)),
    )?;
    Ok(columns)
}

/// Call `restore` with the state that these columns are; it borrows the large ones.
pub(crate) fn of_columns(
    columns: &Bound<'_, PyDict>,
    restore: impl FnOnce(&State<'_>) -> PyResult<()>,
) -> PyResult<()> {
    let column = |name: &str| -> PyResult<Bound<'_, PyUntypedArray>> {
        Ok(columns
            .as_any()
            .get_item(name)?
            .cast_into::<PyUntypedArray>()?)
    };
    let words = numbers::<i64>(&column("rng")?).to_vec();
    let rng = words
        .try_into()
        .map_err(|_| PyValueError::new_err("rng must hold 4 numbers"))?;
    let priorities = columns.as_any().get_item("priorities")?;
    let priorities = if priorities.is_none() {
        None
    } else {
        Some(numbers::<f64>(&priorities.cast_into::<PyUntypedArray>()?).to_vec())
    };
    let (obs, actions, finals) = (column("obs")?, column("actions")?, column("finals")?);
    restore(&State {
        rng: <[i64; 4]>::map(rng, |word| word as u64),
        counts: numbers(&column("counts")?).to_vec(),
        lens: numbers(&column("lens")?).to_vec(),
        heads: numbers(&column("heads")?).to_vec(),
        open: flags(&column("open")?).into_owned(),
        obs: Cow::Borrowed(bytes(&obs)),
        actions: Cow::Borrowed(bytes(&actions)),
        rewards: numbers(&column("rewards")?).to_vec(),
        terminated: flags(&column("terminated")?).into_owned(),
        last: flags(&column("last")?).into_owned(),
        finals: Cow::Borrowed(bytes(&finals)),
        priorities,
    })
}
