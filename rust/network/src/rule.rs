//! The settings of the learning rule.

use crate::{Adam, Batch, Error, Loss, Shape};

/// Rows that the target network evaluates at once, in whole minibatches: with 256 outputs each they fill half a
/// megabyte of cache.
const TARGET_ROWS: usize = 512;

/// The learning rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The loss.
    pub loss: Loss,
    /// The online network chooses the next action, the target network values it (van Hasselt et al. 2016).
    pub is_double: bool,
    /// Euclidean norm that the gradient of all parameters is clipped to; `None` for no clipping.
    pub max_grad_norm: Option<f32>,
    /// The optimizer's settings.
    pub adam: Adam,
    /// Updates between updates of the target network.
    pub target_update_every: u64,
    /// Weight of the online network in an update of the target network; 1 copies it.
    pub tau: f32,
    /// Updates that the averaged network's exponential average extends over.
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

    /// How many minibatches from `number` on can be evaluated before the target network changes.
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
