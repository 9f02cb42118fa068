//! Greedy actions.

/// The first action with the largest mean of its `n` numbers; NaN counts as the largest.
#[inline(always)]
pub(crate) fn best_action(predictions: &[f32], n: usize) -> usize {
    let (mut best, mut largest) = (0, f32::NEG_INFINITY);
    for (action, numbers) in predictions.chunks_exact(n).enumerate() {
        let mean = mean(numbers);
        if mean > largest || (mean.is_nan() && !largest.is_nan()) {
            (best, largest) = (action, mean);
        }
    }
    best
}

/// The mean of an action's numbers.
#[inline(always)]
pub(crate) fn mean(numbers: &[f32]) -> f32 {
    match numbers {
        [number] => *number,
        _ => numbers.iter().sum::<f32>() / numbers.len() as f32,
    }
}
