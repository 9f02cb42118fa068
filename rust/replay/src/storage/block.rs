//! One large allocation.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes of a huge page on usual processors.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed bytes, whose pages the system provides as they are first written; in huge pages if possible, without which
/// address translation for random rows takes as long as reading them.
#[derive(Debug)]
pub(crate) struct Block {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl Block {
    /// The size of a block for `bytes`: rounded up to whole huge pages, if that is little more. O(1).
    pub(crate) fn rounded(bytes: u128) -> u128 {
        let rounded = bytes.next_multiple_of(HUGE_PAGE_BYTES as u128);
        if rounded - bytes <= bytes / 16 {
            rounded
        } else {
            bytes
        }
    }

    /// A block of `len` bytes. O(1).
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        if len < HUGE_PAGE_BYTES {
            let map = MmapMut::map_anon(len)?;
            return Ok(Self { map, start: 0, len });
        }
        // Huge pages begin at multiples of their size. The bytes before and after are never touched, so they take no
        // memory.
        let map = MmapMut::map_anon(len.saturating_add(HUGE_PAGE_BYTES))?;
        #[cfg(target_os = "linux")]
        {
            // This only affects speed: a kernel without huge pages returns an error, which is ignored.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let address = map.as_ptr().addr();
        let start = address.next_multiple_of(HUGE_PAGE_BYTES) - address;
        Ok(Self { map, start, len })
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.map[self.start..][..self.len]
    }
}

impl DerefMut for Block {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, HUGE_PAGE_BYTES};

    #[test]
    fn large_block_begins_at_a_huge_page_and_is_zeroed() -> std::io::Result<()> {
        for len in [HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 5] {
            let mut block = Block::new(len)?;
            assert_eq!(block.len(), len);
            assert_eq!(block.as_ptr().addr() % HUGE_PAGE_BYTES, 0);
            assert!(block.iter().all(|&byte| byte == 0));
            block[len - 1] = 7;
            assert_eq!(block.last(), Some(&7));
        }
        Ok(())
    }

    #[test]
    fn small_block_has_its_length() -> std::io::Result<()> {
        assert_eq!(Block::new(1)?.len(), 1);
        Ok(())
    }

    #[test]
    fn a_block_is_rounded_up_where_that_adds_little() {
        let huge = HUGE_PAGE_BYTES as u128;
        assert_eq!(Block::rounded(100), 100);
        assert_eq!(Block::rounded(huge), huge);
        assert_eq!(Block::rounded(huge + 1), huge + 1);
        assert_eq!(Block::rounded(2 * huge - 1), 2 * huge);
        assert_eq!(Block::rounded(100 * huge + 1), 101 * huge);
    }
}
