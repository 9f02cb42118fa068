//! Converts the arguments of the memory's methods from Python to Rust.

use std::borrow::Cow;

use acro_replay::Padding;
use numpy::PyUntypedArray;
use numpy::prelude::*;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::arrays::{Output, is_plain, numbers};
use crate::batch::at_least;
use crate::convert::{number, plain_array};
use crate::lists::with_room;

pub(crate) fn env_of(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    number("env", "an int", value)
}

pub(crate) fn n_step_of(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least("n_step", 1, value)
}

pub(crate) fn gamma_of(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    number("gamma", "a number from 0 to 1", value)
}

pub(crate) fn beta_of(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    number("beta", "a number from 0 to 1", value)
}

/// A stack's padding by Gymnasium's names.
const RESET: &str = "reset";
const ZERO: &str = "zero";

pub(crate) fn padding_of(name: &str) -> PyResult<Padding> {
    match name {
        RESET => Ok(Padding::First),
        ZERO => Ok(Padding::Zeros),
        _ => Err(PyValueError::new_err(format!(
            "padding must be '{RESET}' or '{ZERO}', got '{name}'"
        ))),
    }
}

pub(crate) fn padding_name(padding: Padding) -> &'static str {
    match padding {
        Padding::First => RESET,
        Padding::Zeros => ZERO,
    }
}

/// Rewards as float32, as the memory stores them, or as float64, as Gymnasium's vector environments return them.
pub(crate) enum Rewards<'py> {
    Float32(Bound<'py, PyUntypedArray>),
    Float64(Bound<'py, PyUntypedArray>),
}

impl<'py> Rewards<'py> {
    pub(crate) fn new(value: &Bound<'py, PyAny>, rows: usize) -> PyResult<Self> {
        let py = value.py();
        let (float32, float64) = (numpy::dtype::<f32>(py), numpy::dtype::<f64>(py));
        if let Ok(array) = value.cast::<PyUntypedArray>()
            && array.shape() == [rows]
            && is_plain(array, &float64)
        {
            return Ok(Self::Float64(array.clone()));
        }
        plain_array("rewards", value, &float32, &[rows], &[]).map(Self::Float32)
    }

    pub(crate) fn of(&self) -> PyResult<Cow<'_, [f32]>> {
        Ok(match self {
            Self::Float32(array) => Cow::Borrowed(numbers(array)),
            Self::Float64(array) => {
                let rewards = numbers::<f64>(array);
                let mut narrow = with_room(rewards.len())?;
                for &reward in rewards {
                    narrow.push(stored_reward("rewards", reward)?);
                }
                Cow::Owned(narrow)
            }
        })
    }
}

/// The reward as it is stored; an error if it is finite and that is not.
pub(crate) fn stored_reward(name: &str, reward: f64) -> PyResult<f32> {
    let stored = reward as f32;
    if stored.is_infinite() && reward.is_finite() {
        let message = format!("{name} must fit float32, got {reward:e}");
        return Err(PyValueError::new_err(message));
    }
    Ok(stored)
}

/// `indices` as a plain array of int64, of any shape.
pub(crate) fn index_array<'py>(
    name: &str,
    indices: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = indices.py();
    let array = match indices.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => py
            .import("numpy")?
            .call_method1("asarray", (indices,))?
            .cast_into::<PyUntypedArray>()?,
    };
    let ints = numpy::dtype::<i64>(py);
    if array.len() == 0 {
        // NumPy makes a float array of an empty list.
        return Ok(Output::new(ints, array.shape(), &[])?.into_array());
    }
    if array.dtype().kind() == b'b' {
        // A mask would be read as the numbers 0 and 1.
        return Err(PyTypeError::new_err(format!(
            "{name} must be integers, got a mask of bools; use numpy.flatnonzero of it"
        )));
    }
    plain_array(name, &array, &ints, array.shape(), &[])
}
