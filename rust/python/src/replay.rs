//! `acro._rust.ReplayMemory`: the binding of `acro_replay::ReplayMemory`.

use std::sync::{Mutex, MutexGuard};

use acro_replay::{Columns, Config, Draw, Error, ReplayMemory, State, Step, Steps};
use numpy::prelude::*;
use numpy::{IntoPyArray, PyArrayDescr, PyUntypedArray};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arrays::{Fresh, bytes, elements, zeros};
use crate::convert::plain_array;

/// Batches of more bytes than this are copied with other Python threads running.
const DETACH_BYTES: usize = 256 << 10;

/// See `_rust.pyi`.
#[pyclass(name = "ReplayMemory", module = "acro._rust", subclass, frozen)]
pub(crate) struct PyReplayMemory {
    // No Python code runs while it is locked: a thread that waits for the lock may hold the interpreter.
    memory: Mutex<ReplayMemory>,
    capacity: usize,
    num_envs: usize,
    alpha: Option<f64>,
    obs: Rows,
    action: Rows,
}

/// What one row of a column is.
struct Rows {
    shape: Vec<usize>,
    dtype: Py<PyArrayDescr>,
    nbytes: usize,
}

#[pymethods]
impl PyReplayMemory {
    #[new]
    #[pyo3(signature = (capacity, obs_shape, obs_dtype, action_shape, action_dtype, *, num_envs, seed, alpha))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a constructor"
    )]
    fn new(
        capacity: usize,
        obs_shape: Vec<usize>,
        obs_dtype: &Bound<'_, PyArrayDescr>,
        action_shape: Vec<usize>,
        action_dtype: &Bound<'_, PyArrayDescr>,
        num_envs: usize,
        seed: u64,
        alpha: Option<f64>,
    ) -> PyResult<Self> {
        let (obs, action) = (
            Rows::new(obs_shape, obs_dtype)?,
            Rows::new(action_shape, action_dtype)?,
        );
        let (obs_bytes, action_bytes) = (obs.nbytes, action.nbytes);
        let config = Config {
            capacity,
            num_envs,
            obs_bytes,
            action_bytes,
            seed,
            alpha,
        };
        let memory = ReplayMemory::new(config).map_err(to_py_err)?;
        let capacity = memory.capacity();
        Ok(Self {
            memory: Mutex::new(memory),
            capacity,
            num_envs,
            alpha,
            obs,
            action,
        })
    }

    /// See `_rust.pyi`.
    #[pyo3(signature = (obs, action, reward, next_obs, terminated, truncated=false, *, env=0))]
    #[expect(clippy::too_many_arguments, reason = "a transition's fields")]
    fn push(
        &self,
        obs: &Bound<'_, PyAny>,
        action: &Bound<'_, PyAny>,
        reward: f64,
        next_obs: &Bound<'_, PyAny>,
        terminated: bool,
        truncated: bool,
        env: i64,
    ) -> PyResult<()> {
        let py = obs.py();
        let obs = self.obs.one("obs", obs)?;
        let next_obs = self.obs.one("next_obs", next_obs)?;
        let action = self.action.scalar_or_array("action", py, action)?;
        let (obs, action, next_obs) = (bytes(&obs), action.bytes(), bytes(&next_obs));
        let step = Step {
            obs,
            action,
            reward: reward as f32,
            next_obs,
            terminated,
            truncated,
        };
        self.lock()?.push(env, &step).map_err(to_py_err)
    }

    /// See `_rust.pyi`.
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
            .map(|envs| plain_array("envs", envs, &numpy::dtype::<i64>(py), &[rows]))
            .transpose()?;
        let obs = self.obs.many("obs", obs, rows)?;
        let next_obs = self.obs.many("next_obs", next_obs, rows)?;
        let actions = self.action.many("actions", actions, rows)?;
        let rewards = plain_rewards(rewards, rows)?;
        let flags = numpy::dtype::<bool>(py);
        let terminated = plain_array("terminated", terminated, &flags, &[rows])?;
        let truncated = plain_array("truncated", truncated, &flags, &[rows])?;
        let steps = Steps {
            envs: envs.as_ref().map(elements::<i64>),
            obs: bytes(&obs),
            actions: bytes(&actions),
            rewards: &rewards,
            next_obs: bytes(&next_obs),
            terminated: &truths(&terminated),
            truncated: &truths(&truncated),
        };
        self.lock()?.extend(&steps).map_err(to_py_err)
    }

    /// See `_rust.pyi`.
    #[pyo3(signature = (batch_size, *, n_step=1, gamma=0.99, replace=true, beta=0.4))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        batch_size: BatchShape,
        n_step: i64,
        gamma: f64,
        replace: bool,
        beta: f64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (rounds, batch, shape) = batch_size.numbers()?;
        let draw = Draw {
            rounds,
            batch_size: batch,
            n_step: steps(n_step)?,
            gamma,
            replace,
            beta,
        };
        let mut weights = match self.alpha {
            Some(_) => Some(Fresh::<f32>::new(py, &shape)?),
            None => None,
        };
        let weight_slice = weights.as_mut().map(Fresh::take);
        let batch = self.columns(py, &shape, |memory, columns| {
            memory.sample(draw, columns, weight_slice)
        })?;
        batch.into_tuple(py, weights.map(|weights| weights.array))
    }

    /// See `_rust.pyi`.
    #[pyo3(signature = (indices, *, n_step=1, gamma=0.99))]
    fn gather<'py>(
        &self,
        py: Python<'py>,
        indices: &Bound<'py, PyAny>,
        n_step: i64,
        gamma: f64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let shape = shape_of(indices)?;
        let indices = plain_array("indices", indices, &numpy::dtype::<i64>(py), &shape)?;
        let n_step = steps(n_step)?;
        // A copy, since the call may leave other threads running.
        let asked = elements::<i64>(&indices).to_vec();
        let batch = self.columns(py, &shape, |memory, columns| {
            memory.gather(&asked, n_step, gamma, columns)
        })?;
        batch.into_tuple(py, None)
    }

    /// See `_rust.pyi`.
    fn update_priorities(
        &self,
        py: Python<'_>,
        indices: &Bound<'_, PyAny>,
        priorities: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let shape = shape_of(indices)?;
        let indices = plain_array("indices", indices, &numpy::dtype::<i64>(py), &shape)?;
        let priorities = plain_array("priorities", priorities, &numpy::dtype::<f64>(py), &shape)?;
        self.lock()?
            .update_priorities(elements(&indices), elements(&priorities))
            .map_err(to_py_err)
    }

    /// See `_rust.pyi`.
    fn clear(&self) -> PyResult<()> {
        self.lock()?.clear();
        Ok(())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.lock()?.len())
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
        PyTuple::new(py, &self.obs.shape)
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
        Ok(self.lock()?.nbytes())
    }

    #[getter]
    fn is_full(&self) -> PyResult<bool> {
        Ok(self.lock()?.is_full())
    }

    /// See `_rust.pyi`.
    fn _state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.lock()?.state();
        let columns = PyDict::new(py);
        columns.set_item(
            "rng",
            state.rng.map(|word| word as i64).to_vec().into_pyarray(py),
        )?;
        columns.set_item("counts", state.counts.into_pyarray(py))?;
        columns.set_item("lens", state.lens.into_pyarray(py))?;
        columns.set_item("heads", state.heads.into_pyarray(py))?;
        columns.set_item("open", state.open.into_pyarray(py))?;
        columns.set_item("obs", state.obs.into_pyarray(py))?;
        columns.set_item("actions", state.actions.into_pyarray(py))?;
        columns.set_item("rewards", state.rewards.into_pyarray(py))?;
        columns.set_item("terminated", state.terminated.into_pyarray(py))?;
        columns.set_item("last", state.last.into_pyarray(py))?;
        columns.set_item("finals", state.finals.into_pyarray(py))?;
        columns.set_item(
            "priorities",
            state.priorities.map(|leaves| leaves.into_pyarray(py)),
        )?;
        Ok(columns)
    }

    /// See `_rust.pyi`.
    fn _restore(&self, columns: &Bound<'_, PyDict>) -> PyResult<()> {
        let column = |name: &str| -> PyResult<Bound<'_, PyUntypedArray>> {
            Ok(columns
                .as_any()
                .get_item(name)?
                .cast_into::<PyUntypedArray>()?)
        };
        let words = elements::<i64>(&column("rng")?).to_vec();
        let rng = words
            .try_into()
            .map_err(|_| PyValueError::new_err("rng must hold 4 numbers"))?;
        let priorities = columns.as_any().get_item("priorities")?;
        let priorities = if priorities.is_none() {
            None
        } else {
            Some(elements::<f64>(&priorities.cast_into::<PyUntypedArray>()?).to_vec())
        };
        let state = State {
            rng: <[i64; 4]>::map(rng, |word| word as u64),
            counts: elements(&column("counts")?).to_vec(),
            lens: elements(&column("lens")?).to_vec(),
            heads: elements(&column("heads")?).to_vec(),
            open: truths(&column("open")?),
            obs: bytes(&column("obs")?).to_vec(),
            actions: bytes(&column("actions")?).to_vec(),
            rewards: elements(&column("rewards")?).to_vec(),
            terminated: truths(&column("terminated")?),
            last: truths(&column("last")?),
            finals: bytes(&column("finals")?).to_vec(),
            priorities,
        };
        self.lock()?.restore(&state).map_err(to_py_err)
    }
}

