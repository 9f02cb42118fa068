//! Errors.

use std::fmt;

use crate::dynamics::State;

/// Why a call failed; nothing was changed then.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// There must be at least one environment, and one step in an episode.
    Empty {
        /// Which number was 0.
        what: &'static str,
    },
    /// A step before the first reset.
    NotReset,
    /// A first reset of some environments only.
    PartialFirstReset {
        /// One that was left out.
        env: usize,
    },
    /// A step, with [`Autoreset::Disabled`](crate::Autoreset::Disabled), of an environment whose episode ended.
    Ended {
        /// The environment.
        env: usize,
    },
    /// A list must have one value for each environment.
    WrongLength {
        /// The list's name.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many environments there are.
        expected: usize,
    },
    /// An action other than 0, 1 or 2.
    UnknownAction {
        /// The environment.
        env: usize,
        /// The action.
        action: i64,
    },
    /// A state that no acrobot can be in.
    InvalidState {
        /// The environment.
        env: usize,
        /// The state.
        state: State,
    },
    /// There is not enough memory for so many environments.
    OutOfMemory {
        /// How many environments were asked for.
        num_envs: usize,
    },
    /// An episode longer than the time limit.
    TooLong {
        /// The environment.
        env: usize,
        /// Steps taken.
        elapsed: u32,
        /// The time limit.
        limit: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { what } => write!(f, "{what} must be at least 1, got 0"),
            Self::NotReset => f.write_str("cannot step before the first reset; call reset first"),
            Self::PartialFirstReset { env } => write!(
                f,
                "the first reset leaves out environment {env}; reset all environments first"
            ),
            Self::Ended { env } => write!(
                f,
                "the episode of environment {env} has ended and autoreset is disabled; reset it first"
            ),
            Self::WrongLength {
                what,
                found,
                expected,
            } => write!(
                f,
                "{what} has length {found}, expected {expected}, one for each environment"
            ),
            Self::UnknownAction { env, action } => write!(
                f,
                "action {action} of environment {env} does not exist; the actions are 0, 1 and 2"
            ),
            Self::InvalidState { env, state } => write!(
                f,
                "the state of environment {env} is out of bounds: {state:?}; angles are at most 2 pi \
                 and velocities at most 4 pi and 9 pi either way"
            ),
            Self::OutOfMemory { num_envs } => write!(
                f,
                "there is no memory for {num_envs} environments; ask for fewer"
            ),
            Self::TooLong {
                env,
                elapsed,
                limit,
            } => write!(
                f,
                "environment {env} is {elapsed} steps into an episode of at most {limit}"
            ),
        }
    }
}

impl std::error::Error for Error {}
