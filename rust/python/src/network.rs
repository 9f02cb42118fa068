//! `acro._rust.Network`: rounds of updates in the memory of the caller's arrays.

use std::sync::{Mutex, MutexGuard, PoisonError};

use acro_network::{
    Adam, Batch, Error, Learner, Loss, Moments, Network, Options, Progress, Rule, Shape, State,
    Stats,
};
use numpy::prelude::*;
use numpy::{
    PyArray1, PyArray2, PyArray3, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::checked;
use crate::borrow::{check_apart, column, describe, in_use, place, plain, wrong_shape};

/// See `_rust.pyi`.
#[pyclass(name = "Network", module = "acro._rust", frozen)]
pub(crate) struct PyNetwork {
    shape: Shape,
    network: Mutex<Network>,
    learner: Mutex<Learner>,
}

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (observation_size, hidden, num_actions, *, outputs=1, dueling=false, layer_norm=false))]
    fn new(
        observation_size: i64,
        hidden: Vec<i64>,
        num_actions: i64,
        outputs: i64,
        dueling: bool,
        layer_norm: bool,
    ) -> PyResult<Self> {
        let width = |(number, &width)| checked(&format!("hidden[{number}]"), 1, width);
        let hidden: Vec<usize> = hidden
            .iter()
            .enumerate()
            .map(width)
            .collect::<PyResult<_>>()?;
        let shape = Shape::with_options(
            checked("observation_size", 1, observation_size)?,
            &hidden,
            checked("num_actions", 1, num_actions)?,
            Options {
                outputs: checked("outputs", 1, outputs)?,
                is_dueling: dueling,
                has_layer_norm: layer_norm,
            },
        )
        .map_err(to_py_err)?;
        Ok(Self {
            network: Mutex::new(Network::new(shape.clone())),
            learner: Mutex::new(Learner::new(shape.clone())),
            shape,
        })
    }

    #[getter]
    fn num_parameters(&self) -> usize {
        self.shape.num_parameters()
    }

    fn forward<'py>(
        &self,
        parameters: &Bound<'py, PyAny>,
        obs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let (parameters, obs) = (self.parameters(parameters)?, self.obs_rows(obs)?);
        let rows = obs.shape()[0];
        let mut network = lock(&self.network);
        let answers = network
            .forward(parameters.as_slice()?, obs.as_slice()?)
            .map_err(to_py_err)?;
        PyArray1::from_slice(obs.py(), answers).reshape([
            rows,
            self.shape.num_actions(),
            self.shape.outputs(),
        ])
    }

    fn greedy_actions<'py>(
        &self,
        parameters: &Bound<'py, PyAny>,
        obs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (parameters, obs) = (self.parameters(parameters)?, self.obs_rows(obs)?);
        let actions = PyArray1::zeros(obs.py(), obs.shape()[0], false);
        lock(&self.network)
            .greedy_actions(
                parameters.as_slice()?,
                obs.as_slice()?,
                actions.readwrite().as_slice_mut()?,
            )
            .map_err(to_py_err)?;
        Ok(actions)
    }

    #[pyo3(signature = (
        parameters, exp_avg, exp_avg_sq, target, average, obs, actions, rewards, next_obs, discounts, weights=None, *,
        loss, double, learning_rate, beta1, beta2, eps, adam_steps, max_grad_norm, target_update_every, tau, updates,
        average_updates=None
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the arrays and numbers of a learning rule"
    )]
    fn learn<'py>(
        &self,
        py: Python<'py>,
        parameters: &Bound<'py, PyAny>,
        exp_avg: &Bound<'py, PyAny>,
        exp_avg_sq: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        average: Option<&Bound<'py, PyAny>>,
        obs: &Bound<'py, PyAny>,
        actions: &Bound<'py, PyAny>,
        rewards: &Bound<'py, PyAny>,
        next_obs: &Bound<'py, PyAny>,
        discounts: &Bound<'py, PyAny>,
        weights: Option<&Bound<'py, PyAny>>,
        loss: &str,
        double: bool,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        adam_steps: i64,
        max_grad_norm: Option<f32>,
        target_update_every: i64,
        tau: f32,
        updates: i64,
        average_updates: Option<i64>,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, Bound<'py, PyDict>)> {
        if average.is_some() != average_updates.is_some() {
            let message =
                "average and average_updates must be given together; give both or None for both";
            return Err(PyValueError::new_err(message));
        }
        let rule = Rule {
            loss: parse_loss(loss)?,
            is_double: double,
            max_grad_norm,
            adam: Adam {
                learning_rate,
                beta1,
                beta2,
                epsilon: eps,
            },
            target_update_every: count("target_update_every", 1, target_update_every)?,
            tau,
            average_updates: count("average_updates", 1, average_updates.unwrap_or(1))?,
        };
        let before = Progress {
            updates: count("updates", 0, updates)?,
            adam_steps: count("adam_steps", 0, adam_steps)?,
        };

        let mut parameters = self.changed("parameters", parameters)?;
        let mut exp_avg = self.changed("exp_avg", exp_avg)?;
        let mut exp_avg_sq = self.changed("exp_avg_sq", exp_avg_sq)?;
        let mut target = self.changed("target", target)?;
        let average = average.map(|average| self.changed("average", average));
        let mut average = average.transpose()?;
        let actions = plain::<i64>("actions", actions)?.try_readonly();
        let actions = actions.map_err(|error| in_use("actions", &error))?;
        let &[minibatches, size] = actions.shape() else {
            return Err(wrong_shape("actions", actions.shape(), "(M, B)"));
        };
        let scalars = |name, value| column::<f32>(name, value, &[minibatches, size], 1);
        let rows = |name, value| {
            column::<f32>(
                name,
                value,
                &[minibatches, size],
                self.shape.observation_size(),
            )
        };
        let (obs, next_obs) = (rows("obs", obs)?, rows("next_obs", next_obs)?);
        let (rewards, discounts) = (
            scalars("rewards", rewards)?,
            scalars("discounts", discounts)?,
        );
        let weights = weights.map(|weights| scalars("weights", weights));
        let weights = weights.transpose()?;

        let batch = Batch {
            count: minibatches,
            size,
            obs: obs.as_slice()?,
            actions: actions.as_slice()?,
            rewards: rewards.as_slice()?,
            next_obs: next_obs.as_slice()?,
            discounts: discounts.as_slice()?,
            weights: weights
                .as_ref()
                .map(|weights| weights.as_slice())
                .transpose()?,
        };
        let average = average
            .as_mut()
            .map(|average| average.as_slice_mut())
            .transpose()?;
        let mut state = State {
            parameters: parameters.as_slice_mut()?,
            moments: Moments {
                exp_avg: exp_avg.as_slice_mut()?,
                exp_avg_sq: exp_avg_sq.as_slice_mut()?,
            },
            target: target.as_slice_mut()?,
            average,
        };
        check_state_apart(&state, &batch)?;

        let td_errors = PyArray2::zeros(py, [minibatches, size], false);
        let mut new = td_errors.readwrite();
        let new = new.as_slice_mut()?;
        // The slices stay valid without the interpreter: this call holds a reference to each array, and an array in use
        // does not move. The caller promises that no other thread uses their memory in the meantime; the numpy crate
        // refuses uses of the same array, and knows nothing of another array or tensor of that memory.
        let stats = py
            .detach(|| lock(&self.learner).round(&mut state, &batch, &rule, before, new))
            .map_err(to_py_err)?;
        Ok((td_errors, to_dict(py, stats)?))
    }
}

