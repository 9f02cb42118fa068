#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//! Make a [`ReplayMemory`] from a [`Config`]; push [`Step`] or [`Steps`]; sample with a [`Draw`], as a [`Batch`] or
//! into [`Columns`]. [`State`] is a memory's whole state. A call that returns an error changes nothing.

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
