//! `acro._rust`: arrays in, arrays out, errors to exceptions.
//!
//! Documentation for Python users lives in `python/acro/_rust.pyi`.

/// The extension module `acro._rust`.
#[pyo3::pymodule]
mod _rust {
    use pyo3::prelude::*;

    /// The workspace's version, and a warning when this is a debug build.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
