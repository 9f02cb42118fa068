//! Working memory of a round.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line: vector registers load fastest from multiples of it.
const ALIGNMENT: usize = 64;

/// A slice of numbers that is aligned to a cache line.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Set the length; the content is unspecified.
    pub(crate) fn resize(&mut self, length: usize) {
        let padding = ALIGNMENT / size_of::<f32>();
        if self.numbers.len() < length + padding {
            self.numbers = vec![0.0; length + padding];
            self.start = self.numbers.as_ptr().align_offset(ALIGNMENT).min(padding);
        }
        self.length = length;
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.length]
    }
}
