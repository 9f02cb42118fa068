//! How much memory is left.

use pyo3::prelude::*;

/// The bytes that can be allocated; None if the system does not tell.
#[pyfunction]
pub(crate) fn available_bytes() -> Option<u64> {
    acro_replay::available_bytes()
}
