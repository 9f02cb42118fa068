//! `acro._rust.Acrobots`, and the motion of single acrobots.

use std::sync::{Mutex, MutexGuard, PoisonError};

use acro_acrobot::{Acrobots, Autoreset, EnvState, Error, OBSERVATION_SIZE, Outcome, Pcg64, State};
use numpy::ndarray::ArrayView2;
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

type Observations<'py> = Bound<'py, PyArray2<f32>>;

type Stepped<'py> = (
    Observations<'py>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
    Bound<'py, PyArray1<bool>>,
    Option<Observations<'py>>,
);

type Moved<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<bool>>);

type Saved<'py> = (
    bool,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<bool>>,
    Vec<(u128, u128)>,
);

/// See `_rust.pyi`.
#[pyclass(name = "Acrobots", module = "acro._rust", frozen)]
pub(crate) struct PyAcrobots(Mutex<Acrobots>);

impl PyAcrobots {
    fn lock(&self) -> MutexGuard<'_, Acrobots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyAcrobots {
    #[new]
    fn new(seeds: Vec<u128>, max_episode_steps: u32, autoreset: &str) -> PyResult<Self> {
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
        Acrobots::new(&seeds, max_episode_steps, autoreset)
            .map(|acrobots| Self(Mutex::new(acrobots)))
            .map_err(to_py_err)
    }

    #[pyo3(signature = (seeds, mask=None, bounds=None))]
    fn reset<'py>(
        &self,
        py: Python<'py>,
        seeds: Vec<Option<u128>>,
        mask: Option<PyReadonlyArray1<'py, bool>>,
        bounds: Option<(f64, f64)>,
    ) -> PyResult<Observations<'py>> {
        let mask = mask.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
        let mut acrobots = self.lock();
        let observations = acrobots.reset(&seeds, mask, bounds).map_err(to_py_err)?;
        Ok(rows(py, observations))
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        actions: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Stepped<'py>> {
        let actions = actions.as_array();
        // Borrowed, unless the actions are a strided view.
        let actions = actions.as_standard_layout();
        let mut acrobots = self.lock();
        let Outcome {
            observations,
            rewards,
            terminated,
            truncated,
            final_observations,
        } = acrobots
            .step(actions.as_slice().unwrap_or_default())
            .map_err(to_py_err)?;
        Ok((
            rows(py, observations),
            PyArray1::from_slice(py, rewards),
            PyArray1::from_slice(py, terminated),
            PyArray1::from_slice(py, truncated),
            (!final_observations.is_empty()).then(|| rows(py, final_observations)),
        ))
    }

    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        let acrobots = self.lock();
        let states: Vec<_> = (0..acrobots.num_envs())
            .map(|env| row(acrobots.state(env)))
            .collect();
        PyArray2::from_array(py, &ArrayView2::from(states.as_slice()))
    }

    fn save<'py>(&self, py: Python<'py>) -> Saved<'py> {
        let acrobots = self.lock();
        let envs: Vec<_> = (0..acrobots.num_envs())
            .map(|env| acrobots.env_state(env))
            .collect();
        let states: Vec<_> = envs.iter().map(|env| row(env.state)).collect();
        (
            acrobots.has_reset(),
            PyArray2::from_array(py, &ArrayView2::from(states.as_slice())),
            PyArray1::from_iter(py, envs.iter().map(|env| i64::from(env.elapsed))),
            PyArray1::from_iter(py, envs.iter().map(|env| env.ended)),
            envs.iter()
                .map(|env| (env.rng.state, env.rng.increment))
                .collect(),
        )
    }

    fn restore(
        &self,
        has_reset: bool,
        states: PyReadonlyArray2<'_, f64>,
        elapsed: PyReadonlyArray1<'_, i64>,
        ended: PyReadonlyArray1<'_, bool>,
        rngs: Vec<(u128, u128)>,
    ) -> PyResult<()> {
        let states = to_states(&states)?;
        let (elapsed, ended) = (elapsed.as_slice()?, ended.as_slice()?);
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
        let envs = states
            .into_iter()
            .zip(elapsed)
            .zip(ended)
            .zip(rngs)
            .map(|(((state, &elapsed), &ended), (position, increment))| {
                Ok(EnvState {
                    state,
                    elapsed: u32::try_from(elapsed).map_err(|_| {
                        PyValueError::new_err(format!(
                            "{elapsed} elapsed steps; expected 0 or more"
                        ))
                    })?,
                    ended,
                    rng: Pcg64 {
                        state: position,
                        increment,
                    },
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        self.lock().restore(&envs, has_reset).map_err(to_py_err)
    }
}

/// See `_rust.pyi`.
#[pyfunction]
pub(crate) fn acrobot_step<'py>(
    py: Python<'py>,
    states: PyReadonlyArray2<'py, f64>,
    actions: PyReadonlyArray1<'py, i64>,
) -> PyResult<Moved<'py>> {
    let mut states = to_states(&states)?;
    let terminated =
        acro_acrobot::step_each(&mut states, actions.as_slice()?).map_err(to_py_err)?;
    let states: Vec<_> = states.into_iter().map(row).collect();
    Ok((
        PyArray2::from_array(py, &ArrayView2::from(states.as_slice())),
        PyArray1::from_vec(py, terminated),
    ))
}

/// See `_rust.pyi`.
#[pyfunction]
pub(crate) fn acrobot_observe<'py>(
    py: Python<'py>,
    states: PyReadonlyArray2<'py, f64>,
) -> PyResult<Observations<'py>> {
    let observations: Vec<_> = to_states(&states)?.iter().map(State::observation).collect();
    Ok(rows(py, &observations))
}

fn rows<'py>(py: Python<'py>, observations: &[[f32; OBSERVATION_SIZE]]) -> Observations<'py> {
    PyArray2::from_array(py, &ArrayView2::from(observations))
}

fn row(state: State) -> [f64; 4] {
    [state.theta1, state.theta2, state.velocity1, state.velocity2]
}

fn to_states(states: &PyReadonlyArray2<'_, f64>) -> PyResult<Vec<State>> {
    let (rows, _) = states.as_slice()?.as_chunks::<4>();
    let columns = states.as_array().ncols();
    if columns != 4 {
        return Err(PyValueError::new_err(format!(
            "states have {columns} columns, expected 4: theta1, theta2, velocity1, velocity2"
        )));
    }
    let state = |&[theta1, theta2, velocity1, velocity2]: &[f64; 4]| State {
        theta1,
        theta2,
        velocity1,
        velocity2,
    };
    Ok(rows.iter().map(state).collect())
}

fn to_py_err(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::NotReset | Error::PartialFirstReset { .. } | Error::Ended { .. } => {
            PyRuntimeError::new_err(message)
        }
        _ => PyValueError::new_err(message),
    }
}
