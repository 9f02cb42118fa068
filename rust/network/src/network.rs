//! Answers to observations, for acting.

use crate::choice::best_action;
use crate::error::check_length;
use crate::mlp::Activations;
use crate::{Error, Shape};

/// A network that answers, and the memory that it works in.
///
/// Parameters are one slice in the order of PyTorch's `Module.parameters()`: of each linear layer the weight
/// (outputs, inputs), row-major, then the bias; after a hidden layer with normalisation, that one's weight and bias.
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

    /// Every action's numbers, (rows, actions, outputs), for `obs` (rows, observation size). O(rows x parameters).
    ///
    /// # Errors
    /// There are too few or too many parameters, or the observations are no whole rows.
    pub fn forward(&mut self, parameters: &[f32], obs: &[f32]) -> Result<&[f32], Error> {
        check_length("parameters", parameters.len(), self.shape.num_parameters())?;
        let size = self.shape.observation_size();
        check_length("obs", obs.len(), obs.len().next_multiple_of(size))?;
        Ok(self.activations.forward(&self.shape, parameters, obs))
    }

    /// For every row of `obs` the action whose numbers have the largest mean, the first one of equals.
    ///
    /// # Errors
    /// As [`Network::forward`]; or `actions` are not one for each row.
    pub fn greedy_actions(
        &mut self,
        parameters: &[f32],
        obs: &[f32],
        actions: &mut [i64],
    ) -> Result<(), Error> {
        let (n, width) = (self.shape.outputs(), self.shape.answer_size());
        check_length(
            "actions",
            actions.len(),
            obs.len() / self.shape.observation_size(),
        )?;
        let answers = self.forward(parameters, obs)?;
        for (action, answers) in actions.iter_mut().zip(answers.chunks_exact(width)) {
            *action = best_action(answers, n) as i64;
        }
        Ok(())
    }
}
