//! What the memory's calls take.

use crate::Error;
use crate::storage::{ObsKind, Padding, Step, with_room};

/// What a memory is made for; fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Transitions that are kept; a multiple of `num_envs` is.
    pub capacity: usize,
    /// Environments, each with a ring of its own.
    pub num_envs: usize,
    /// Bytes of one observation: of one frame, where frames are stacked.
    pub obs_bytes: usize,
    /// What an observation is made of.
    pub obs_kind: ObsKind,
    /// Bytes of one action.
    pub action_bytes: usize,
    /// Where the index stream starts.
    pub seed: u64,
    /// The power that priorities are raised to, or `None` to draw uniformly.
    pub alpha: Option<f64>,
    /// How many observations, the newest last, are given out as one; 1 gives each out alone.
    pub frame_stack: usize,
    /// What stands in a stack before an episode's first frame.
    pub padding: Padding,
}

impl Config {
    /// A memory of one environment that draws uniformly, its observations compared by their bits.
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

/// Many transitions, as columns: one row each, in the order they happened.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Whose row it is; `None` where row `i` is environment `i`'s, one row each.
    pub envs: Option<&'a [i64]>,
    /// Rows of observations.
    pub obs: &'a [u8],
    /// Rows of actions.
    pub actions: &'a [u8],
    /// Rewards.
    pub rewards: &'a [f32],
    /// Rows of the observations that followed.
    pub next_obs: &'a [u8],
    /// See [`Step::terminated`].
    pub terminated: &'a [bool],
    /// See [`Step::truncated`].
    pub truncated: &'a [bool],
}

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Minibatches.
    pub rounds: usize,
    /// Transitions of one minibatch.
    pub batch_size: usize,
    /// Steps that a return looks ahead.
    pub n_step: usize,
    /// The discount of one step.
    pub gamma: f64,
    /// Whether a transition may come twice in a minibatch.
    pub replace: bool,
    /// How far importance weights correct: 0 not at all, 1 fully.
    pub beta: f64,
}

impl Draw {
    /// One minibatch of single steps with a discount of 0.99, drawn with replacement; `beta` is 0.4.
    #[must_use]
    pub fn new(batch_size: usize) -> Self {
        Self {
            rounds: 1,
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
