//! Adam (Kingma and Ba 2015).

use crate::Error;
use crate::vectorised::vectorised;

/// Adam's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for Adam {
    /// The paper's settings.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// Adam's moments, moving averages of the gradient.
#[derive(Debug)]
pub struct Moments<'a> {
    /// The average of the gradient.
    pub exp_avg: &'a mut [f32],
    /// The average of its square.
    pub exp_avg_sq: &'a mut [f32],
}

impl Adam {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_share = |beta: f64| (0.0..1.0).contains(&beta);
        let checks = [
            (
                "learning_rate",
                self.learning_rate,
                self.learning_rate >= 0.0,
                "at least 0",
            ),
            (
                "beta1",
                self.beta1,
                is_share(self.beta1),
                "at least 0 and below 1",
            ),
            (
                "beta2",
                self.beta2,
                is_share(self.beta2),
                "at least 0 and below 1",
            ),
            ("epsilon", self.epsilon, self.epsilon >= 0.0, "at least 0"),
        ];
        match checks.into_iter().find(|&(_, _, is_good, _)| !is_good) {
            Some((name, value, _, bounds)) => Err(Error::OutOfBounds {
                name,
                value,
                bounds,
            }),
            None => Ok(()),
        }
    }

    /// Make step number `step`, counted from 1, with the gradient `scale * gradient`.
    pub(crate) fn step(
        &self,
        step: u64,
        scale: f32,
        gradient: &[f32],
        parameters: &mut [f32],
        moments: &mut Moments<'_>,
    ) {
        let correction1 = 1.0 - self.beta1.powf(step as f64);
        let correction2 = 1.0 - self.beta2.powf(step as f64);
        let step_size = (self.learning_rate / correction1) as f32;
        let root_scale = (1.0 / correction2.sqrt()) as f32;
        let (share1, beta2) = ((1.0 - self.beta1) as f32, self.beta2 as f32);
        let (share2, epsilon) = ((1.0 - self.beta2) as f32, self.epsilon as f32);
        let numbers = Step {
            scale,
            step_size,
            root_scale,
            share1,
            beta2,
            share2,
            epsilon,
        };
        take_step(
            numbers,
            gradient,
            parameters,
            moments.exp_avg,
            moments.exp_avg_sq,
        );
    }
}

/// The coefficients of one step, in single precision.
struct Step {
    scale: f32,
    step_size: f32,
    root_scale: f32,
    share1: f32,
    beta2: f32,
    share2: f32,
    epsilon: f32,
}

vectorised! {
    fn take_step(
        step: Step,
        gradient: &[f32],
        parameters: &mut [f32],
        exp_avg: &mut [f32],
        exp_avg_sq: &mut [f32],
    ) {
        let Step { scale, step_size, root_scale, share1, beta2, share2, epsilon } = step;
        let moments = exp_avg.iter_mut().zip(exp_avg_sq);
        for ((parameter, gradient), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let gradient = scale * gradient;
            *mean += share1 * (gradient - *mean);
            *square = beta2 * *square + share2 * (gradient * gradient);
            *parameter -= step_size * *mean / (square.sqrt() * root_scale + epsilon);
        }
    }
}
