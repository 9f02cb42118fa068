//! The replay memory, made of rings, draws and columns.

use crate::Error;
use crate::arguments::{Config, Steps, finals_needed};
use crate::rng::Rng;
use crate::sampling::Priorities;
use crate::storage::{MAX_SLOTS, Rings, Step, reserve, with_room};

/// What needs the memory, for [`Error::OutOfMemory`].
const UPDATE: &str = "the update of priorities";

/// Keeps each environment's newest transitions and draws random batches of them.
///
/// ```
/// use acro_replay::{Config, Draw, ReplayMemory, Step};
///
/// let mut memory = ReplayMemory::new(Config::new(4, 1, 1))?;
/// let step = Step { obs: &[1], action: &[0], reward: 1.0, next_obs: &[2], terminated: true, truncated: false };
/// memory.push(0, &step)?;
/// let batch = memory.sample(Draw::new(32))?;
/// assert_eq!(batch.next_obs, [2; 32]);
/// # Ok::<(), acro_replay::Error>(())
/// ```
#[derive(Debug)]
pub struct ReplayMemory {
    pub(crate) rings: Rings,
    pub(crate) rng: Rng,
    pub(crate) priorities: Option<Priorities>,
    /// The slots of the batch being drawn; kept to be filled again.
    pub(crate) slots: Vec<u32>,
    /// Where each next observation of that batch is; kept as well.
    pub(crate) sources: Vec<u32>,
    /// Where the draws fall in the sum of the priorities; kept as well.
    pub(crate) points: Vec<f64>,
}

