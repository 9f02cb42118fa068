//! The side store of final observations, which are not in the next slot of a ring.

use super::available::available_bytes;
use crate::Error;

/// A pool of rows of `row_bytes`; it grows by chunks and never moves a row.
#[derive(Debug)]
pub(crate) struct Finals {
    row_bytes: usize,
    /// log2 of the rows in a chunk.
    shift: u32,
    chunks: Vec<Vec<u8>>,
    /// Free rows; the last one is taken next.
    free: Vec<u32>,
}

/// Bytes of a chunk, about; small enough that a push never clears much memory.
const CHUNK_BYTES: usize = 256 << 10;

impl Finals {
    /// An empty store that will hold at most `rows` rows. O(1).
    pub(crate) fn new(row_bytes: usize, rows: usize) -> Self {
        let rows_per_chunk = (CHUNK_BYTES / row_bytes.max(1)).clamp(1, rows.next_power_of_two());
        Self {
            row_bytes,
            shift: rows_per_chunk.ilog2(),
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The allocated bytes.
    pub(crate) fn nbytes(&self) -> usize {
        let free = self.free.capacity() * size_of::<u32>();
        self.chunks.len() * (self.row_bytes << self.shift) + free
    }

    /// Make sure that `rows` more rows can be taken. O(rows) when it must grow.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<(), Error> {
        while self.free.len() < rows {
            let rows_per_chunk = 1_usize << self.shift;
            let bytes = self.row_bytes << self.shift;
            let refused = |_| Error::OutOfMemory {
                what: "a chunk of final observations",
                asked: bytes as u128,
                available: available_bytes(),
            };
            let first = self.chunks.len() * rows_per_chunk;
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(bytes).map_err(refused)?;
            self.chunks.try_reserve(1).map_err(refused)?;
            // Capacity for all rows, so that giving one back never allocates.
            self.free
                .try_reserve(first + rows_per_chunk - self.free.len())
                .map_err(refused)?;
            chunk.resize(bytes, 0);
            self.chunks.push(chunk);
            self.free
                .extend((first..first + rows_per_chunk).rev().map(|row| row as u32));
        }
        Ok(())
    }

    /// Take a row that was reserved. O(1).
    pub(crate) fn take(&mut self) -> u32 {
        self.free
            .pop()
            .expect("a row was reserved before it is taken")
    }

    /// Give a row back. O(1).
    pub(crate) fn give_back(&mut self, row: u32) {
        self.free.push(row);
    }

    /// Give every row back, keeping the memory. O(rows).
    pub(crate) fn clear(&mut self) {
        self.free.clear();
        self.free.extend(
            (0..self.chunks.len() << self.shift)
                .rev()
                .map(|row| row as u32),
        );
    }

    /// A row's bytes. O(1).
    #[inline]
    pub(crate) fn row(&self, row: u32) -> &[u8] {
        let (chunk, start) = self.place(row);
        &self.chunks[chunk][start..start + self.row_bytes]
    }

    /// A row's bytes, for writing. O(1).
    #[inline]
    pub(crate) fn row_mut(&mut self, row: u32) -> &mut [u8] {
        let (chunk, start) = self.place(row);
        &mut self.chunks[chunk][start..start + self.row_bytes]
    }

    #[inline]
    fn place(&self, row: u32) -> (usize, usize) {
        let row = row as usize;
        (
            row >> self.shift,
            (row & ((1 << self.shift) - 1)) * self.row_bytes,
        )
    }
}
