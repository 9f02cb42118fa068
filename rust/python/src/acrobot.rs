//! `acro._rust.Acrobots`, and single steps of the physics.

use acro_acrobot::{Acrobots, Autoreset, EnvState, Error, OBSERVATION_SIZE, Outcome, Pcg64, State};
use numpy::PyUntypedArray;
use numpy::prelude::*;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::arrays::{array_of, flags, is_plain, numbers};
use crate::convert::plain_array;
use crate::lists::{list, with_room};
use crate::lock::Shared;

type Array<'py> = Bound<'py, PyUntypedArray>;

/// Observations, rewards, terminated, truncated, final observations.
type Stepped<'py> = (
    Array<'py>,
    Array<'py>,
    Array<'py>,
    Array<'py>,
    Option<Array<'py>>,
);

/// Whether there was a reset, states, elapsed steps, ended, random streams.
type Saved<'py> = (bool, Array<'py>, Array<'py>, Array<'py>, Vec<(u128, u128)>);

/// See `_rust.pyi`.
#[pyclass(name = "Acrobots", module = "acro._rust", frozen)]
pub(crate) struct PyAcrobots(Shared<Acrobots>);

#[pymethods]
impl PyAcrobots {
    #[new]
    fn new(seeds: &Bound<'_, PyAny>, max_episode_steps: u32, autoreset: &str) -> PyResult<Self> {
        let autoreset = match autoreset {
            "NextStep" => Autoreset::NextStep,
            "SameStep" => Autoreset::SameStep,
            "Disabled" => Autoreset::Disabled,
            other => {
                return Err(PyValueError::new_err(format!(
                    "autoreset is {other:?}; it is NextStep, SameStep or Disabled"
                )));
            }
        };
        Acrobots::new(&list(seeds)?, max_episode_steps, autoreset)
            .map(|acrobots| Self(Shared::new("the acrobots", acrobots)))
            .map_err(to_py_err)
    }

    #[pyo3(signature = (seeds, mask=None, bounds=None))]
    fn reset<'py>(
        &self,
        py: Python<'py>,
        seeds: &Bound<'py, PyAny>,
        mask: Option<&Bound<'py, PyAny>>,
        bounds: Option<(f64, f64)>,
    ) -> PyResult<Array<'py>> {
        let seeds = list::<Option<u128>>(seeds)?;
        let bools = numpy::dtype::<bool>(py);
        let mask = mask.map(|mask| plain_array("mask", mask, &bools, &[seeds.len()], &[]));
        let mask = mask.transpose()?;
        let mask = mask.as_ref().map(flags).transpose()?;
        let mut acrobots = self.0.lock()?;
        let observations = acrobots.reset(&seeds, mask.as_deref(), bounds);
        rows(py, observations.map_err(to_py_err)?)
    }

    fn step<'py>(&self, py: Python<'py>, actions: &Bound<'py, PyAny>) -> PyResult<Stepped<'py>> {
        // Python converts other actions, where error messages are better.
        let plain = actions.cast::<PyUntypedArray>().ok();
        let plain = plain.filter(|array| array.ndim() == 1);
        let Some(actions) = plain.filter(|array| is_plain(array, &numpy::dtype::<i64>(py))) else {
            return Err(PyTypeError::new_err("actions must be a plain int64 vector"));
        };
        let mut acrobots = self.0.lock()?;
        let Outcome {
            observations,
            rewards,
            terminated,
            truncated,
            final_observations,
        } = acrobots.step(numbers(actions)).map_err(to_py_err)?;
        let finals = (!final_observations.is_empty()).then(|| rows(py, final_observations));
        Ok((
            rows(py, observations)?,
            array_of(py, &[rewards.len()], rewards)?,
            array_of(py, &[terminated.len()], terminated)?,
            array_of(py, &[truncated.len()], truncated)?,
            finals.transpose()?,
        ))
    }

    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Array<'py>> {
        let acrobots = self.0.lock()?;
        let mut states = with_room(acrobots.num_envs())?;
        states.extend((0..acrobots.num_envs()).map(|env| row(acrobots.state(env))));
        drop(acrobots);
        rows(py, &states)
    }

    fn save<'py>(&self, py: Python<'py>) -> PyResult<Saved<'py>> {
        let acrobots = self.0.lock()?;
        let (has_reset, num_envs) = (acrobots.has_reset(), acrobots.num_envs());
        let (mut states, mut elapsed) = (with_room(num_envs)?, with_room(num_envs)?);
        let (mut ended, mut rngs) = (with_room(num_envs)?, with_room(num_envs)?);
        for env in (0..num_envs).map(|env| acrobots.env_state(env)) {
            states.push(row(env.state));
            elapsed.push(i64::from(env.elapsed));
            ended.push(env.ended);
            rngs.push((env.rng.state, env.rng.increment));
        }
        drop(acrobots);
        Ok((
            has_reset,
            rows(py, &states)?,
            array_of(py, &[num_envs], &elapsed)?,
            array_of(py, &[num_envs], &ended)?,
            rngs,
        ))
    }

    fn restore(
        &self,
        has_reset: bool,
        states: &Bound<'_, PyAny>,
        elapsed: &Bound<'_, PyAny>,
        ended: &Bound<'_, PyAny>,
        rngs: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let states = to_states(states)?;
        let elapsed = vector("elapsed", elapsed, &numpy::dtype::<i64>(elapsed.py()))?;
        let ended = vector("ended", ended, &numpy::dtype::<bool>(ended.py()))?;
        let (elapsed, ended) = (numbers::<i64>(&elapsed), flags(&ended)?);
        let rngs = list::<(u128, u128)>(rngs)?;
        if states.len() != elapsed.len()
            || states.len() != ended.len()
            || states.len() != rngs.len()
        {
            return Err(PyValueError::new_err(format!(
                "{} states, {} elapsed, {} ended and {} rngs; there must be one of each per environment",
                states.len(),
                elapsed.len(),
                ended.len(),
                rngs.len()
            )));
        }
        let mut envs = with_room(states.len())?;
        for (env, state) in states.into_iter().enumerate() {
            let found = elapsed[env];
            let elapsed = u32::try_from(found).map_err(|_| {
                PyValueError::new_err(format!(
                    "environment {env} has {found} elapsed steps; expected from 0 to 2**32 - 1"
                ))
            })?;
            let (position, increment) = rngs[env];
            envs.push(EnvState {
                state,
                elapsed,
                ended: ended[env],
                rng: Pcg64 {
                    state: position,
                    increment,
                },
            });
        }
        self.0.lock()?.restore(&envs, has_reset).map_err(to_py_err)
    }
}