impl ReplayMemory {
    /// An empty memory. All of it is allocated now; the system provides pages as they are first written. O(num_envs).
    ///
    /// # Errors
    /// [`Error::NoEnvironments`], [`Error::Capacity`] or [`Error::Alpha`] for numbers out of range,
    /// [`Error::OutOfMemory`] if there is not enough memory.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config {
            capacity,
            num_envs,
            seed,
            alpha,
            frame_stack,
            ..
        } = config;
        if num_envs == 0 {
            return Err(Error::NoEnvironments);
        }
        if frame_stack == 0 {
            return Err(Error::NoFrames);
        }
        // The oldest transition's stack needs the frames before it.
        let kept = (frame_stack - 1).saturating_mul(num_envs);
        let most = MAX_SLOTS.saturating_sub(kept);
        if !(num_envs..=most).contains(&capacity) {
            return Err(Error::Capacity {
                found: capacity,
                least: num_envs,
                most,
            });
        }
        if let Some(found) = alpha.filter(|alpha| !(0.0..=8.0).contains(alpha)) {
            return Err(Error::Alpha { found });
        }
        let size = capacity / num_envs + (frame_stack - 1);
        let tree = alpha.map_or(0, |_| Priorities::bytes(size * num_envs));
        let rings = Rings::new(&config, size as u32, tree)?;
        let slots = rings.slots();
        let priorities = alpha
            .map(|alpha| Priorities::new(slots, alpha))
            .transpose()?;
        Ok(Self {
            rings,
            rng: Rng::with_seed(seed),
            priorities,
            slots: Vec::new(),
            sources: Vec::new(),
            points: Vec::new(),
        })
    }

    /// Store a transition; if the environment's ring is full, it replaces the oldest.
    /// O(its bytes), with priorities plus O(log capacity).
    ///
    /// # Errors
    /// There is no such environment, a row has another size, or there is no memory for a final observation. Nothing is
    /// stored then.
    pub fn push(&mut self, env: i64, step: &Step<'_>) -> Result<(), Error> {
        let env = self.environment(env)?;
        self.check_length("obs", step.obs.len(), self.rings.records.obs_bytes)?;
        self.check_length("action", step.action.len(), self.rings.records.action_bytes)?;
        self.check_length(
            "next_obs",
            step.next_obs.len(),
            self.rings.records.obs_bytes,
        )?;
        self.rings.finals.reserve(1)?;
        self.store(env, step);
        Ok(())
    }

    /// Store many transitions, as by [`ReplayMemory::push`] in order; all of them or none.
    ///
    /// # Errors
    /// Those of [`ReplayMemory::push`].
    pub fn extend(&mut self, steps: &Steps<'_>) -> Result<(), Error> {
        let rows = steps.rewards.len();
        let (obs_bytes, action_bytes) = (
            self.rings.records.obs_bytes,
            self.rings.records.action_bytes,
        );
        self.check_length("obs", steps.obs.len(), rows * obs_bytes)?;
        self.check_length("actions", steps.actions.len(), rows * action_bytes)?;
        self.check_length("next_obs", steps.next_obs.len(), rows * obs_bytes)?;
        self.check_length("terminated", steps.terminated.len(), rows)?;
        self.check_length("truncated", steps.truncated.len(), rows)?;
        match steps.envs {
            None => self.check_length("rewards", rows, self.rings.rings.len())?,
            Some(envs) => {
                self.check_length("envs", envs.len(), rows)?;
                envs.iter()
                    .try_for_each(|&env| self.environment(env).map(|_| ()))?;
            }
        }
        self.rings
            .finals
            .reserve(finals_needed(steps, obs_bytes, self.rings.rings.len())?)?;
        for row in 0..rows {
            self.store(steps.env(row), &steps.row(row, obs_bytes, action_bytes));
        }
        Ok(())
    }

    /// Set transitions' priorities and return how many of `indices` are still in the memory. If an index occurs twice,
    /// its last priority counts. O(indices log capacity).
    ///
    /// # Errors
    /// The memory has no priorities, the lengths differ, or a priority is out of range. None is changed then.
    pub fn update_priorities(
        &mut self,
        indices: &[i64],
        priorities: &[f64],
    ) -> Result<usize, Error> {
        let Some(tree) = &mut self.priorities else {
            return Err(Error::NotPrioritized);
        };
        if priorities.len() != indices.len() {
            return Err(Error::Length {
                name: "priorities",
                found: priorities.len(),
                expected: indices.len(),
            });
        }
        let largest = tree.largest();
        if let Some(position) = priorities
            .iter()
            .position(|priority| !(0.0..=largest).contains(priority))
        {
            return Err(Error::Priority {
                position,
                found: priorities[position],
                largest,
            });
        }
        let present = |(&index, &priority)| Some((self.rings.slot(index)?, tree.leaf(priority)));
        let mut pairs: Vec<(u32, f64)> = with_room(indices.len(), UPDATE)?;
        pairs.extend(indices.iter().zip(priorities).filter_map(present));
        self.slots.clear();
        reserve(&mut self.slots, pairs.len(), UPDATE)?;
        tree.set_many(&pairs, &mut self.slots);
        Ok(pairs.len())
    }

    /// Remove all transitions. Earlier ids become invalid, and the stream of draws continues. O(len + num_envs).
    pub fn clear(&mut self) {
        if let Some(priorities) = &mut self.priorities {
            for (start, ring) in self.rings.filled() {
                priorities.set_range(start..start + ring.len, std::iter::repeat(0.0));
            }
        }
        self.rings.clear();
    }

    /// The number of stored transitions. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.rings.len
    }

    /// Whether there are no transitions. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.len == 0
    }

    /// Whether the next transition of any environment replaces one. O(1).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// The most transitions that can be stored, the same number for each environment. O(1).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.rings.capacity()
    }

    /// The number of environments. O(1).
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.rings.rings.len()
    }

    /// The exponent of the priorities, if there are priorities. O(1).
    #[must_use]
    pub fn alpha(&self) -> Option<f64> {
        self.priorities.as_ref().map(Priorities::alpha)
    }

    /// The allocated bytes: fixed, except for final observations, which grow as episodes end. O(levels).
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let tree = self
            .priorities
            .as_ref()
            .map_or(0, |_| Priorities::bytes(self.rings.slots()));
        let scratch = (self.slots.capacity() + self.sources.capacity()) * size_of::<u32>()
            + self.points.capacity() * size_of::<f64>();
        self.rings.nbytes() + tree + scratch
    }

    fn store(&mut self, env: usize, step: &Step<'_>) {
        let slot = self.rings.push(env, step);
        if let Some(priorities) = &mut self.priorities {
            priorities.set(slot, priorities.newest_leaf());
            if let Some(retired) = self.rings.retired(env) {
                priorities.set(retired, 0.0);
            }
        }
    }

    fn environment(&self, asked: i64) -> Result<usize, Error> {
        let num_envs = self.num_envs();
        let found = usize::try_from(asked).ok().filter(|&env| env < num_envs);
        found.ok_or(Error::Environment { asked, num_envs })
    }

    pub(crate) fn check_length(
        &self,
        name: &'static str,
        found: usize,
        expected: usize,
    ) -> Result<(), Error> {
        if found == expected {
            Ok(())
        } else {
            Err(Error::Length {
                name,
                found,
                expected,
            })
        }
    }
}