impl PyReplayMemory {
    fn lock(&self) -> PyResult<MutexGuard<'_, ReplayMemory>> {
        let broken =
            "the replay memory cannot be used any more: an earlier call failed in the middle";
        self.memory
            .lock()
            .map_err(|_| PyRuntimeError::new_err(broken))
    }

    /// New arrays for a batch of this shape, written by `write`.
    fn columns<'py>(
        &self,
        py: Python<'py>,
        shape: &[usize],
        write: impl FnOnce(&mut ReplayMemory, Columns<'_>) -> Result<(), Error> + Send,
    ) -> PyResult<Batch<'py>> {
        let (obs, obs_bytes) = self.obs.zeros(py, shape)?;
        let (next_obs, next_obs_bytes) = self.obs.zeros(py, shape)?;
        let (actions, action_bytes) = self.action.zeros(py, shape)?;
        let mut rewards = Fresh::new(py, shape)?;
        let mut discounts = Fresh::new(py, shape)?;
        let mut terminated = Fresh::new(py, shape)?;
        let mut indices = Fresh::new(py, shape)?;
        let large = obs_bytes.len() + next_obs_bytes.len() + action_bytes.len() > DETACH_BYTES;
        let columns = Columns {
            obs: obs_bytes,
            actions: action_bytes,
            rewards: rewards.take(),
            next_obs: next_obs_bytes,
            discounts: discounts.take(),
            terminated: terminated.take(),
            indices: indices.take(),
        };
        let work = || -> PyResult<()> { write(&mut *self.lock()?, columns).map_err(to_py_err) };
        if large {
            py.detach(work)?
        } else {
            work()?
        }
        let (rewards, discounts) = (rewards.array, discounts.array);
        let (terminated, indices) = (terminated.array, indices.array);
        Ok(Batch {
            obs,
            actions,
            rewards,
            next_obs,
            discounts,
            terminated,
            indices,
        })
    }
}

