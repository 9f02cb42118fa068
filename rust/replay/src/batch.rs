//! Drawing transitions: as a new batch, or into existing columns.

use std::borrow::Cow;

use bytemuck::Pod;

use crate::Error;
use crate::arguments::Draw;
use crate::memory::ReplayMemory;
use crate::sampling::{self, Columns, Element, gather};
use crate::storage::{available_bytes, reserve, with_room};

/// What needs the memory, for [`Error::OutOfMemory`].
const BATCH: &str = "the batch";

/// Transitions as columns with one row each, minibatch after minibatch.
///
/// The target of a value is `rewards + discounts * value(next_obs)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows of the observations acted on; see [`numbers`]. Stacks of frames are the rows of their frames, the newest
    /// last.
    pub obs: Vec<u8>,
    /// Rows of the actions taken; see [`numbers`].
    pub actions: Vec<u8>,
    /// Discounted sums of the rewards of up to `n_step` steps.
    pub rewards: Vec<f32>,
    /// Rows of the observations after the last of these steps; see [`numbers`].
    pub next_obs: Vec<u8>,
    /// gamma^k for k steps, 0 where the last one terminated.
    pub discounts: Vec<f32>,
    /// Whether the last of these steps terminated.
    pub terminated: Vec<bool>,
    /// Insertion ids, for [`ReplayMemory::gather`] and [`ReplayMemory::update_priorities`].
    pub indices: Vec<i64>,
    /// Importance weights, at most 1; none without priorities.
    pub weights: Option<Vec<f32>>,
}

/// Rows of bytes as numbers: a view if they are aligned, as whole columns usually are, else a copy.
///
/// # Panics
/// The bytes are not a whole number of `T`.
#[must_use]
pub fn numbers<T: Pod>(rows: &[u8]) -> Cow<'_, [T]> {
    bytemuck::try_cast_slice(rows).map_or_else(
        |_| Cow::Owned(bytemuck::pod_collect_to_vec(rows)),
        Cow::Borrowed,
    )
}

/// Numbers as bytes, for a [`Step`](crate::Step); a view.
#[must_use]
pub fn bytes<T: Pod>(numbers: &[T]) -> &[u8] {
    bytemuck::cast_slice(numbers)
}

impl Batch {
    fn of_zeros(
        rows: usize,
        obs_bytes: usize,
        action_bytes: usize,
        weighted: bool,
    ) -> Result<Self, Error> {
        Ok(Self {
            obs: zeros(rows, obs_bytes)?,
            actions: zeros(rows, action_bytes)?,
            rewards: zeros(rows, 1)?,
            next_obs: zeros(rows, obs_bytes)?,
            discounts: zeros(rows, 1)?,
            terminated: zeros(rows, 1)?,
            indices: zeros(rows, 1)?,
            weights: weighted.then(|| zeros(rows, 1)).transpose()?,
        })
    }

    fn columns(&mut self) -> (Columns<'_>, Option<&mut [f32]>) {
        let columns = Columns {
            obs: &mut self.obs,
            actions: &mut self.actions,
            rewards: &mut self.rewards,
            next_obs: &mut self.next_obs,
            discounts: &mut self.discounts,
            terminated: &mut self.terminated,
            indices: &mut self.indices,
        };
        (columns, self.weights.as_deref_mut())
    }
}

impl ReplayMemory {
    /// Draw transitions. O(transitions * n_step), with priorities plus O(log capacity) for each.
    ///
    /// ```
    /// use acro_replay::{Config, Draw, ReplayMemory, Step, bytes, numbers};
    ///
    /// let mut memory = ReplayMemory::new(Config::new(100, 8, 8))?;
    /// for step in 0..10_i16 {
    ///     let (obs, next_obs) = ([f32::from(step); 2], [f32::from(step + 1); 2]);
    ///     memory.push(0, &Step {
    ///         obs: bytes(&obs),
    ///         action: bytes(&[1_i64]),
    ///         reward: 1.0,
    ///         next_obs: bytes(&next_obs),
    ///         terminated: step == 9,
    ///         truncated: false,
    ///     })?;
    /// }
    /// let batch = memory.sample(Draw { n_step: 3, ..Draw::new(32) })?;
    /// let obs = numbers::<f32>(&batch.obs); // (32, 2)
    /// assert_eq!(obs.len(), 64);
    /// # Ok::<(), acro_replay::Error>(())
    /// ```
    ///
    /// # Errors
    /// The memory is empty, or has too few transitions to draw without replacement; a number is out of its range;
    /// [`Error::OutOfMemory`]. Nothing is drawn then.
    pub fn sample(&mut self, draw: Draw) -> Result<Batch, Error> {
        let rows = total(draw)?;
        let (obs_bytes, action_bytes) = (self.stack_bytes(), self.rings.records.action_bytes);
        let weighted = self.priorities.is_some();
        let mut batch = Batch::of_zeros(rows, obs_bytes, action_bytes, weighted)?;
        let (columns, weights) = batch.columns();
        self.sample_into(draw, columns, weights)?;
        Ok(batch)
    }

