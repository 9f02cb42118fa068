//! The losses of one transition, and their derivatives.

use crate::Error;
use crate::vectorised::vectorised;

/// The loss between a taken action's predictions and their target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Half the squared error up to 1, linear beyond; for one number per action.
    Huber,
    /// The squared error; for one number per action.
    Squared,
    /// The quantile Huber loss of QR-DQN (Dabney et al. 2018) for n quantiles at (i + 0.5) / n: the sum over quantiles
    /// of the mean over the target's quantiles.
    Quantile,
}

/// Quantiles that are compared with a target in parallel.
const LANES: usize = 8;

impl Loss {
    /// Check that the loss supports `outputs` numbers per action.
    pub(crate) fn check(self, outputs: usize) -> Result<(), Error> {
        match self {
            Self::Huber | Self::Squared if outputs != 1 => Err(Error::NotOneOutput { outputs }),
            _ => Ok(()),
        }
    }

    /// Return the weighted sum of the losses of rows of `n` numbers; write its gradient to `grads`.
    ///
    /// `taken`, `targets` and `grads` are (rows, n), `weights` is (rows,).
    pub(crate) fn differentiate(
        self,
        n: usize,
        taken: &[f32],
        targets: &[f32],
        weights: &[f32],
        grads: &mut [f32],
    ) -> f32 {
        differentiate(self, n, taken, targets, weights, grads)
    }
}

vectorised! {
    fn differentiate(
        loss: Loss,
        n: usize,
        taken: &[f32],
        targets: &[f32],
        weights: &[f32],
        grads: &mut [f32],
    ) -> f32 {
        let rows = grads.chunks_exact_mut(n).zip(weights);
        let numbers = taken.chunks_exact(n).zip(targets.chunks_exact(n));
        let mut total = 0.0;
        for ((grads, &weight), (taken, targets)) in rows.zip(numbers) {
            let loss = match loss {
                Loss::Huber => huber(taken[0] - targets[0], &mut grads[0]),
                Loss::Squared => squared(taken[0] - targets[0], &mut grads[0]),
                Loss::Quantile => quantile_huber(taken, targets, grads),
            };
            total += weight * loss;
            for grad in grads {
                *grad *= weight;
            }
        }
        total
    }
}

#[inline(always)]
fn huber(error: f32, grad: &mut f32) -> f32 {
    *grad = error.clamp(-1.0, 1.0);
    *grad * (error - 0.5 * *grad)
}

#[inline(always)]
fn squared(error: f32, grad: &mut f32) -> f32 {
    *grad = 2.0 * error;
    error * error
}

#[inline(always)]
fn quantile_huber(taken: &[f32], targets: &[f32], grads: &mut [f32]) -> f32 {
    let n = taken.len();
    let share = 1.0 / n as f32;
    let mut total = 0.0;
    for (chunk, (taken, grads)) in taken.chunks(LANES).zip(grads.chunks_mut(LANES)).enumerate() {
        // The last chunk may have unused lanes, which are ignored.
        let mut quantiles = [0.0; LANES];
        quantiles[..taken.len()].copy_from_slice(taken);
        let mut midpoints = [0.0; LANES];
        for (lane, midpoint) in midpoints.iter_mut().enumerate() {
            *midpoint = ((chunk * LANES + lane) as f32 + 0.5) * share;
        }
        let (mut grad_sums, mut loss_sums) = ([0.0; LANES], [0.0; LANES]);
        for target in targets {
            for lane in 0..LANES {
                let error = quantiles[lane] - target;
                let midpoint = midpoints[lane];
                let weight = if error > 0.0 {
                    1.0 - midpoint
                } else {
                    midpoint
                };
                let cut = error.clamp(-1.0, 1.0);
                grad_sums[lane] += weight * cut;
                loss_sums[lane] += weight * (cut * (error - 0.5 * cut));
            }
        }
        for (lane, grad) in grads.iter_mut().enumerate() {
            *grad = share * grad_sums[lane];
            total += share * loss_sums[lane];
        }
    }
    total
}
