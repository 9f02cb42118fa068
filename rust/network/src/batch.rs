//! The minibatches of a round.

use crate::error::check_length;
use crate::{Error, Shape};

/// A round's minibatches: `count` of `size` transitions each, as columns with leading axes (count, size).
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Number of minibatches.
    pub count: usize,
    /// Transitions in each.
    pub size: usize,
    /// (count, size, observation size)
    pub obs: &'a [f32],
    /// (count, size), from 0 to `num_actions - 1`.
    pub actions: &'a [i64],
    /// (count, size), summed over the steps between `obs` and `next_obs`.
    pub rewards: &'a [f32],
    /// (count, size, observation size)
    pub next_obs: &'a [f32],
    /// (count, size): factors of the next return, 0 where the episode terminated.
    pub discounts: &'a [f32],
    /// (count, size): weights of the losses; `None` for 1.
    pub weights: Option<&'a [f32]>,
}

impl<'a> Batch<'a> {
    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        if self.size == 0 {
            return Err(Error::Zero {
                name: "the minibatches' size",
            });
        }
        let rows = self.count.checked_mul(self.size).ok_or(Error::TooLarge)?;
        let numbers = rows
            .checked_mul(shape.observation_size())
            .ok_or(Error::TooLarge)?;
        check_length("obs", self.obs.len(), numbers)?;
        check_length("actions", self.actions.len(), rows)?;
        check_length("rewards", self.rewards.len(), rows)?;
        check_length("next_obs", self.next_obs.len(), numbers)?;
        check_length("discounts", self.discounts.len(), rows)?;
        check_length("weights", self.weights.map_or(rows, <[f32]>::len), rows)?;
        let num_actions = shape.num_actions();
        let is_unknown =
            |&action: &i64| usize::try_from(action).map_or(true, |action| action >= num_actions);
        match self.actions.iter().position(is_unknown) {
            Some(position) => Err(Error::UnknownAction {
                position,
                action: self.actions[position],
                num_actions,
            }),
            None => Ok(()),
        }
    }

    /// `count` minibatches from number `start` on.
    pub(crate) fn part(&self, start: usize, count: usize) -> Self {
        let rows = start * self.size..(start + count) * self.size;
        let width = self.obs.len() / self.rewards.len().max(1);
        let numbers = rows.start * width..rows.end * width;
        Self {
            count,
            size: self.size,
            obs: &self.obs[numbers.clone()],
            actions: &self.actions[rows.clone()],
            rewards: &self.rewards[rows.clone()],
            next_obs: &self.next_obs[numbers],
            discounts: &self.discounts[rows.clone()],
            weights: self.weights.map(|weights| &weights[rows]),
        }
    }
}
