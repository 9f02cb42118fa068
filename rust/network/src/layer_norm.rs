//! Layer normalisation (Ba et al. 2016) between a linear layer and its ReLU.

use crate::elements::rectified;
use crate::vectorised::vectorised;

/// PyTorch's default.
const EPSILON: f32 = 1e-5;

/// Sums in parallel.
const LANES: usize = 16;

/// What the backward pass needs of the forward pass.
pub(crate) struct Normalised<'a> {
    /// The normalised inputs, before scale and shift, (rows, n).
    pub(crate) rows: &'a mut [f32],
    /// The reciprocal of each row's standard deviation, (rows,).
    pub(crate) scales: &'a mut [f32],
}

/// The gradients of a normalised layer's parameters, (n,) each.
pub(crate) struct Gradients<'a> {
    pub(crate) linear_bias: &'a mut [f32],
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

vectorised! {
    /// Add the linear layer's bias to (rows, n), normalise, scale, shift and apply ReLU, in place.
    pub(crate) fn forward(
        rows: &mut [f32],
        linear_bias: &[f32],
        weight: &[f32],
        bias: &[f32],
        normalised: Normalised<'_>,
    ) {
        let n = linear_bias.len();
        let rows = rows
            .chunks_exact_mut(n)
            .zip(normalised.rows.chunks_exact_mut(n));
        for ((row, normalised), scale) in rows.zip(normalised.scales) {
            for (number, bias) in row.iter_mut().zip(linear_bias) {
                *number += bias;
            }
            let mean = sum_of(row, row, |number, _| number) / n as f32;
            let variance =
                sum_of(row, row, |number, _| (number - mean) * (number - mean)) / n as f32;
            *scale = 1.0 / (variance + EPSILON).sqrt();
            for ((number, normalised), (weight, bias)) in
                row.iter_mut().zip(normalised).zip(weight.iter().zip(bias))
            {
                *normalised = (*number - mean) * *scale;
                *number = rectified(*normalised * weight + bias);
            }
        }
    }

    /// Turn the outputs' gradient, (rows, n), into that of the linear outputs, and compute the parameters' gradients.
    pub(crate) fn backward(
        gradient: &mut [f32],
        outputs: &[f32],
        normalised: &[f32],
        scales: &[f32],
        weight: &[f32],
        gradients: Gradients<'_>,
    ) {
        let Gradients {
            linear_bias: linear_bias_sums,
            weight: weight_sums,
            bias: bias_sums,
        } = gradients;
        linear_bias_sums.fill(0.0);
        weight_sums.fill(0.0);
        bias_sums.fill(0.0);
        let n = weight.len();
        let rows = gradient.chunks_exact_mut(n).zip(outputs.chunks_exact(n));
        for (((gradient, outputs), normalised), scale) in
            rows.zip(normalised.chunks_exact(n)).zip(scales)
        {
            let sums = weight_sums.iter_mut().zip(bias_sums.iter_mut());
            for (((gradient, &output), &normalised), ((weight_sum, bias_sum), weight)) in gradient
                .iter_mut()
                .zip(outputs)
                .zip(normalised)
                .zip(sums.zip(weight))
            {
                let grad = if output <= 0.0 { 0.0 } else { *gradient };
                *weight_sum += grad * normalised;
                *bias_sum += grad;
                *gradient = grad * weight;
            }
            let mean = sum_of(gradient, normalised, |grad, _| grad) / n as f32;
            let along =
                sum_of(gradient, normalised, |grad, normalised| grad * normalised) / n as f32;
            for ((gradient, normalised), sum) in gradient
                .iter_mut()
                .zip(normalised)
                .zip(linear_bias_sums.iter_mut())
            {
                *gradient = scale * (*gradient - mean - normalised * along);
                *sum += *gradient;
            }
        }
    }
}

/// The sum of `term` over two rows, in an order that does not depend on their addresses.
#[inline(always)]
fn sum_of(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((sum, &left), &right) in sums.iter_mut().zip(left).zip(right) {
            *sum += term(left, right);
        }
    }
    let rest: f32 = left_rest
        .iter()
        .zip(right_rest)
        .map(|(&left, &right)| term(left, right))
        .sum();
    sums.iter().sum::<f32>() + rest
}
