//! The current stacks, for acting.

use crate::Error;
use crate::memory::ReplayMemory;
use crate::sampling::{Element, write_stack};

impl ReplayMemory {
    /// Write the stacks that a network sees when the environments show `frames`, one row for each. The frames before
    /// are stored ones if the episode continues, else padding. O(num_envs * frame_stack).
    ///
    /// An episode continues if the frame is the `next_obs` of the environment's newest transition and that did not end
    /// it.
    ///
    /// # Errors
    /// [`Error::Length`] if there is not one frame for each environment.
    ///
    /// # Panics
    /// `out` does not have a stack for each environment.
    pub fn latest_into<B: Element<u8>>(&self, frames: &[u8], out: &mut [B]) -> Result<(), Error> {
        let (bytes, stack) = (self.rings.records.obs_bytes, self.stack_bytes());
        self.check_length("obs", frames.len(), self.num_envs() * bytes)?;
        assert_eq!(out.len(), self.num_envs() * stack, "a stack for each");
        let rows = frames.chunks_exact(bytes.max(1));
        for (env, (frame, stack)) in rows.zip(out.chunks_exact_mut(stack.max(1))).enumerate() {
            let newest = self.rings.continued(env, frame).map(|(slot, _)| slot);
            write_stack(&self.rings, newest, Some(frame), stack);
        }
        Ok(())
    }

    /// The number of frames in a drawn observation, the newest last. O(1).
    #[must_use]
    pub fn frame_stack(&self) -> usize {
        self.rings.frame_stack
    }

    /// The bytes of a drawn observation. O(1).
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.rings
            .frame_stack
            .saturating_mul(self.rings.records.obs_bytes)
    }
}
