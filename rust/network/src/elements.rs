//! Elementwise loops.

use crate::vectorised::vectorised;

/// Sums in parallel: four AVX registers, so that no addition waits for the one before.
const LANES: usize = 32;

/// ReLU; NaN stays NaN.
#[inline(always)]
pub(crate) fn rectified(number: f32) -> f32 {
    if number < 0.0 { 0.0 } else { number }
}

vectorised! {
    /// Add `bias` to every row.
    pub(crate) fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (number, bias) in row.iter_mut().zip(bias) {
                *number += bias;
            }
        }
    }

    /// Add `bias` to every row and apply ReLU.
    pub(crate) fn add_bias_and_rectify(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (number, bias) in row.iter_mut().zip(bias) {
                *number = rectified(*number + bias);
            }
        }
    }

    /// Clear the gradient where the ReLU's output is 0, and sum its columns.
    pub(crate) fn rectify_gradient_and_sum(gradient: &mut [f32], rectified: &[f32], sums: &mut [f32]) {
        sums.fill(0.0);
        let columns = sums.len();
        for (gradient, rectified) in gradient
            .chunks_exact_mut(columns)
            .zip(rectified.chunks_exact(columns))
        {
            for ((gradient, &rectified), sum) in
                gradient.iter_mut().zip(rectified).zip(sums.iter_mut())
            {
                *gradient = if rectified <= 0.0 { 0.0 } else { *gradient };
                *sum += *gradient;
            }
        }
    }

    /// Sum the columns of rows.
    pub(crate) fn sum_columns(rows: &[f32], sums: &mut [f32]) {
        sums.fill(0.0);
        for row in rows.chunks_exact(sums.len()) {
            for (sum, number) in sums.iter_mut().zip(row) {
                *sum += number;
            }
        }
    }

    /// `out` (columns, rows) = `matrix` (rows, columns) transposed.
    pub(crate) fn transpose(matrix: &[f32], rows: usize, out: &mut [f32]) {
        let columns = matrix.len() / rows;
        for (column, out) in out.chunks_exact_mut(rows).enumerate() {
            for (row, number) in out.iter_mut().enumerate() {
                *number = matrix[row * columns + column];
            }
        }
    }

    /// The Euclidean norm.
    pub(crate) fn norm(numbers: &[f32]) -> f32 {
        let (chunks, rest) = numbers.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for chunk in chunks {
            for (sum, number) in sums.iter_mut().zip(chunk) {
                *sum += number * number;
            }
        }
        let rest: f32 = rest.iter().map(|number| number * number).sum();
        (sums.iter().sum::<f32>() + rest).sqrt()
    }

    /// Move `followers` towards `leaders` by a share of the difference.
    pub(crate) fn follow(followers: &mut [f32], leaders: &[f32], share: f32) {
        if share == 1.0 {
            followers.copy_from_slice(leaders);
            return;
        }
        for (follower, leader) in followers.iter_mut().zip(leaders) {
            *follower += share * (leader - *follower);
        }
    }
}
