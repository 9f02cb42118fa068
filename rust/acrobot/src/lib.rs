#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//! [`Acrobots`] is the environment, [`step_each`] the motion alone, [`Block`] eight acrobots for who needs only them.

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
