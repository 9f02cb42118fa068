//! Errors, with messages for users.

use std::fmt;

/// Why a call failed; the memory is unchanged then.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// `num_envs` is 0.
    NoEnvironments,
    /// There are too few or too many transitions to keep.
    Capacity {
        /// How many were asked for.
        found: usize,
        /// One for each environment.
        least: usize,
        /// As many as slots can be numbered.
        most: usize,
    },
    /// `frame_stack` is 0.
    NoFrames,
    /// `alpha` is not a number from 0 to 8.
    Alpha {
        /// The number.
        found: f64,
    },
    /// Nothing was pushed yet.
    Empty,
    /// More distinct transitions were asked for than there are.
    TooFew {
        /// How many were asked for.
        asked: usize,
        /// How many are in the memory.
        found: usize,
    },
    /// Like [`Error::TooFew`], counting only priorities above zero.
    TooFewPriorities {
        /// How many were asked for.
        asked: usize,
        /// How many have a priority above zero.
        found: usize,
    },
    /// No transition has a priority above zero.
    ZeroPriorities,
    /// A column has a length that does not fit the others.
    Length {
        /// The column's name.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// There is no such environment.
    Environment {
        /// The number asked for.
        asked: i64,
        /// How many environments there are.
        num_envs: usize,
    },
    /// The number names no transition that is in the memory.
    Stale {
        /// The insertion id.
        index: i64,
    },
    /// `n_step` is 0.
    Steps,
    /// `gamma` is not a number from 0 to 1.
    Gamma {
        /// The number.
        found: f64,
    },
    /// `beta` is not a number from 0 to 1.
    Beta {
        /// The number.
        found: f64,
    },
    /// A priority is negative, infinite, not a number, or so large that sums of such would overflow.
    Priority {
        /// Its index in the list.
        position: usize,
        /// The priority.
        found: f64,
        /// The largest that can be used.
        largest: f64,
    },
    /// The memory was made without priorities.
    NotPrioritized,
    /// There is not enough memory.
    OutOfMemory {
        /// What they are for.
        what: &'static str,
        /// How many bytes are needed.
        asked: u128,
        /// How many bytes are available, if the system tells.
        available: Option<u64>,
    },
    /// A saved state contradicts itself, or does not fit this memory.
    State {
        /// The first contradiction found.
        problem: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnvironments => f.write_str("num_envs must be at least 1, got 0"),
            Self::NoFrames => f.write_str("frame_stack must be at least 1, got 0"),
            Self::Capacity { found, least, .. } if found < least => write!(
                f,
                "capacity must be at least {least}, one transition for each environment, got {found}"
            ),
            Self::Capacity { found, most, .. } => {
                write!(f, "capacity must be at most {most}, got {found}")
            }
            Self::Alpha { found } => write!(f, "alpha must be from 0 to 8, got {found}"),
            Self::Empty => f.write_str(
                "cannot sample from an empty replay memory; push at least one transition first",
            ),
            Self::TooFew { asked, found } => write!(
                f,
                "cannot sample {asked} distinct transitions from {found}; \
                 ask for fewer, push more, or draw with replacement"
            ),
            Self::TooFewPriorities { asked, found } => write!(
                f,
                "cannot sample {asked} distinct transitions: only {found} have a priority above zero; \
                 ask for fewer, or draw with replacement"
            ),
            Self::ZeroPriorities => f.write_str(
                "cannot sample: every priority is zero; give at least one transition a priority above zero",
            ),
            Self::Length {
                name,
                found,
                expected,
            } => write!(f, "{name} has length {found}, expected {expected}"),
            Self::Environment { asked, num_envs } => write!(
                f,
                "there is no environment {asked}: this memory has {num_envs}, numbered from 0"
            ),
            Self::Stale { index } => write!(
                f,
                "index {index} names no transition in the memory; it was overwritten, cleared or never given out"
            ),
            Self::Steps => f.write_str("n_step must be at least 1, got 0"),
            Self::Gamma { found } => write!(f, "gamma must be from 0 to 1, got {found}"),
            Self::Beta { found } => write!(f, "beta must be from 0 to 1, got {found}"),
            Self::Priority {
                position,
                found,
                largest,
            } => write!(
                f,
                "priorities must be finite, at least 0 and at most {largest:e}, got {found} at position {position}"
            ),
            Self::NotPrioritized => {
                f.write_str("this replay memory has no priorities; make one that has them")
            }
            Self::OutOfMemory {
                what,
                asked,
                available: Some(available),
            } => write!(
                f,
                "{what} needs {asked} bytes, but only {available} are available; ask for less"
            ),
            Self::OutOfMemory {
                what,
                asked,
                available: None,
            } => write!(
                f,
                "{what} needs {asked} bytes, which cannot be had; ask for less"
            ),
            Self::State { problem } => write!(f, "cannot load this state: {problem}"),
        }
    }
}

impl std::error::Error for Error {}
