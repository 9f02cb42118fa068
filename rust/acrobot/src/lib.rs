//! The physics of many acrobots at once.
//!
//! [`Acrobots`] steps Gymnasium's `Acrobot-v1` ("book" dynamics) for any number of environments: the
//! motion, the time limit, the automatic resets and each environment's own NumPy-compatible random
//! stream. Only `+ - * /`, comparisons and bit operations touch a float, so a trajectory is the same
//! to the bit on every machine, in every run, and beside any number of other environments.

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
