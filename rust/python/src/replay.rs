//! `acro._rust.ReplayMemory`: the binding of `acro_replay::ReplayMemory`.

use acro_replay::{Config, Draw, Error, ObsKind, Padding, ReplayMemory, Step, Steps};
use numpy::prelude::*;
use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::arguments::{
    Rewards, beta_of, env_of, gamma_of, index_array, n_step_of, padding_name, padding_of,
    stored_reward,
};
use crate::arrays::{Output, bytes, flags, numbers};
use crate::batch::{Arrays, DETACH_BYTES, Shape, at_least};
use crate::convert::{number, plain_array};
use crate::lists::with_room;
use crate::lock::Shared;
use crate::rows::Rows;
use crate::spare::Spare;
use crate::state;

/// See `_rust.pyi`.
#[pyclass(name = "ReplayMemory", module = "acro._rust", subclass, frozen)]
pub(crate) struct PyReplayMemory {
    memory: Shared<ReplayMemory>,
    capacity: usize,
    num_envs: usize,
    alpha: Option<f64>,
    frame_stack: Option<usize>,
    padding: Padding,
    /// The shape and dtype of pushed observations.
    frame: Rows,
    /// The shape and dtype of drawn observations, frames or stacks.
    obs: Rows,
    action: Rows,
    /// The class `Batch`, a named tuple.
    batch: Py<PyType>,
    spare: Spare,
}

