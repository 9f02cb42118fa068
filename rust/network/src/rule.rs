//! The numbers of the learning rule.

use crate::{Adam, Batch, Error, Loss, Shape};

/// Rows that the target network answers to at once, in whole minibatches; so few that a layer's outputs, of 256 numbers
/// each, fill half a megabyte of cache.
const TARGET_ROWS: usize = 512;

/// How a network learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What is made small.
    pub loss: Loss,
    /// The online network chooses the next action, the target network values it (van Hasselt et al. 2016).
    pub is_double: bool,
    /// The Euclidean norm over all parameters that a gradient is scaled down to; `None` leaves it.
    pub max_grad_norm: Option<f32>,
    /// The step that is taken against the gradient.
    pub adam: Adam,
    /// Updates between those of the target network.
    pub target_update_every: u64,
    /// The share of the online network that an update of the target network takes; 1 copies it.
    pub tau: f32,
    /// Updates that the averaged network's weights are averaged over, each with a share that falls exponentially.
    pub average_updates: u64,
}

impl Rule {
    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.loss.check(shape.outputs())?;
        self.adam.check()?;
        if self.target_update_every == 0 {
            return Err(Error::Zero {
                name: "target_update_every",
            });
        }
        if self.average_updates == 0 {
            return Err(Error::Zero {
                name: "average_updates",
            });
        }
        let is_share = self.tau > 0.0 && self.tau <= 1.0;
        if !is_share {
            return Err(Error::OutOfBounds {
                name: "tau",
                value: self.tau.into(),
                bounds: "above 0 and at most 1",
            });
        }
        match self.max_grad_norm {
            Some(limit) if limit.is_nan() || limit <= 0.0 => Err(Error::OutOfBounds {
                name: "max_grad_norm",
                value: limit.into(),
                bounds: "above 0",
            }),
            _ => Ok(()),
        }
    }

    /// How many minibatches from `number` on the target network can answer to before it changes.
    pub(crate) fn minibatches_at_once(
        &self,
        updates: u64,
        batch: &Batch<'_>,
        number: usize,
    ) -> usize {
        let until_change = self.target_update_every - updates % self.target_update_every;
        let at_most = (TARGET_ROWS / batch.size).max(1).min(batch.count - number);
        usize::try_from(until_change).map_or(at_most, |until| until.min(at_most))
    }

    pub(crate) fn average_share(&self, updates: usize) -> f32 {
        let kept = 1.0 - 1.0 / self.average_updates as f64;
        (1.0 - kept.powf(updates as f64)) as f32
    }
}
