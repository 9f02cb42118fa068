//! Steps as fixed-size records in one block.

use super::available::available_bytes;
use super::block::Block;
use super::row;
use crate::Error;

/// The link's bit for an episode that ended in a final state.
pub(crate) const TERMINATED: u32 = 1 << 31;

/// Records of at most this size stay in a processor's caches: without the touch, a sample is 8 % faster with 4 MB, the
/// same with 8 MB, and half as fast with 40 MB.
const CACHED_BYTES: usize = 8 << 20;

/// How far apart the frames of a stack are touched: with 1 KiB a sample out of 7 GB takes as long as with 512 bytes.
const TOUCH_BYTES: usize = 1 << 10;

/// A record for each slot: obs, action, reward (f32) and link (u32), side by side.
///
/// A transition then touches one or two cache lines, where columns would touch one for each. The link is 0 where the
/// next observation is the next slot's, else 1 + its row in the side store, with [`TERMINATED`] on top.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) obs_bytes: usize,
    pub(crate) action_bytes: usize,
    stride: usize,
    block: Block,
}

impl Records {
    /// Allocate all records at once; the system provides pages as they are first written.
    ///
    /// This is refused if `besides` bytes, which are allocated elsewhere next, would not fit as well.
    pub(crate) fn new(
        obs_bytes: usize,
        action_bytes: usize,
        slots: u128,
        besides: usize,
    ) -> Result<Self, Error> {
        let stride = (obs_bytes as u128 + action_bytes as u128 + 8).next_multiple_of(8);
        let bytes = Block::rounded(stride * slots);
        let asked = bytes + besides as u128;
        let available = available_bytes();
        let refused = || Error::OutOfMemory {
            what: "the replay memory",
            asked,
            available,
        };
        if available.is_some_and(|available| asked > u128::from(available)) {
            return Err(refused());
        }
        let bytes = usize::try_from(bytes).map_err(|_| refused())?;
        Ok(Self {
            obs_bytes,
            action_bytes,
            stride: stride as usize,
            block: Block::new(bytes).map_err(|_| refused())?,
        })
    }

    /// The bytes of all records.
    pub(crate) fn nbytes(&self) -> usize {
        self.block.len()
    }

    /// Write a record. O(its bytes).
    pub(crate) fn write(&mut self, slot: u32, obs: &[u8], action: &[u8], reward: f32, link: u32) {
        let start = slot as usize * self.stride;
        let record = &mut self.block[start..start + self.stride];
        let (front, tail) = record.split_at_mut(self.stride - 8);
        row::copy(&mut front[..self.obs_bytes], obs);
        row::copy(
            &mut front[self.obs_bytes..self.obs_bytes + self.action_bytes],
            action,
        );
        tail[..4].copy_from_slice(&reward.to_ne_bytes());
        tail[4..].copy_from_slice(&link.to_ne_bytes());
    }

    /// A whole record: obs, action, padding, reward, link. O(1).
    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.stride;
        &self.block[start..start + self.stride]
    }

    /// Read a byte of every cache line of the transitions in these slots, unless caches hold them. O(slots).
    ///
    /// There is so little work between two reads that the processor has as many cache misses under way as it can.
    pub(crate) fn touch(&self, slots: &[u32], frame_stack: usize) {
        if self.block.len() <= CACHED_BYTES {
            return;
        }
        let last = self.block.len() - 1;
        let reach = self.stride + self.obs_bytes - 1;
        let stack = (frame_stack - 1) * self.stride;
        let mut sum = 0_u8;
        for &slot in slots {
            let start = slot as usize * self.stride;
            // A stack's frames, at distances beyond what the processor prefetches.
            for place in (start.saturating_sub(stack)..start).step_by(TOUCH_BYTES) {
                sum ^= self.block[place];
            }
            sum ^= self.block[start.min(last)] ^ self.block[(start + reach).min(last)];
        }
        std::hint::black_box(sum);
    }

    /// A slot's reward and link. O(1).
    #[inline(always)]
    pub(crate) fn reward_and_link(&self, slot: u32) -> (f32, u32) {
        tail(self.get(slot))
    }

    /// A slot's link. O(1).
    #[inline(always)]
    pub(crate) fn link(&self, slot: u32) -> u32 {
        self.reward_and_link(slot).1
    }

    /// Set a record's link. O(1).
    pub(crate) fn set_link(&mut self, slot: u32, link: u32) {
        let end = (slot as usize + 1) * self.stride;
        self.block[end - 4..end].copy_from_slice(&link.to_ne_bytes());
    }
}

/// A record's last 8 bytes: reward and link. O(1).
#[inline(always)]
pub(crate) fn tail(record: &[u8]) -> (f32, u32) {
    // As two chunks, since eight single bytes would be loaded one by one.
    let tail = record.last_chunk::<8>();
    let halves = tail.and_then(|tail| Some((tail.first_chunk()?, tail.last_chunk()?)));
    let Some((&reward, &link)) = halves else {
        unreachable!()
    };
    (f32::from_ne_bytes(reward), u32::from_ne_bytes(link))
}

/// The row in the side store of a link. O(1).
#[inline(always)]
pub(crate) fn row_of(link: u32) -> Option<u32> {
    (link & !TERMINATED).checked_sub(1)
}