    /// Like [`ReplayMemory::sample`], into existing columns, with the importance weights in `weights` if there are
    /// priorities.
    ///
    /// # Errors
    /// Those of [`ReplayMemory::sample`].
    ///
    /// # Panics
    /// A column's length is not that of the batch.
    pub fn sample_into<B: Element<u8>, F: Element<f32>, T: Element<bool>, I: Element<i64>>(
        &mut self,
        draw: Draw,
        out: Columns<'_, B, F, T, I>,
        weights: Option<&mut [F]>,
    ) -> Result<(), Error> {
        let Draw {
            minibatches,
            batch_size,
            n_step,
            gamma,
            replace,
            beta,
        } = draw;
        check_returns(n_step, gamma)?;
        if !(0.0..=1.0).contains(&beta) {
            return Err(Error::Beta { found: beta });
        }
        let rows = total(draw)?;
        if rows == 0 {
            return Ok(());
        }
        if self.rings.len == 0 {
            return Err(Error::Empty);
        }
        self.slots.clear();
        self.sources.clear();
        reserve(&mut self.slots, rows, BATCH)?;
        reserve(&mut self.sources, rows, BATCH)?;
        let before = self.rng.clone();
        let Self {
            rings,
            rng,
            priorities,
            slots,
            points,
            ..
        } = self;
        let drawn = match (priorities, replace) {
            (None, true) => sampling::uniform(rings, rng, rows, slots),
            (None, false) => {
                (0..minibatches).try_for_each(|_| sampling::distinct(rings, rng, batch_size, slots))
            }
            (Some(tree), true) => (0..minibatches)
                .try_for_each(|_| sampling::proportional(tree, rng, batch_size, slots, points)),
            (Some(tree), false) => (0..minibatches)
                .try_for_each(|_| sampling::proportional_distinct(tree, rng, batch_size, slots)),
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

    /// The transitions with these insertion ids, without weights. O(indices * n_step).
    ///
    /// # Errors
    /// [`Error::Stale`] for an id that is not in the memory; a number is out of its range; [`Error::OutOfMemory`].
    pub fn gather(&mut self, indices: &[i64], n_step: usize, gamma: f64) -> Result<Batch, Error> {
        let (obs_bytes, action_bytes) = (self.stack_bytes(), self.rings.records.action_bytes);
        let mut batch = Batch::of_zeros(indices.len(), obs_bytes, action_bytes, false)?;
        let (columns, _) = batch.columns();
        self.gather_into(indices, n_step, gamma, columns)?;
        Ok(batch)
    }

    /// Like [`ReplayMemory::gather`], into existing columns.
    ///
    /// # Errors
    /// Those of [`ReplayMemory::gather`].
    ///
    /// # Panics
    /// A column's length is not that of the batch.
    pub fn gather_into<B: Element<u8>, F: Element<f32>, T: Element<bool>, I: Element<i64>>(
        &mut self,
        indices: &[i64],
        n_step: usize,
        gamma: f64,
        out: Columns<'_, B, F, T, I>,
    ) -> Result<(), Error> {
        check_returns(n_step, gamma)?;
        self.slots.clear();
        self.sources.clear();
        reserve(&mut self.slots, indices.len(), BATCH)?;
        reserve(&mut self.sources, indices.len(), BATCH)?;
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
}

/// A column of zeros.
fn zeros<T: Clone + Default>(rows: usize, length: usize) -> Result<Vec<T>, Error> {
    let elements = rows.saturating_mul(length);
    let mut column = with_room(elements, BATCH)?;
    column.resize(elements, T::default());
    Ok(column)
}

/// The transitions of all minibatches.
fn total(draw: Draw) -> Result<usize, Error> {
    let (minibatches, batch_size) = (draw.minibatches, draw.batch_size);
    let refused = || Error::OutOfMemory {
        what: BATCH,
        asked: minibatches as u128 * batch_size as u128,
        available: available_bytes(),
    };
    minibatches.checked_mul(batch_size).ok_or_else(refused)
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
        return Err(Error::Gamma { found: gamma });
    }
    Ok(())
}
