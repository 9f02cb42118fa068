//! The replay memory: rings, draws and columns put together.

use crate::Error;
use crate::arguments::{Config, Draw, Steps, finals_needed};
use crate::draw;
use crate::gather::{Columns, Element, gather};
use crate::priorities::Priorities;
use crate::rings::{MAX_SLOTS, Rings, Step};
use crate::rng::Rng;

/// The newest transitions of each environment, to be drawn again and again.
///
/// ```
/// use acro_replay::{Config, ReplayMemory, Step};
/// let config = Config { capacity: 4, num_envs: 1, obs_bytes: 1, action_bytes: 1, seed: 0, alpha: None };
/// let mut memory = ReplayMemory::new(config)?;
/// memory.push(0, &Step { obs: &[1], action: &[0], reward: 1.0, next_obs: &[2], terminated: false, truncated: false })?;
/// assert_eq!(memory.len(), 1);
/// # Ok::<(), acro_replay::Error>(())
/// ```
#[derive(Debug)]
pub struct ReplayMemory {
    pub(crate) rings: Rings,
    pub(crate) rng: Rng,
    pub(crate) priorities: Option<Priorities>,
    /// The slots of the batch being drawn; kept to be filled again.
    slots: Vec<u32>,
    /// Where each next observation of that batch is; kept as well.
    sources: Vec<u32>,
    /// Where the draws fall in the sum of the priorities; kept as well.
    points: Vec<f64>,
}

