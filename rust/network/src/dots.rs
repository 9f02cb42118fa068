//! A linear layer with few outputs, such as the last one of a value head.
//!
//! The kernels of a matrix product compute 16 outputs at once, which wastes most of the work for three.

use crate::vectorised::vectorised;

/// The most outputs that are computed as dot products: 3 were faster so, and the time grows with their number.
pub(crate) const MOST_OUTPUTS: usize = 4;

/// Products that are summed in parallel.
const LANES: usize = 16;

vectorised! {
    /// `outputs` (rows, n) = `inputs` (rows, k) @ `weight` (n, k) transposed + `bias` (n,).
    pub(crate) fn linear(inputs: &[f32], weight: &[f32], bias: &[f32], outputs: &mut [f32]) {
        let n = bias.len();
        let k = weight.len() / n;
        for (inputs, outputs) in inputs.chunks_exact(k).zip(outputs.chunks_exact_mut(n)) {
            for ((output, weight), bias) in outputs.iter_mut().zip(weight.chunks_exact(k)).zip(bias) {
                *output = dot(inputs, weight) + bias;
            }
        }
    }
}

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    // In halves, so that the additions do not wait for each other.
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    let rest = left_rest
        .iter()
        .zip(right_rest)
        .map(|(left, right)| left * right);
    sums[0] + rest.sum::<f32>()
}
