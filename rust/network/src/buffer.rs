//! Memory that a round works in.

use std::ops::{Deref, DerefMut};

/// A processor's vector registers load fastest from addresses that are multiples of this.
const ALIGNMENT: usize = 64;

/// Numbers that begin at a cache line's start.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Make room for `length` numbers, whatever they hold.
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
