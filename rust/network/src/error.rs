//! What cannot be done, and why.

use std::fmt;

/// What cannot be done with a network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A size that must be at least 1.
    Zero {
        /// Which size.
        name: &'static str,
    },
    /// Layers of more parameters than memory can hold.
    TooLarge,
    /// A slice of another length than the network, or the batch, asks for.
    WrongLength {
        /// Of what.
        name: &'static str,
        /// How many numbers were given.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A number that the learning rule has no meaning for.
    OutOfBounds {
        /// Which number.
        name: &'static str,
        /// What it was.
        value: f64,
        /// What it must be.
        bounds: &'static str,
    },
    /// A loss of one value an action, for a network with more.
    NotOneOutput {
        /// The network's numbers per action.
        outputs: usize,
    },
    /// An action that the network has no output for.
    UnknownAction {
        /// Its place in the batch.
        position: usize,
        /// The action.
        action: i64,
        /// How many there are.
        num_actions: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { name } => write!(f, "{name} must be at least 1, got 0"),
            Self::TooLarge => f.write_str(
                "the network is too large for this machine's memory; make its layers smaller",
            ),
            Self::WrongLength {
                name,
                found,
                expected,
            } => {
                write!(f, "{name} must have {expected} numbers, got {found}")
            }
            Self::OutOfBounds {
                name,
                value,
                bounds,
            } => write!(f, "{name} must be {bounds}, got {value}"),
            Self::NotOneOutput { outputs } => write!(
                f,
                "outputs must be 1 under the Huber and the squared loss, got {outputs}; use the quantile loss"
            ),
            Self::UnknownAction {
                position,
                action,
                num_actions,
            } => write!(
                f,
                "actions must be from 0 to {}, got {action} at position {position}",
                num_actions - 1
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Check that a slice has the numbers that it must have.
pub(crate) fn check_length(name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::WrongLength {
        name,
        found,
        expected,
    })
}
