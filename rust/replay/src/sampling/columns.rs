//! The columns that a batch is written to.

use std::mem::MaybeUninit;

/// Output for a batch: one column per field, all with the same number of rows.
///
/// A call that succeeds has written every element, so elements may be `MaybeUninit`: new memory need not be cleared.
#[derive(Debug)]
pub struct Columns<'a, Byte = u8, Float = f32, Flag = bool, Int = i64> {
    /// Rows of the observations acted on.
    pub obs: &'a mut [Byte],
    /// Rows of the actions taken.
    pub actions: &'a mut [Byte],
    /// Discounted sums of the rewards of up to `n_step` steps.
    pub rewards: &'a mut [Float],
    /// Rows of the observations after the last of these steps.
    pub next_obs: &'a mut [Byte],
    /// gamma^k for k steps, 0 where the last one terminated.
    pub discounts: &'a mut [Float],
    /// Whether the last of these steps terminated.
    pub terminated: &'a mut [Flag],
    /// Insertion ids.
    pub indices: &'a mut [Int],
}

/// An element that a value can be written to, initialised or not.
pub trait Element<T> {
    /// Write the value. O(1).
    fn put(&mut self, value: T);
}

impl<T> Element<T> for T {
    #[inline(always)]
    fn put(&mut self, value: T) {
        *self = value;
    }
}

impl<T> Element<T> for MaybeUninit<T> {
    #[inline(always)]
    fn put(&mut self, value: T) {
        self.write(value);
    }
}

/// Write a row. `N` is its size, or 0 for any size.
#[inline(always)]
pub(super) fn copy<const N: usize, B: Element<u8>>(to: &mut [B], from: &[u8]) {
    let put = |(to, &from): (&mut B, &u8)| to.put(from);
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) if N != 0 => to.iter_mut().zip(from).for_each(put),
        // A loop that the compiler turns into memcpy.
        _ => to.iter_mut().zip(from).for_each(put),
    }
}
