//! The arguments of the memory's methods.

use crate::Error;
use crate::storage::{ObsKind, Padding, Step, with_room};

/// The settings of a memory, fixed for its lifetime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Transitions to keep, rounded down to a multiple of `num_envs`.
    pub capacity: usize,
    /// Number of environments; each has its own ring.
    pub num_envs: usize,
    /// Bytes of one observation, or of one frame if frames are stacked.
    pub obs_bytes: usize,
    /// The type of an observation's numbers.
    pub obs_kind: ObsKind,
    /// Bytes of one action.
    pub action_bytes: usize,
    /// Seed of the generator that draws.
    pub seed: u64,
    /// Exponent of the priorities, or `None` to draw uniformly.
    pub alpha: Option<f64>,
    /// Number of frames in a drawn observation, the newest last; 1 for no stacks.
    pub frame_stack: usize,
    /// What a stack has before an episode's first frame.
    pub padding: Padding,
}

impl Config {
    /// Settings for one environment and uniform draws, with observations compared by their bits.
    #[must_use]
    pub fn new(capacity: usize, obs_bytes: usize, action_bytes: usize) -> Self {
        Self {
            capacity,
            num_envs: 1,
            obs_bytes,
            obs_kind: ObsKind::Bits,
            action_bytes,
            seed: 0,
            alpha: None,
            frame_stack: 1,
            padding: Padding::First,
        }
    }
}

/// Transitions as columns, in the order in which they happened.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// The environment of each row; `None` if row `i` belongs to environment `i`.
    pub envs: Option<&'a [i64]>,
    /// Rows of observations.
    pub obs: &'a [u8],
    /// Rows of actions.
    pub actions: &'a [u8],
    /// Rewards.
    pub rewards: &'a [f32],
    /// Rows of the next observations.
    pub next_obs: &'a [u8],
    /// See [`Step::terminated`].
    pub terminated: &'a [bool],
    /// See [`Step::truncated`].
    pub truncated: &'a [bool],
}

/// How to draw transitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Number of minibatches.
    pub minibatches: usize,
    /// Transitions in a minibatch.
    pub batch_size: usize,
    /// Steps that rewards are summed over.
    pub n_step: usize,
    /// Discount factor.
    pub gamma: f64,
    /// Whether a minibatch may have a transition twice.
    pub replace: bool,
    /// Exponent of the importance weights: 0 for no correction, 1 for full correction.
    pub beta: f64,
}

impl Draw {
    /// One minibatch of single steps with a discount of 0.99, drawn with replacement; `beta` is 0.4.
    #[must_use]
    pub fn new(batch_size: usize) -> Self {
        Self {
            minibatches: 1,
            batch_size,
            n_step: 1,
            gamma: 0.99,
            replace: true,
            beta: 0.4,
        }
    }
}

impl<'a> Steps<'a> {
    pub(crate) fn env(&self, row: usize) -> usize {
        self.envs.map_or(row, |envs| envs[row] as usize)
    }

    pub(crate) fn row(&self, row: usize, obs_bytes: usize, action_bytes: usize) -> Step<'a> {
        Step {
            obs: &self.obs[row * obs_bytes..][..obs_bytes],
            action: &self.actions[row * action_bytes..][..action_bytes],
            reward: self.rewards[row],
            next_obs: &self.next_obs[row * obs_bytes..][..obs_bytes],
            terminated: self.terminated[row],
            truncated: self.truncated[row],
        }
    }
}

/// How many final observations these steps can add at most: one for each end and break, and the newest of each
/// environment. O(rows), O(1) for few rows.
pub(crate) fn finals_needed(
    steps: &Steps<'_>,
    obs_bytes: usize,
    num_envs: usize,
) -> Result<usize, Error> {
    let rows = steps.rewards.len();
    if rows <= 2 * num_envs {
        return Ok(rows);
    }
    let mut newest: Vec<Option<usize>> = with_room(num_envs, "the table of environments")?;
    newest.resize(num_envs, None);
    let mut needed = 0;
    for row in 0..rows {
        let bytes = row * obs_bytes..(row + 1) * obs_bytes;
        let goes_on = newest[steps.env(row)].replace(row).is_some_and(|last| {
            let ended = steps.terminated[last] || steps.truncated[last];
            !ended && steps.next_obs[last * obs_bytes..][..obs_bytes] == steps.obs[bytes]
        });
        needed += usize::from(!goes_on);
    }
    Ok(needed)
}
