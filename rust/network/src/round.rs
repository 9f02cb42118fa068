//! A round of gradient updates: forward, target, backward, clip, step, follow.

use crate::adam::Moments;
use crate::batch::Batch;
use crate::buffer::Buffer;
use crate::choice::{best_action, mean};
use crate::elements::{follow, norm};
use crate::error::check_length;
use crate::mlp::{Activations, Gradients};
use crate::rule::Rule;
use crate::{Error, Shape};

/// The parameters and moments that a round changes.
#[derive(Debug)]
pub struct State<'a> {
    /// The online network's parameters.
    pub parameters: &'a mut [f32],
    /// Adam's moments.
    pub moments: Moments<'a>,
    /// The target network's parameters.
    pub target: &'a mut [f32],
    /// The averaged network's parameters, if there is one.
    pub average: Option<&'a mut [f32]>,
}

/// The counts before a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of updates.
    pub updates: u64,
    /// Number of Adam's steps.
    pub adam_steps: u64,
}

/// Statistics of a round's last update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// The minibatch's loss.
    pub loss: f32,
    /// The mean of the taken actions' values.
    pub q_mean: f32,
    /// The largest of them.
    pub q_max: f32,
    /// The gradient's Euclidean norm before it was clipped.
    pub grad_norm: f32,
}

/// Makes rounds of updates; has their working memory.
///
/// A round allocates nothing if an earlier one had minibatches of the same size.
#[derive(Debug)]
pub struct Learner {
    shape: Shape,
    online: Activations,
    target: Activations,
    gradients: Gradients,
    /// A minibatch's observations, then its next observations.
    both_obs: Buffer,
    minibatch: Minibatch,
}

/// Working memory for the loss of a minibatch.
#[derive(Debug, Default)]
struct Minibatch {
    /// The predictions of the taken actions, (B, N).
    taken: Buffer,
    /// Their targets, (B, N).
    targets: Buffer,
    /// The weight of each transition in the loss, (B,).
    loss_weights: Buffer,
    /// The gradient of `taken`, (B, N).
    grads: Buffer,
    /// The gradient of all predictions, (B, A * N).
    grad_predictions: Buffer,
}

impl Learner {
    /// A learner of networks of this shape.
    pub fn new(shape: Shape) -> Self {
        Self {
            online: Activations::new(&shape),
            target: Activations::new(&shape),
            gradients: Gradients::default(),
            both_obs: Buffer::default(),
            minibatch: Minibatch::default(),
            shape,
        }
    }

    /// The shape of the networks.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Make one gradient update per minibatch; write the errors of the expected returns to `td_errors` (count, size).
    ///
    /// O(transitions x parameters). The averaged network is updated once, with the last weights for all updates.
    ///
    /// # Errors
    /// A length does not fit, or an action or a number of the rule is out of range. Nothing is changed then.
    pub fn round(
        &mut self,
        state: &mut State<'_>,
        batch: &Batch<'_>,
        rule: &Rule,
        before: Progress,
        td_errors: &mut [f32],
    ) -> Result<Stats, Error> {
        rule.check(&self.shape)?;
        state.check(&self.shape)?;
        batch.check(&self.shape)?;
        check_length("td_errors", td_errors.len(), batch.rewards.len())?;

        let mut stats = Stats::default();
        let mut evaluated = 0..0;
        for (number, td_errors) in td_errors.chunks_exact_mut(batch.size).enumerate() {
            let updates = before.updates + number as u64;
            if number == evaluated.end {
                evaluated = number..number + rule.minibatches_at_once(updates, batch, number);
                let part = batch.part(number, evaluated.len());
                self.target
                    .forward(&self.shape, state.target, part.next_obs);
            }
            let minibatch = batch.part(number, 1);
            self.forward(state.parameters, &minibatch, rule.is_double);
            stats.loss = self.differentiate(&minibatch, number - evaluated.start, rule, td_errors);
            self.online.backward(
                &self.shape,
                state.parameters,
                minibatch.obs,
                &self.minibatch.grad_predictions,
                &mut self.gradients,
            );
            stats.grad_norm = norm(&self.gradients.parameters);
            let scale = clipping_scale(stats.grad_norm, rule.max_grad_norm);
            let step = before.adam_steps + number as u64 + 1;
            rule.adam.step(
                step,
                scale,
                &self.gradients.parameters,
                state.parameters,
                &mut state.moments,
            );
            if (updates + 1).is_multiple_of(rule.target_update_every) {
                follow(state.target, state.parameters, rule.tau);
            }
        }
        if let Some(average) = &mut state.average {
            follow(average, state.parameters, rule.average_share(batch.count));
        }
        if batch.count > 0 {
            (stats.q_mean, stats.q_max) = self.minibatch.mean_and_max(self.shape.outputs());
        }
        Ok(stats)
    }

