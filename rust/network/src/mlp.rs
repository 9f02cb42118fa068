//! The forward and the backward pass.

use crate::buffer::Buffer;
use crate::shape::{Layer, Norm, Shape};
use crate::{dots, dueling, elements, layer_norm, products};

/// The layers' outputs in the last forward pass, for the backward pass.
#[derive(Debug)]
pub(crate) struct Activations {
    hidden: Vec<Hidden>,
    /// The last layer's outputs; empty without dueling, when they are the predictions.
    outputs: Buffer,
    predictions: Buffer,
}

#[derive(Debug, Default)]
struct Hidden {
    outputs: Buffer,
    normalised: Buffer,
    scales: Buffer,
}

/// Working memory of the backward pass.
#[derive(Debug, Default)]
pub(crate) struct Gradients {
    /// The gradient of the current layer's outputs.
    above: Buffer,
    /// The gradient of its inputs.
    below: Buffer,
    /// The gradient of the weight of a layer with few inputs, transposed: (inputs, outputs).
    transposed: Buffer,
    /// The gradient of all parameters.
    pub(crate) parameters: Buffer,
}

impl Activations {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            hidden: shape
                .hidden_layers()
                .iter()
                .map(|_| Hidden::default())
                .collect(),
            outputs: Buffer::default(),
            predictions: Buffer::default(),
        }
    }

    /// Return the predictions (rows, actions * outputs) for observations (rows, inputs).
    pub(crate) fn forward(&mut self, shape: &Shape, parameters: &[f32], obs: &[f32]) -> &[f32] {
        let rows = obs.len() / shape.observation_size();
        let mut inputs = obs;
        for (layer, hidden) in shape.hidden_layers().iter().zip(&mut self.hidden) {
            hidden.forward(layer, parameters, inputs, rows);
            inputs = &hidden.outputs;
        }
        let layer = shape.last_layer();
        let outputs = if shape.is_dueling() {
            &mut self.outputs
        } else {
            &mut self.predictions
        };
        outputs.resize(rows * layer.outputs);
        let weight = &parameters[layer.weight.clone()];
        let bias = &parameters[layer.bias.clone()];
        if layer.outputs <= dots::MOST_OUTPUTS {
            dots::linear(inputs, weight, bias, outputs);
        } else {
            products::times_transposed(inputs, weight, layer.inputs, outputs);
            elements::add_bias(outputs, bias);
        }
        if shape.is_dueling() {
            self.predictions.resize(rows * shape.prediction_size());
            dueling::combine(
                &self.outputs,
                shape.outputs(),
                shape.num_actions(),
                &mut self.predictions,
            );
        }
        &self.predictions
    }

    /// The predictions of the last forward pass.
    pub(crate) fn predictions(&self) -> &[f32] {
        &self.predictions
    }

    /// Compute the parameters' gradient from the predictions' for `obs`, the first rows of the last forward pass.
    pub(crate) fn backward(
        &self,
        shape: &Shape,
        parameters: &[f32],
        obs: &[f32],
        grad_predictions: &[f32],
        gradients: &mut Gradients,
    ) {
        let rows = obs.len() / shape.observation_size();
        let Gradients {
            above,
            below,
            transposed,
            parameters: grad_parameters,
        } = gradients;
        grad_parameters.resize(shape.num_parameters());
        let last = shape.last_layer();
        above.resize(rows * last.outputs);
        if shape.is_dueling() {
            dueling::gradient_of(
                grad_predictions,
                shape.outputs(),
                shape.num_actions(),
                above,
            );
        } else {
            above.copy_from_slice(grad_predictions);
        }
        elements::sum_columns(above, &mut grad_parameters[last.bias.clone()]);
        for (number, layer) in shape.layers().iter().enumerate().rev() {
            let inputs = match number.checked_sub(1) {
                None => obs,
                Some(under) => &self.hidden[under].outputs[..rows * layer.inputs],
            };
            let grad_weight = &mut grad_parameters[layer.weight.clone()];
            if layer.inputs < products::FEW_COLUMNS {
                transposed.resize(grad_weight.len());
                products::transposed_times(inputs, above, rows, transposed);
                elements::transpose(transposed, layer.inputs, grad_weight);
            } else {
                products::transposed_times(above, inputs, rows, grad_weight);
            }
            if let Some(under) = number.checked_sub(1) {
                below.resize(rows * layer.inputs);
                products::times(
                    above,
                    &parameters[layer.weight.clone()],
                    layer.outputs,
                    below,
                );
                self.hidden[under].backward(
                    &shape.layers()[under],
                    parameters,
                    below,
                    grad_parameters,
                );
                std::mem::swap(above, below);
            }
        }
    }
}

impl Hidden {
    fn forward(&mut self, layer: &Layer, parameters: &[f32], inputs: &[f32], rows: usize) {
        let Self {
            outputs,
            normalised,
            scales,
        } = self;
        let bias = &parameters[layer.bias.clone()];
        outputs.resize(rows * layer.outputs);
        products::times_transposed(
            inputs,
            &parameters[layer.weight.clone()],
            layer.inputs,
            outputs,
        );
        let Some(norm) = &layer.norm else {
            elements::add_bias_and_rectify(outputs, bias);
            return;
        };
        normalised.resize(rows * layer.outputs);
        scales.resize(rows);
        let normalised = layer_norm::Normalised {
            rows: normalised,
            scales,
        };
        layer_norm::forward(
            outputs,
            bias,
            &parameters[norm.weight.clone()],
            &parameters[norm.bias.clone()],
            normalised,
        );
    }

    /// Turn the gradient of the layer's outputs, for its first rows, into that of the linear outputs.
    fn backward(
        &self,
        layer: &Layer,
        parameters: &[f32],
        gradient: &mut [f32],
        grad_parameters: &mut [f32],
    ) {
        let Some(norm) = &layer.norm else {
            elements::rectify_gradient_and_sum(
                gradient,
                &self.outputs[..gradient.len()],
                &mut grad_parameters[layer.bias.clone()],
            );
            return;
        };
        layer_norm::backward(
            gradient,
            &self.outputs[..gradient.len()],
            &self.normalised[..gradient.len()],
            &self.scales,
            &parameters[norm.weight.clone()],
            norm_gradients(layer, norm, grad_parameters),
        );
    }
}

/// Split off the gradients of a normalised layer: its bias, the normalisation's weight and bias.
fn norm_gradients<'a>(
    layer: &Layer,
    norm: &Norm,
    grad_parameters: &'a mut [f32],
) -> layer_norm::Gradients<'a> {
    let parts = &mut grad_parameters[layer.bias.start..norm.bias.end];
    let (linear_bias, parts) = parts.split_at_mut(layer.outputs);
    let (weight, bias) = parts.split_at_mut(layer.outputs);
    layer_norm::Gradients {
        linear_bias,
        weight,
        bias,
    }
}
