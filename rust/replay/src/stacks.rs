//! The stacks that agents act on.

use crate::Error;
use crate::memory::ReplayMemory;
use crate::sampling::{Element, write_stack};

impl ReplayMemory {
    /// Write the stacks that an agent sees now that the environments show `frames`, one row each: those of open
    /// episodes with the frames before, those of others padded. O(num_envs * frame_stack).
    ///
    /// An episode goes on where the frame is the `next_obs` of the environment's newest transition and that one did
    /// not end it.
    ///
    /// # Errors
    /// [`Error::Length`] when there is not one frame for each environment.
    ///
    /// # Panics
    /// `out` has not a stack for each environment.
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

    /// How many frames, the newest last, are given out as one observation. O(1).
    #[must_use]
    pub fn frame_stack(&self) -> usize {
        self.rings.frame_stack
    }

    /// The bytes of one observation as it is given out. O(1).
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.rings
            .frame_stack
            .saturating_mul(self.rings.records.obs_bytes)
    }
}