/// A batch's arrays.
struct Batch<'py> {
    obs: Bound<'py, PyUntypedArray>,
    actions: Bound<'py, PyUntypedArray>,
    rewards: Bound<'py, PyUntypedArray>,
    next_obs: Bound<'py, PyUntypedArray>,
    discounts: Bound<'py, PyUntypedArray>,
    terminated: Bound<'py, PyUntypedArray>,
    indices: Bound<'py, PyUntypedArray>,
}

impl<'py> Batch<'py> {
    fn into_tuple(
        self,
        py: Python<'py>,
        weights: Option<Bound<'py, PyUntypedArray>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Self {
            obs,
            actions,
            rewards,
            next_obs,
            discounts,
            terminated,
            indices,
        } = self;
        (
            obs, actions, rewards, next_obs, discounts, terminated, indices, weights,
        )
            .into_pyobject(py)
    }
}

/// What `sample` can be asked for.
#[derive(FromPyObject)]
enum BatchShape {
    One(i64),
    Rounds(i64, i64),
}

impl BatchShape {
    /// The rounds, the batch size of one, and the leading axes.
    fn numbers(&self) -> PyResult<(usize, usize, Vec<usize>)> {
        let (rounds, batch) = match *self {
            Self::One(batch) => (None, batch),
            Self::Rounds(rounds, batch) => (Some(rounds), batch),
        };
        let Some(batch) = usize::try_from(batch).ok().filter(|&batch| batch > 0) else {
            return Err(PyValueError::new_err(format!(
                "batch_size must be at least 1, got {batch}"
            )));
        };
        match rounds.map(|rounds| usize::try_from(rounds).map_err(|_| rounds)) {
            None => Ok((1, batch, vec![batch])),
            Some(Ok(rounds)) => Ok((rounds, batch, vec![rounds, batch])),
            Some(Err(rounds)) => Err(PyValueError::new_err(format!(
                "a number of minibatches must be at least 0, got {rounds}"
            ))),
        }
    }
}

