//! Fixed-capacity replay memory: per-environment rings of steps.
