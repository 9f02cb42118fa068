//! `acro._rust`: arrays in, arrays out, errors to exceptions.
//!
//! Documentation for Python users lives in `python/acro/_rust.pyi`.

mod acrobot;
mod arguments;
mod arrays;
mod batch;
mod borrow;
mod convert;
mod lists;
mod lock;
mod memory_left;
mod network;
mod replay;
mod rows;
mod spare;
mod state;

/// The extension module `acro._rust`.
///
/// It needs the GIL: the caller's arrays are borrowed while it is held, so that no other Python thread writes to them.
/// A free-threaded Python turns the GIL on when it imports this module.
#[pyo3::pymodule(gil_used = true)]
mod _rust {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::acrobot::{PyAcrobots, acrobot_observe, acrobot_step};
    #[pymodule_export]
    use crate::memory_left::available_bytes;
    #[pymodule_export]
    use crate::network::PyNetwork;
    #[pymodule_export]
    use crate::replay::PyReplayMemory;

    /// Add the workspace's version and the build profile; warn if this is a debug build.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        if cfg!(debug_assertions) {
            let message = c"acro._rust is a debug build, many times slower than a release build; \
                            build it with `maturin develop --release`";
            let kind = module.py().get_type::<pyo3::exceptions::PyRuntimeWarning>();
            PyErr::warn(module.py(), &kind, message, 1)?;
        }
        crate::lock::watch_forks(module)?;
        module.add(
            "BUILD_PROFILE",
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        )?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
