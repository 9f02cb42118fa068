//! State value and advantages (Wang et al. 2016): predictions from the last layer's outputs.
//!
//! A row of outputs has `n` numbers of the value, then `n` of each action's advantage. A row of predictions has `n`
//! numbers of each action: value + advantage - mean advantage.

use crate::vectorised::vectorised;

vectorised! {
    /// Compute predictions (rows, actions * n) from outputs (rows, (actions + 1) * n).
    pub(crate) fn combine(outputs: &[f32], n: usize, actions: usize, predictions: &mut [f32]) {
        let share = 1.0 / actions as f32;
        let rows = outputs.chunks_exact((actions + 1) * n).zip(predictions.chunks_exact_mut(actions * n));
        for (outputs, predictions) in rows {
            let (value, advantages) = outputs.split_at(n);
            // The first action's prediction is computed last: until then its place has value - mean advantage.
            let (base, predictions) = predictions.split_at_mut(n);
            base.copy_from_slice(value);
            for advantages in advantages.chunks_exact(n) {
                for (base, advantage) in base.iter_mut().zip(advantages) {
                    *base -= share * advantage;
                }
            }
            let (first, advantages) = advantages.split_at(n);
            for (predictions, advantages) in predictions.chunks_exact_mut(n).zip(advantages.chunks_exact(n)) {
                for ((prediction, &base), advantage) in predictions.iter_mut().zip(&*base).zip(advantages) {
                    *prediction = base + advantage;
                }
            }
            for (base, advantage) in base.iter_mut().zip(first) {
                *base += advantage;
            }
        }
    }

    /// Compute the gradient of the outputs from that of the predictions.
    pub(crate) fn gradient_of(grad_predictions: &[f32], n: usize, actions: usize, grad_outputs: &mut [f32]) {
        let share = 1.0 / actions as f32;
        let rows = grad_predictions.chunks_exact(actions * n).zip(grad_outputs.chunks_exact_mut((actions + 1) * n));
        for (grad_predictions, grad_outputs) in rows {
            let (grad_value, grad_advantages) = grad_outputs.split_at_mut(n);
            grad_value.fill(0.0);
            for grad_predictions in grad_predictions.chunks_exact(n) {
                for (grad_value, grad_prediction) in grad_value.iter_mut().zip(grad_predictions) {
                    *grad_value += grad_prediction;
                }
            }
            let actions = grad_advantages.chunks_exact_mut(n).zip(grad_predictions.chunks_exact(n));
            for (advantages, predictions) in actions {
                for ((advantage, prediction), value) in advantages.iter_mut().zip(predictions).zip(&*grad_value) {
                    *advantage = prediction - share * value;
                }
            }
        }
    }
}
