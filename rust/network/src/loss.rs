//! The losses of one transition, and their derivatives.

use crate::Error;
use crate::vectorised::vectorised;

/// What is made small: the difference between a taken action's numbers and their target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Half the square of the error up to 1, and linear beyond; of one value an action.
    Huber,
    /// The square of the error; of one value an action.
    Squared,
    /// The quantile Huber loss of QR-DQN (Dabney et al. 2018), of quantiles at the midpoints of equal shares: summed
    /// over an action's quantiles, averaged over the target's.
    Quantile,
}

/// Quantiles that are compared with one target side by side.
const LANES: usize = 8;

impl Loss {
    /// Check that the loss can be taken of so many numbers an action.
    pub(crate) fn check(self, outputs: usize) -> Result<(), Error> {
        match self {
            Self::Huber | Self::Squared if outputs != 1 => Err(Error::NotOneOutput { outputs }),
            _ => Ok(()),
        }
    }

    /// The losses' sum over rows of `n` numbers, of which each has a weight; `slopes` are its derivatives.
    ///
    /// `taken`, `targets` and `slopes` are (rows, n), `weights` is (rows,).
    pub(crate) fn differentiate(
        self,
        n: usize,
        taken: &[f32],
        targets: &[f32],
        weights: &[f32],
        slopes: &mut [f32],
    ) -> f32 {
        differentiate(self, n, taken, targets, weights, slopes)
    }
}

vectorised! {
    fn differentiate(
        loss: Loss,
        n: usize,
        taken: &[f32],
        targets: &[f32],
        weights: &[f32],
        slopes: &mut [f32],
    ) -> f32 {
        let rows = slopes.chunks_exact_mut(n).zip(weights);
        let numbers = taken.chunks_exact(n).zip(targets.chunks_exact(n));
        let mut total = 0.0;
        for ((slopes, &weight), (taken, targets)) in rows.zip(numbers) {
            let loss = match loss {
                Loss::Huber => huber(taken[0] - targets[0], &mut slopes[0]),
                Loss::Squared => squared(taken[0] - targets[0], &mut slopes[0]),
                Loss::Quantile => quantile_huber(taken, targets, slopes),
            };
            total += weight * loss;
            for slope in slopes {
                *slope *= weight;
            }
        }
        total
    }
}

#[inline(always)]
fn huber(error: f32, slope: &mut f32) -> f32 {
    *slope = error.clamp(-1.0, 1.0);
    *slope * (error - 0.5 * *slope)
}

#[inline(always)]
fn squared(error: f32, slope: &mut f32) -> f32 {
    *slope = 2.0 * error;
    error * error
}

#[inline(always)]
fn quantile_huber(taken: &[f32], targets: &[f32], slopes: &mut [f32]) -> f32 {
    let n = taken.len();
    let share = 1.0 / n as f32;
    let mut total = 0.0;
    for (chunk, (taken, slopes)) in taken
        .chunks(LANES)
        .zip(slopes.chunks_mut(LANES))
        .enumerate()
    {
        // The last chunk may have lanes too many; what they hold is left aside.
        let mut quantiles = [0.0; LANES];
        quantiles[..taken.len()].copy_from_slice(taken);
        let mut midpoints = [0.0; LANES];
        for (lane, midpoint) in midpoints.iter_mut().enumerate() {
            *midpoint = ((chunk * LANES + lane) as f32 + 0.5) * share;
        }
        let (mut slope_sums, mut loss_sums) = ([0.0; LANES], [0.0; LANES]);
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
                slope_sums[lane] += weight * cut;
                loss_sums[lane] += weight * (cut * (error - 0.5 * cut));
            }
        }
        for (lane, slope) in slopes.iter_mut().enumerate() {
            *slope = share * slope_sums[lane];
            total += share * loss_sums[lane];
        }
    }
    total
}
