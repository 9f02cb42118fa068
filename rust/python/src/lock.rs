//! Values that threads share: one thread at a time, and consistent in a forked child.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// A value behind a lock.
///
/// No Python code runs while it is locked: a thread that waits for the lock may hold the interpreter.
pub(crate) struct Shared<T> {
    value: Mutex<T>,
    /// What the value is, for the error message of a poisoned lock.
    name: &'static str,
}

impl<T: Send> Shared<T> {
    pub(crate) fn new(name: &'static str, value: T) -> Self {
        let value = Mutex::new(value);
        Self { value, name }
    }

    /// Lock it; an error if an earlier call panicked.
    #[inline]
    pub(crate) fn lock(&self) -> PyResult<MutexGuard<'_, T>> {
        self.value.lock().map_err(|_| broken(self.name))
    }

    /// Call `work` with the value, without the interpreter if `detach`.
    pub(crate) fn with<R: Send>(
        &self,
        py: Python<'_>,
        detach: bool,
        work: impl FnOnce(&mut T) -> PyResult<R> + Send,
    ) -> PyResult<R> {
        let locked = || work(&mut *self.lock()?);
        if !detach {
            return locked();
        }
        py.detach(|| {
            let _detached = Detached::begin();
            locked()
        })
    }
}

#[cold]
fn broken(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{name} cannot be used any more: an earlier call failed in the middle; make a new one"
    ))
}

/// Calls that run without the interpreter.
static DETACHED: AtomicUsize = AtomicUsize::new(0);
/// Whether a fork is about to happen: it waits for these calls, and no other may begin.
static FORKING: AtomicBool = AtomicBool::new(false);

/// Counts a call among [`DETACHED`] until it is dropped.
struct Detached;

impl Detached {
    fn begin() -> Self {
        loop {
            DETACHED.fetch_add(1, SeqCst);
            if !FORKING.load(SeqCst) {
                return Self;
            }
            DETACHED.fetch_sub(1, SeqCst);
            thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        DETACHED.fetch_sub(1, SeqCst);
    }
}

/// Wait until no call runs without the interpreter: in the child, its lock would stay locked for ever.
///
/// The thread that forks holds the interpreter, so no other call can hold a lock then.
#[pyfunction]
fn before_fork() {
    FORKING.store(true, SeqCst);
    while DETACHED.load(SeqCst) > 0 {
        thread::sleep(Duration::from_micros(50));
    }
}

#[pyfunction]
fn after_fork_in_parent() {
    FORKING.store(false, SeqCst);
}

/// Only the thread that forked exists in the child; others that were about to begin a call do not.
#[pyfunction]
fn after_fork_in_child() {
    DETACHED.store(0, SeqCst);
    FORKING.store(false, SeqCst);
}

/// Register these with Python for its forks, on systems that fork.
pub(crate) fn watch_forks(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let Some(register) = py.import("os")?.getattr_opt("register_at_fork")? else {
        return Ok(());
    };
    let calls = pyo3::types::PyDict::new(py);
    calls.set_item("before", wrap_pyfunction!(before_fork, module)?)?;
    calls.set_item(
        "after_in_parent",
        wrap_pyfunction!(after_fork_in_parent, module)?,
    )?;
    calls.set_item(
        "after_in_child",
        wrap_pyfunction!(after_fork_in_child, module)?,
    )?;
    register.call((), Some(&calls)).map(|_| ())
}