/// See `_rust.pyi`.
#[pyfunction]
pub(crate) fn acrobot_step<'py>(
    states: &Bound<'py, PyAny>,
    actions: &Bound<'py, PyAny>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let py = states.py();
    let mut states = to_states(states)?;
    let actions = vector("actions", actions, &numpy::dtype::<i64>(py))?;
    let terminated = acro_acrobot::step_each(&mut states, numbers(&actions)).map_err(to_py_err)?;
    let mut moved = with_room(states.len())?;
    moved.extend(states.into_iter().map(row));
    Ok((
        rows(py, &moved)?,
        array_of(py, &[terminated.len()], &terminated)?,
    ))
}

/// See `_rust.pyi`.
#[pyfunction]
pub(crate) fn acrobot_observe<'py>(states: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    let py = states.py();
    let states = to_states(states)?;
    let mut observations: Vec<[f32; OBSERVATION_SIZE]> = with_room(states.len())?;
    observations.extend(states.iter().map(State::observation));
    rows(py, &observations)
}

/// A new array with these rows.
fn rows<'py, T: numpy::Element + Copy, const N: usize>(
    py: Python<'py>,
    rows: &[[T; N]],
) -> PyResult<Array<'py>> {
    array_of(py, &[rows.len(), N], rows.as_flattened())
}

fn row(state: State) -> [f64; 4] {
    [state.theta1, state.theta2, state.velocity1, state.velocity2]
}

/// A plain array of one axis.
fn vector<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
    dtype: &Bound<'py, numpy::PyArrayDescr>,
) -> PyResult<Array<'py>> {
    plain_array(name, value, dtype, &[value.len()?], &[])
}

fn to_states(states: &Bound<'_, PyAny>) -> PyResult<Vec<State>> {
    let floats = numpy::dtype::<f64>(states.py());
    let array = states.cast::<PyUntypedArray>()?;
    let &[count, columns] = array.shape() else {
        let axes = array.ndim();
        return Err(PyValueError::new_err(format!(
            "states have {axes} axes, expected 2"
        )));
    };
    if columns != 4 {
        return Err(PyValueError::new_err(format!(
            "states have {columns} columns, expected 4: theta1, theta2, velocity1, velocity2"
        )));
    }
    let array = plain_array("states", array, &floats, &[count], &[4])?;
    let (rows, _) = numbers::<f64>(&array).as_chunks::<4>();
    let state = |&[theta1, theta2, velocity1, velocity2]: &[f64; 4]| State {
        theta1,
        theta2,
        velocity1,
        velocity2,
    };
    let mut states = with_room(count)?;
    states.extend(rows.iter().map(state));
    Ok(states)
}

fn to_py_err(error: Error) -> PyErr {
    let how = match error {
        Error::PartialFirstReset { .. } => ", without options['reset_mask']",
        Error::Ended { .. } => ", with options={'reset_mask': terminated | truncated}",
        _ => "",
    };
    let message = format!("{error}{how}");
    match error {
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        Error::NotReset | Error::PartialFirstReset { .. } | Error::Ended { .. } => {
            PyRuntimeError::new_err(message)
        }
        _ => PyValueError::new_err(message),
    }
}
