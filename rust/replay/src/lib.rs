#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//! [`Config`] makes a [`ReplayMemory`]; [`Step`] and [`Steps`] go in; a [`Draw`] says what comes out, as a [`Batch`]
//! or into [`Columns`]. [`State`] is a memory's whole content. Errors change nothing.

mod arguments;
mod batch;
mod error;
mod memory;
mod rng;
mod sampling;
mod stacks;
mod state;
mod storage;

pub use arguments::{Config, Draw, Steps};
pub use batch::{Batch, bytes, numbers};
pub use error::Error;
pub use memory::ReplayMemory;
pub use rng::Rng;
pub use sampling::{Columns, Element};
pub use state::State;
pub use storage::{ObsKind, Padding, Step, available_bytes};

/// What [`numbers`] and [`bytes`] convert: a plain number, or an array of such.
pub use bytemuck::Pod;
