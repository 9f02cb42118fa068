//! Predictions and greedy actions, for acting.

use crate::choice::best_action;
use crate::error::check_length;
use crate::mlp::Activations;
use crate::{Error, Shape};

/// A network for acting, with its working memory.
///
/// Parameters are one slice in the order of PyTorch's `Module.parameters()`: for each linear layer the weight
/// (outputs, inputs), row-major, and the bias; after each hidden layer the normalisation's weight and bias, if any.
#[derive(Debug)]
pub struct Network {
    shape: Shape,
    activations: Activations,
}

impl Network {
    /// A network of this shape.
    pub fn new(shape: Shape) -> Self {
        let activations = Activations::new(&shape);
        Self { shape, activations }
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Return the predictions (rows, actions, outputs) for `obs` (rows, observation size). O(rows x parameters).
    ///
    /// # Errors
    /// The number of parameters is wrong, or the observations are not whole rows.
    pub fn forward(&mut self, parameters: &[f32], obs: &[f32]) -> Result<&[f32], Error> {
        check_length("parameters", parameters.len(), self.shape.num_parameters())?;
        let size = self.shape.observation_size();
        check_length("obs", obs.len(), obs.len().next_multiple_of(size))?;
        Ok(self.activations.forward(&self.shape, parameters, obs))
    }

    /// Write, for each row of `obs`, the first action with the largest mean prediction.
    ///
    /// # Errors
    /// Those of [`Network::forward`], or `actions` has not one element for each row.
    pub fn greedy_actions(
        &mut self,
        parameters: &[f32],
        obs: &[f32],
        actions: &mut [i64],
    ) -> Result<(), Error> {
        let (n, width) = (self.shape.outputs(), self.shape.prediction_size());
        check_length(
            "actions",
            actions.len(),
            obs.len() / self.shape.observation_size(),
        )?;
        let predictions = self.forward(parameters, obs)?;
        for (action, predictions) in actions.iter_mut().zip(predictions.chunks_exact(width)) {
            *action = best_action(predictions, n) as i64;
        }
        Ok(())
    }
}
