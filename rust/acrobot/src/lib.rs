#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//! [`Acrobots`] is the environment. [`step_each`] moves states without episodes. [`Block`] holds eight acrobots, for
//! callers who need only their motion.

mod acrobots;
mod dynamics;
mod error;
mod random;
mod trigonometry;

pub use acrobots::{Acrobots, Autoreset, EnvState, Outcome, step_each};
pub use dynamics::{
    Block, GRAVITY, LANES, LINK_COM_POSITION, LINK_LENGTH, LINK_MASS, LINK_MOMENT, MAX_VELOCITY_1,
    MAX_VELOCITY_2, NUM_ACTIONS, OBSERVATION_SIZE, State, TIME_STEP, TORQUES,
};
pub use error::Error;
pub use random::Pcg64;
pub use trigonometry::sin_cos;
