//! Errors.

use std::fmt;

/// Why a call failed; nothing was changed then.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A size that must be at least 1.
    Zero {
        /// Which size.
        name: &'static str,
    },
    /// The number of parameters overflows.
    TooLarge,
    /// A slice has the wrong length for the network or the batch.
    WrongLength {
        /// The array's name.
        name: &'static str,
        /// How many numbers were given.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A number of the learning rule is out of its range.
    OutOfBounds {
        /// Which number.
        name: &'static str,
        /// What it was.
        value: f64,
        /// What it must be.
        bounds: &'static str,
    },
    /// The loss needs one number per action, and the network has more.
    NotOneOutput {
        /// The network's numbers per action.
        outputs: usize,
    },
    /// An action is out of range.
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

/// Check the length of a slice.
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