#[pymethods]
impl PyReplayMemory {
    #[new]
    #[pyo3(signature = (batch, capacity, obs_shape, obs_dtype, action_shape, action_dtype, *, num_envs, seed, alpha, frame_stack, padding))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a constructor"
    )]
    fn new(
        batch: Py<PyType>,
        capacity: &Bound<'_, PyAny>,
        obs_shape: Vec<usize>,
        obs_dtype: &Bound<'_, PyArrayDescr>,
        action_shape: Vec<usize>,
        action_dtype: &Bound<'_, PyArrayDescr>,
        num_envs: &Bound<'_, PyAny>,
        seed: &Bound<'_, PyAny>,
        alpha: Option<f64>,
        frame_stack: Option<&Bound<'_, PyAny>>,
        padding: &str,
    ) -> PyResult<Self> {
        let capacity = at_least("capacity", 1, capacity)?;
        let num_envs = at_least("num_envs", 1, num_envs)?;
        let seed = number("seed", "an int from 0 to 2**64 - 1", seed)?;
        let frame_stack = frame_stack
            .map(|frames| at_least("frame_stack", 1, frames))
            .transpose()?;
        let padding = padding_of(padding)?;
        let stack_shape: Vec<usize> = frame_stack.iter().chain(&obs_shape).copied().collect();
        let frame = Rows::new("obs_shape", obs_shape, obs_dtype)?;
        let obs = Rows::new("obs_shape", stack_shape, obs_dtype)?;
        let action = Rows::new("action_shape", action_shape, action_dtype)?;
        let (obs_bytes, action_bytes) = (frame.nbytes, action.nbytes);
        let config = Config {
            capacity,
            num_envs,
            obs_bytes,
            obs_kind: match (obs_dtype.kind(), obs_dtype.itemsize()) {
                (b'f', 2) => ObsKind::Float16,
                (b'f', 4) => ObsKind::Float32,
                (b'f', 8) => ObsKind::Float64,
                _ => ObsKind::Bits,
            },
            action_bytes,
            seed,
            alpha,
            frame_stack: frame_stack.unwrap_or(1),
            padding,
        };
        let memory = ReplayMemory::new(config).map_err(to_py_err)?;
        let capacity = memory.capacity();
        Ok(Self {
            memory: Shared::new("the replay memory", memory),
            capacity,
            num_envs,
            alpha,
            frame_stack,
            padding,
            frame,
            obs,
            action,
            batch,
            spare: Spare::default(),
        })
    }

    /// Store one transition of environment `env`.
    #[pyo3(signature = (obs, action, reward, next_obs, terminated, truncated=false, *, env=0))]
    #[expect(clippy::too_many_arguments, reason = "a transition's fields")]
    fn push(
        &self,
        obs: &Bound<'_, PyAny>,
        action: &Bound<'_, PyAny>,
        reward: &Bound<'_, PyAny>,
        next_obs: &Bound<'_, PyAny>,
        terminated: bool,
        truncated: bool,
        #[pyo3(from_py_with = env_of)] env: i64,
    ) -> PyResult<()> {
        let obs = self.frame.one("obs", obs)?;
        let next_obs = self.frame.one("next_obs", next_obs)?;
        let action = self.action.one_or_int("action", action)?;
        let (obs, action, next_obs) = (bytes(&obs), action.bytes(), bytes(&next_obs));
        let step = Step {
            obs,
            action,
            reward: stored_reward("reward", number("reward", "a number", reward)?)?,
            next_obs,
            terminated,
            truncated,
        };
        self.memory.lock()?.push(env, &step).map_err(to_py_err)
    }

    /// Store one transition of every environment, or of those in `envs`, in order.
    #[pyo3(signature = (obs, actions, rewards, next_obs, terminated, truncated, *, envs=None))]
    #[expect(clippy::too_many_arguments, reason = "a transition's fields")]
    fn extend(
        &self,
        obs: &Bound<'_, PyAny>,
        actions: &Bound<'_, PyAny>,
        rewards: &Bound<'_, PyAny>,
        next_obs: &Bound<'_, PyAny>,
        terminated: &Bound<'_, PyAny>,
        truncated: &Bound<'_, PyAny>,
        envs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = obs.py();
        let rows = match envs {
            Some(envs) => envs.len()?,
            None => self.num_envs,
        };
        let envs = envs
            .map(|envs| index_array("envs", envs))
            .transpose()?
            .map(|envs| plain_array("envs", &envs, &numpy::dtype::<i64>(py), &[rows], &[]))
            .transpose()?;
        let obs = self.frame.many("obs", obs, rows)?;
        let next_obs = self.frame.many("next_obs", next_obs, rows)?;
        let actions = self.action.many("actions", actions, rows)?;
        let rewards = Rewards::new(rewards, rows)?;
        let bools = numpy::dtype::<bool>(py);
        let terminated = plain_array("terminated", terminated, &bools, &[rows], &[])?;
        let truncated = plain_array("truncated", truncated, &bools, &[rows], &[])?;
        let steps = Steps {
            envs: envs.as_ref().map(numbers::<i64>),
            obs: bytes(&obs),
            actions: bytes(&actions),
            rewards: &rewards.of()?,
            next_obs: bytes(&next_obs),
            terminated: &flags(&terminated)?,
            truncated: &flags(&truncated)?,
        };
        self.memory.lock()?.extend(&steps).map_err(to_py_err)
    }

    /// Draw random transitions.
    #[pyo3(signature = (batch_size, *, n_step=1, gamma=0.99, replace=true, beta=0.4, out=None))]
    fn sample<'py>(
        &self,
        batch_size: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = n_step_of)] n_step: usize,
        #[pyo3(from_py_with = gamma_of)] gamma: f64,
        replace: bool,
        #[pyo3(from_py_with = beta_of)] beta: f64,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = batch_size.py();
        let shape = Shape::of_batch_size(batch_size)?;
        let (minibatches, batch_size) = (shape.minibatches(), shape.batch_size());
        let draw = Draw {
            minibatches,
            batch_size,
            n_step,
            gamma,
            replace,
            beta,
        };
        let out = out.map(|out| self.batch_of_caller(out)).transpose()?;
        let weighted = self.alpha.is_some();
        let mut arrays = Arrays::new(
            py,
            &self.spare,
            &self.obs,
            &self.action,
            &shape,
            weighted,
            out,
        )?;
        arrays.write(|columns, weights, detach| {
            self.memory.with(py, detach, |memory| {
                memory
                    .sample_into(draw, columns, weights)
                    .map_err(to_py_err)
            })
        })?;
        arrays.into_batch(py, &self.batch)
    }

    /// Return the transitions with these `indices` of earlier batches, without weights.
    #[pyo3(signature = (indices, *, n_step=1, gamma=0.99))]
    fn gather<'py>(
        &self,
        indices: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = n_step_of)] n_step: usize,
        #[pyo3(from_py_with = gamma_of)] gamma: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = indices.py();
        let indices = index_array("indices", indices)?;
        let shape = Shape::of_indices(indices.shape())?;
        // A copy, since other threads may write to the caller's array during the call.
        let borrowed = numbers::<i64>(&indices);
        let mut asked = with_room(borrowed.len())?;
        asked.extend_from_slice(borrowed);
        let mut arrays = Arrays::new(
            py,
            &self.spare,
            &self.obs,
            &self.action,
            &shape,
            false,
            None,
        )?;
        arrays.write(|columns, _, detach| {
            self.memory.with(py, detach, |memory| {
                memory
                    .gather_into(&asked, n_step, gamma, columns)
                    .map_err(to_py_err)
            })
        })?;
        arrays.into_batch(py, &self.batch)
    }

    /// Return what the network sees when the environments show `obs`.
    fn latest<'py>(&self, obs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
        let obs = self.frame.many("obs", obs, self.num_envs)?;
        let dtype = self.obs.dtype.bind(obs.py()).clone();
        let mut stacks = Output::new(dtype, &[self.num_envs], &self.obs.shape)?;
        self.memory
            .lock()?
            .latest_into(bytes(&obs), stacks.bytes())
            .map_err(to_py_err)?;
        Ok(stacks.into_array())
    }

    /// Set transitions' priorities; return how many of `indices` are still in the memory.
    fn update_priorities(
        &self,
        indices: &Bound<'_, PyAny>,
        priorities: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let indices = index_array("indices", indices)?;
        let floats = numpy::dtype::<f64>(indices.py());
        let priorities = plain_array("priorities", priorities, &floats, indices.shape(), &[])?;
        self.memory
            .lock()?
            .update_priorities(numbers(&indices), numbers(&priorities))
            .map_err(to_py_err)
    }

    /// Remove all transitions.
    fn clear(&self) -> PyResult<()> {
        self.memory.lock()?.clear();
        Ok(())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.memory.lock()?.len())
    }

    #[getter]
    fn capacity(&self) -> usize {
        self.capacity
    }

    #[getter]
    fn num_envs(&self) -> usize {
        self.num_envs
    }

    #[getter]
    fn alpha(&self) -> Option<f64> {
        self.alpha
    }

    #[getter]
    fn obs_shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.frame.shape)
    }

    #[getter]
    fn frame_stack(&self) -> Option<usize> {
        self.frame_stack
    }

    #[getter]
    fn padding(&self) -> &'static str {
        padding_name(self.padding)
    }

    #[getter]
    fn obs_dtype(&self, py: Python<'_>) -> Py<PyArrayDescr> {
        self.obs.dtype.clone_ref(py)
    }

    #[getter]
    fn action_shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.action.shape)
    }

    #[getter]
    fn action_dtype(&self, py: Python<'_>) -> Py<PyArrayDescr> {
        self.action.dtype.clone_ref(py)
    }

    #[getter]
    fn nbytes(&self) -> PyResult<usize> {
        Ok(self.memory.lock()?.nbytes())
    }

    #[getter]
    fn is_full(&self) -> PyResult<bool> {
        Ok(self.memory.lock()?.is_full())
    }

    /// See `_rust.pyi`.
    fn _state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let large = self.memory.lock()?.nbytes() > DETACH_BYTES;
        let state = self
            .memory
            .with(py, large, |memory| memory.state().map_err(to_py_err))?;
        state::to_columns(py, state)
    }

    /// See `_rust.pyi`.
    fn _restore(&self, columns: &Bound<'_, PyDict>) -> PyResult<()> {
        state::of_columns(columns, |state| {
            self.memory.lock()?.restore(state).map_err(to_py_err)
        })
    }
}

impl PyReplayMemory {
    /// `out` as a tuple of columns.
    fn batch_of_caller<'a, 'py>(
        &self,
        out: &'a Bound<'py, PyAny>,
    ) -> PyResult<&'a Bound<'py, PyTuple>> {
        let kind = self.batch.bind(out.py());
        if !out.get_type().is(kind) {
            let found = out.get_type().name()?;
            let message = format!("out must be a Batch that sample returned, got {found}");
            return Err(PyTypeError::new_err(message));
        }
        Ok(out.cast::<PyTuple>()?)
    }
}

/// The Python exception for an error of the core.
fn to_py_err(error: Error) -> PyErr {
    let how = match error {
        Error::TooFew { .. } | Error::TooFewPriorities { .. } => ": replace=True",
        Error::NotPrioritized => ": prioritized=True",
        _ => "",
    };
    let message = format!("{error}{how}");
    match error {
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        Error::NotPrioritized => PyRuntimeError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