    /// Run the online network on the minibatch's observations and, if needed, on the next ones in the same products.
    fn forward(&mut self, parameters: &[f32], minibatch: &Batch<'_>, is_double: bool) {
        if !is_double {
            self.online.forward(&self.shape, parameters, minibatch.obs);
            return;
        }
        let (obs, next_obs) = (minibatch.obs, minibatch.next_obs);
        self.both_obs.resize(obs.len() + next_obs.len());
        self.both_obs[..obs.len()].copy_from_slice(obs);
        self.both_obs[obs.len()..].copy_from_slice(next_obs);
        self.online.forward(&self.shape, parameters, &self.both_obs);
    }

    /// Compute targets, temporal-difference errors and the gradient of the predictions; return the loss.
    fn differentiate(
        &mut self,
        minibatch: &Batch<'_>,
        place: usize,
        rule: &Rule,
        td_errors: &mut [f32],
    ) -> f32 {
        let (n, width) = (self.shape.outputs(), self.shape.prediction_size());
        let Minibatch {
            taken,
            targets,
            loss_weights,
            grads,
            grad_predictions,
        } = &mut self.minibatch;
        let numbers = minibatch.size * width;
        let (own, chooser) = self.online.predictions().split_at(numbers);
        let next = &self.target.predictions()[place * numbers..][..numbers];
        let chooser = if rule.is_double { chooser } else { next };
        taken.resize(minibatch.size * n);
        targets.resize(minibatch.size * n);
        loss_weights.resize(minibatch.size);
        grads.resize(minibatch.size * n);
        grad_predictions.resize(numbers);

        for row in 0..minibatch.size {
            let (predictions, own_numbers) =
                (row * width..(row + 1) * width, row * n..(row + 1) * n);
            let action = minibatch.actions[row] as usize;
            let taken = &mut taken[own_numbers.clone()];
            taken.copy_from_slice(&own[predictions.clone()][action * n..][..n]);
            let next_action = best_action(&chooser[predictions.clone()], n);
            let next = &next[predictions][next_action * n..][..n];
            let targets = &mut targets[own_numbers];
            let (reward, discount) = (minibatch.rewards[row], minibatch.discounts[row]);
            for (target, next) in targets.iter_mut().zip(next) {
                *target = reward + discount * next;
            }
            td_errors[row] = mean(targets) - mean(taken);
            loss_weights[row] =
                minibatch.weights.map_or(1.0, |weights| weights[row]) / minibatch.size as f32;
        }
        let loss = rule
            .loss
            .differentiate(n, taken, targets, loss_weights, grads);
        grad_predictions.fill(0.0);
        let rows = grad_predictions
            .chunks_exact_mut(width)
            .zip(grads.chunks_exact(n));
        for ((grad_predictions, grads), &action) in rows.zip(minibatch.actions) {
            grad_predictions[action as usize * n..][..n].copy_from_slice(grads);
        }
        loss
    }
}

impl Minibatch {
    fn mean_and_max(&self, n: usize) -> (f32, f32) {
        let values = || self.taken.chunks_exact(n).map(mean);
        let largest = values().fold(f32::NEG_INFINITY, |largest, value| {
            if value > largest || value.is_nan() {
                value
            } else {
                largest
            }
        });
        (
            values().sum::<f32>() / self.loss_weights.len() as f32,
            largest,
        )
    }
}

impl State<'_> {
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let expected = shape.num_parameters();
        check_length("parameters", self.parameters.len(), expected)?;
        check_length("exp_avg", self.moments.exp_avg.len(), expected)?;
        check_length("exp_avg_sq", self.moments.exp_avg_sq.len(), expected)?;
        check_length("target", self.target.len(), expected)?;
        check_length(
            "average",
            self.average
                .as_ref()
                .map_or(expected, |average| average.len()),
            expected,
        )
    }
}

fn clipping_scale(norm: f32, limit: Option<f32>) -> f32 {
    match limit {
        Some(limit) if norm > limit => limit / norm,
        _ => 1.0,
    }
}