impl PyNetwork {
    fn parameters<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
        let name = "parameters";
        column(name, value, &[self.shape.num_parameters()], 1)
    }

    /// The parameters, or an array of the same size.
    fn changed<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<PyReadwriteArrayDyn<'py, f32>> {
        let array = plain::<f32>(name, value)?;
        let length = self.shape.num_parameters();
        if array.shape() != [length] {
            return Err(wrong_shape(
                name,
                array.shape(),
                &describe([length].into_iter()),
            ));
        }
        array.try_readwrite().map_err(|error| in_use(name, &error))
    }

    fn obs_rows<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
        let rows = value
            .cast::<PyUntypedArray>()
            .ok()
            .and_then(|array| array.shape().first().copied());
        column(
            "obs",
            value,
            &[rows.unwrap_or(0)],
            self.shape.observation_size(),
        )
    }
}

/// Check that the changed arrays share no memory with other arrays.
fn check_state_apart(state: &State<'_>, batch: &Batch<'_>) -> PyResult<()> {
    let changed = [
        ("parameters", place(state.parameters)),
        ("exp_avg", place(state.moments.exp_avg)),
        ("exp_avg_sq", place(state.moments.exp_avg_sq)),
        ("target", place(state.target)),
        (
            "average",
            place(state.average.as_deref().unwrap_or_default()),
        ),
    ];
    let read = [
        ("obs", place(batch.obs)),
        ("actions", place(batch.actions)),
        ("rewards", place(batch.rewards)),
        ("next_obs", place(batch.next_obs)),
        ("discounts", place(batch.discounts)),
        ("weights", place(batch.weights.unwrap_or_default())),
    ];
    check_apart(&changed, &read)
}

fn parse_loss(name: &str) -> PyResult<Loss> {
    match name {
        "huber" => Ok(Loss::Huber),
        "mse" => Ok(Loss::Squared),
        "quantile" => Ok(Loss::Quantile),
        other => Err(PyValueError::new_err(format!(
            "loss must be huber, mse or quantile, got {other:?}"
        ))),
    }
}

fn count(name: &str, least: i64, found: i64) -> PyResult<u64> {
    checked(name, least, found).map(|count| count as u64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic only leaves working memory behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_dict(py: Python<'_>, stats: Stats) -> PyResult<Bound<'_, PyDict>> {
    let found = PyDict::new(py);
    found.set_item("loss", stats.loss)?;
    found.set_item("q_mean", stats.q_mean)?;
    found.set_item("q_max", stats.q_max)?;
    found.set_item("grad_norm", stats.grad_norm)?;
    Ok(found)
}

fn to_py_err(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}