impl Rows {
    fn new(shape: Vec<usize>, dtype: &Bound<'_, PyArrayDescr>) -> PyResult<Self> {
        let nbytes = shape
            .iter()
            .try_fold(dtype.itemsize(), |bytes, &length| bytes.checked_mul(length));
        let nbytes = nbytes.filter(|&bytes| bytes < 1 << 40);
        let nbytes = nbytes.ok_or_else(|| {
            PyValueError::new_err(format!("a row of shape {shape:?} is too large"))
        })?;
        Ok(Self {
            shape,
            dtype: dtype.clone().unbind(),
            nbytes,
        })
    }

    fn one<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyUntypedArray>> {
        plain_array(name, value, self.dtype.bind(value.py()), &self.shape)
    }

    fn many<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
        rows: usize,
    ) -> PyResult<Bound<'py, PyUntypedArray>> {
        plain_array(
            name,
            value,
            self.dtype.bind(value.py()),
            &self.with_leading(&[rows]),
        )
    }

    /// The common case of one Python number for an int64, without an array.
    fn scalar_or_array<'py>(
        &self,
        name: &str,
        py: Python<'py>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Row<'py>> {
        if self.shape.is_empty()
            && self.dtype.bind(py).is_equiv_to(&numpy::dtype::<i64>(py))
            && let Ok(number) = value.extract::<i64>()
        {
            return Ok(Row::Number(number.to_ne_bytes()));
        }
        self.one(name, value).map(Row::Array)
    }

    fn zeros<'py, 'a>(
        &self,
        py: Python<'py>,
        leading: &[usize],
    ) -> PyResult<(Bound<'py, PyUntypedArray>, &'a mut [u8])> {
        zeros(self.dtype.bind(py), &self.with_leading(leading))
    }

    fn with_leading(&self, leading: &[usize]) -> Vec<usize> {
        [leading, &self.shape].concat()
    }
}

/// One action.
enum Row<'py> {
    Number([u8; 8]),
    Array(Bound<'py, PyUntypedArray>),
}

impl Row<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Number(bytes) => bytes,
            Self::Array(array) => bytes(array),
        }
    }
}

fn plain_rewards(value: &Bound<'_, PyAny>, rows: usize) -> PyResult<Vec<f32>> {
    let py = value.py();
    // Gymnasium's vector environments reward in float64.
    if let Ok(array) = value.cast::<PyUntypedArray>()
        && array.shape() == [rows]
        && crate::arrays::is_plain(array, &numpy::dtype::<f64>(py))
    {
        return Ok(elements::<f64>(array)
            .iter()
            .map(|&reward| reward as f32)
            .collect());
    }
    Ok(elements(&plain_array(
        "rewards",
        value,
        &numpy::dtype::<f32>(py),
        &[rows],
    )?)
    .to_vec())
}

fn steps(n_step: i64) -> PyResult<usize> {
    let message = || PyValueError::new_err(format!("n_step must be at least 1, got {n_step}"));
    usize::try_from(n_step)
        .ok()
        .filter(|&steps| steps > 0)
        .ok_or_else(message)
}

fn truths(array: &Bound<'_, PyUntypedArray>) -> Vec<bool> {
    bytes(array).iter().map(|&byte| byte != 0).collect()
}

fn shape_of(value: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    match value.cast::<PyUntypedArray>() {
        Ok(array) => Ok(array.shape().to_vec()),
        Err(_) => Ok(vec![value.len()?]),
    }
}

/// The exception that says what a core error says.
fn to_py_err(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        Error::NotPrioritized => PyRuntimeError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