impl ReplayMemory {
    /// An empty memory, all of it asked for now. O(1), O(capacity) with priorities.
    ///
    /// # Errors
    /// [`Error::Argument`] for numbers that make no memory, [`Error::OutOfMemory`] when the bytes cannot be had.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config {
            capacity,
            num_envs,
            obs_bytes,
            action_bytes,
            seed,
            alpha,
        } = config;
        if num_envs == 0 {
            return Err(Error::Argument(
                "num_envs must be at least 1, got 0".to_owned(),
            ));
        }
        if capacity < num_envs {
            let message =
                format!("capacity must be at least num_envs ({num_envs}), got {capacity}");
            return Err(Error::Argument(message));
        }
        if capacity > MAX_SLOTS {
            return Err(Error::Argument(format!(
                "capacity must be at most {MAX_SLOTS}, got {capacity}"
            )));
        }
        if let Some(alpha) = alpha.filter(|alpha| !(0.0..=8.0).contains(alpha)) {
            return Err(Error::Argument(format!(
                "alpha must be from 0 to 8, got {alpha}"
            )));
        }
        let rings = Rings::new(
            num_envs,
            (capacity / num_envs) as u32,
            obs_bytes,
            action_bytes,
            alpha.map_or(0, |_| Priorities::bytes(capacity)),
        )?;
        let slots = rings.capacity();
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

    /// Remember one transition, in place of its environment's oldest once that one's ring is full.
    /// O(its bytes), with priorities O(log capacity) besides.
    ///
    /// # Errors
    /// Nothing is stored then: no such environment, rows of another size, or no bytes for a final observation.
    pub fn push(&mut self, env: i64, step: &Step<'_>) -> Result<(), Error> {
        let env = self.environment(env)?;
        self.check_length("obs", step.obs.len(), self.rings.obs_bytes)?;
        self.check_length("action", step.action.len(), self.rings.action_bytes)?;
        self.check_length("next_obs", step.next_obs.len(), self.rings.obs_bytes)?;
        self.rings.finals.reserve(1)?;
        self.store(env, step);
        Ok(())
    }

    /// Remember many transitions, as so many [`ReplayMemory::push`] in order, or none of them.
    ///
    /// # Errors
    /// As for [`ReplayMemory::push`].
    pub fn extend(&mut self, steps: &Steps<'_>) -> Result<(), Error> {
        let rows = steps.rewards.len();
        let (obs_bytes, action_bytes) = (self.rings.obs_bytes, self.rings.action_bytes);
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
            .reserve(finals_needed(steps, obs_bytes, self.rings.rings.len()))?;
        for row in 0..rows {
            self.store(steps.env(row), &steps.row(row, obs_bytes, action_bytes));
        }
        Ok(())
    }

    /// Draw transitions and write them to `out`, minibatch after minibatch, and their importance weights to
    /// `weights` if there are priorities. O(transitions * n_step), with priorities O(log capacity) for each besides.
    ///
    /// # Errors
    /// The memory is empty, or has too few for a draw without replacement; a number out of its range.
    ///
    /// # Panics
    /// A column's length is not that of the batch.
    pub fn sample<B: Element<u8>, F: Element<f32>, T: Element<bool>, I: Element<i64>>(
        &mut self,
        draw: Draw,
        out: Columns<'_, B, F, T, I>,
        weights: Option<&mut [F]>,
    ) -> Result<(), Error> {
        let Draw {
            rounds,
            batch_size,
            n_step,
            gamma,
            replace,
            beta,
        } = draw;
        check_returns(n_step, gamma)?;
        if !(0.0..=1.0).contains(&beta) {
            return Err(Error::Beta(beta));
        }
        if rounds * batch_size == 0 {
            return Ok(());
        }
        if self.rings.len == 0 {
            return Err(Error::Empty);
        }
        let before = self.rng.clone();
        self.slots.clear();
        let Self {
            rings,
            rng,
            priorities,
            slots,
            points,
            ..
        } = self;
        let drawn = match (priorities, replace) {
            (None, true) => {
                draw::uniform(rings, rng, rounds * batch_size, slots);
                Ok(())
            }
            (None, false) => {
                (0..rounds).try_for_each(|_| draw::distinct(rings, rng, batch_size, slots))
            }
            (Some(tree), true) => (0..rounds)
                .try_for_each(|_| draw::proportional(tree, rng, batch_size, slots, points)),
            (Some(tree), false) => (0..rounds)
                .try_for_each(|_| draw::proportional_distinct(tree, rng, batch_size, slots)),
        };
        if drawn.is_err() {
            self.rng = before;
            return drawn;
        }
        gather(
            &self.rings,
            &self.slots,
            &mut self.sources,
            n_step,
            gamma,
            out,
        );
        if let (Some(weights), Some(priorities)) = (weights, &self.priorities) {
            for (slots, weights) in self
                .slots
                .chunks(batch_size)
                .zip(weights.chunks_mut(batch_size))
            {
                write_weights(priorities.leaves(), slots, beta, weights);
            }
        }
        Ok(())
    }

    /// Write the transitions that these insertion ids name to `out`. O(indices * n_step).
    ///
    /// # Errors
    /// [`Error::Stale`] for one that is no longer there.
    pub fn gather<B: Element<u8>, F: Element<f32>, T: Element<bool>, I: Element<i64>>(
        &mut self,
        indices: &[i64],
        n_step: usize,
        gamma: f64,
        out: Columns<'_, B, F, T, I>,
    ) -> Result<(), Error> {
        check_returns(n_step, gamma)?;
        self.slots.clear();
        for &index in indices {
            self.slots
                .push(self.rings.slot(index).ok_or(Error::Stale { index })?);
        }
        gather(
            &self.rings,
            &self.slots,
            &mut self.sources,
            n_step,
            gamma,
            out,
        );
        Ok(())
    }

    /// Give transitions new priorities, the last one counting where an index comes twice, and return how many of
    /// `indices` were still there. O(indices log capacity).
    ///
    /// # Errors
    /// There are no priorities, the lengths differ, or a priority cannot be used; then none is changed.
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
        let pairs: Vec<(u32, f64)> = indices.iter().zip(priorities).filter_map(present).collect();
        tree.set_many(&pairs, &mut self.slots);
        Ok(pairs.len())
    }

    /// Forget every transition. Ids given out stay stale, and the index stream goes on. O(capacity).
    pub fn clear(&mut self) {
        self.rings.clear();
        if let Some(priorities) = &mut self.priorities {
            priorities.replace(std::iter::empty());
        }
    }

    /// How many transitions can be drawn. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.rings.len
    }

    /// Whether there is none. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.len == 0
    }

    /// Whether the next push, of whatever environment, overwrites one. O(1).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How many transitions can be held: the same number for each environment. O(1).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.rings.capacity()
    }

    /// How many environments there are. O(1).
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.rings.rings.len()
    }

    /// The power that priorities are raised to, if there are any. O(1).
    #[must_use]
    pub fn alpha(&self) -> Option<f64> {
        self.priorities.as_ref().map(Priorities::alpha)
    }

    /// The bytes held: asked for at the start, but for final observations, which come as episodes end. O(levels).
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let tree = self
            .priorities
            .as_ref()
            .map_or(0, |_| Priorities::bytes(self.capacity()));
        let scratch = (self.slots.capacity() + self.sources.capacity()) * size_of::<u32>()
            + self.points.capacity() * size_of::<f64>();
        self.rings.nbytes() + tree + scratch
    }

    fn store(&mut self, env: usize, step: &Step<'_>) {
        let slot = self.rings.push(env, step);
        if let Some(priorities) = &mut self.priorities {
            priorities.set(slot, priorities.newest_leaf());
        }
    }

    fn environment(&self, asked: i64) -> Result<usize, Error> {
        let num_envs = self.num_envs();
        let found = usize::try_from(asked).ok().filter(|&env| env < num_envs);
        found.ok_or(Error::Environment { asked, num_envs })
    }

    fn check_length(&self, name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
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

/// The importance weights of one minibatch: (1 / (N P))^beta over the largest of them, whatever N is.
fn write_weights<F: Element<f32>>(leaves: &[f64], slots: &[u32], beta: f64, weights: &mut [F]) {
    let least = slots.iter().fold(f64::INFINITY, |least, &slot| {
        least.min(leaves[slot as usize])
    });
    for (weight, &slot) in weights.iter_mut().zip(slots) {
        weight.put((least / leaves[slot as usize]).powf(beta) as f32);
    }
}

fn check_returns(n_step: usize, gamma: f64) -> Result<(), Error> {
    if n_step == 0 {
        return Err(Error::Steps);
    }
    if !(0.0..=1.0).contains(&gamma) {
        return Err(Error::Gamma(gamma));
    }
    Ok(())
}
