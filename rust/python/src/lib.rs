//! `acro._rust`: arrays in, arrays out, errors to exceptions.
//!
//! Documentation for Python users lives in `python/acro/_rust.pyi`.

mod acrobot;
mod arrays;
mod batch;
mod convert;
mod replay;
mod rows;
mod state;

/// The extension module `acro._rust`.
#[pyo3::pymodule]
mod _rust {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::acrobot::{PyAcrobots, acrobot_observe, acrobot_step};
    #[pymodule_export]
    use crate::replay::PyReplayMemory;

    /// The workspace's version, and a warning when this is a debug build.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
