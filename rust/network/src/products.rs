//! Matrix products on one thread; no other module uses the crate for them.
//!
//! All matrices are row-major slices.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// With fewer columns the transposed product is faster: 16 columns fill an AVX-512 register.
pub(crate) const FEW_COLUMNS: usize = 16;

/// `out` (m, n) = `left` (m, k) @ `right` (n, k) transposed.
pub(crate) fn times_transposed(left: &[f32], right: &[f32], k: usize, out: &mut [f32]) {
    let right = rows(right, k).transpose();
    let out = MatMut::from_row_major_slice_mut(out, left.len() / k, right.ncols());
    matmul(out, Accum::Replace, rows(left, k), right, 1.0, Par::Seq);
}

/// `out` (m, n) = `left` (m, k) @ `right` (k, n).
pub(crate) fn times(left: &[f32], right: &[f32], k: usize, out: &mut [f32]) {
    let (left, right) = (rows(left, k), rows(right, right.len() / k));
    let out = MatMut::from_row_major_slice_mut(out, left.nrows(), right.ncols());
    matmul(out, Accum::Replace, left, right, 1.0, Par::Seq);
}

/// `out` (m, n) = `left` (k, m) transposed @ `right` (k, n).
pub(crate) fn transposed_times(left: &[f32], right: &[f32], k: usize, out: &mut [f32]) {
    let (left, right) = (
        rows(left, left.len() / k).transpose(),
        rows(right, right.len() / k),
    );
    let out = MatMut::from_row_major_slice_mut(out, left.nrows(), right.ncols());
    matmul(out, Accum::Replace, left, right, 1.0, Par::Seq);
}

fn rows(numbers: &[f32], columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(numbers, numbers.len() / columns, columns)
}
