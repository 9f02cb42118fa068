//! The order of steps: one ring of slots per environment.

use super::finals::Finals;
use super::records::{Records, TERMINATED, row_of};
use super::room::with_room;
use super::row::{self, ObsKind};
use crate::Error;
use crate::arguments::Config;

/// One transition, as bytes of the memory's own dtypes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The observation acted on.
    pub obs: &'a [u8],
    /// The action taken.
    pub action: &'a [u8],
    /// The reward.
    pub reward: f32,
    /// The next observation, of the same episode.
    pub next_obs: &'a [u8],
    /// Whether the episode ended in a terminal state, after which there is no reward.
    pub terminated: bool,
    /// Whether the episode was cut off, although rewards could have followed.
    pub truncated: bool,
}

/// What a stack has before an episode's first frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// That first frame again.
    #[default]
    First,
    /// Zeros.
    Zeros,
}

/// One environment's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// The position that is written next.
    pub(crate) head: u32,
    /// Filled positions; below the ring's size they are `0..len`, and `head == len`.
    pub(crate) len: u32,
    /// The number of transitions ever pushed.
    pub(crate) count: u64,
    /// Whether the newest transition's episode continues.
    pub(crate) open: bool,
}

impl Ring {
    /// How many pushes ago a filled position was written; the newest has age 0. O(1).
    #[inline]
    pub(crate) fn age(&self, position: u32) -> u32 {
        if position < self.head {
            self.head - 1 - position
        } else {
            self.head + (self.len - 1 - position)
        }
    }
}

/// The rings of all environments: slot `env * size + position` has the record of that number.
///
/// The newest slot of a ring always has its next observation in the side store. So `link != 0` is the only thing that
/// stops a walk forward: an end, a break or the newest slot.
#[derive(Debug)]
pub(crate) struct Rings {
    obs_kind: ObsKind,
    /// Slots of one ring.
    pub(crate) size: u32,
    /// How many of them, the newest, can be drawn; the `frame_stack - 1` older ones are kept for their frames.
    pub(crate) drawable: u32,
    pub(crate) frame_stack: usize,
    pub(crate) padding: Padding,
    pub(crate) rings: Vec<Ring>,
    pub(crate) records: Records,
    pub(crate) finals: Finals,
    /// Slots of all rings that can be drawn.
    pub(crate) len: usize,
}

/// Slots are numbered in a link's lower 31 bits, and 0 stands for no row.
pub(crate) const MAX_SLOTS: usize = (1 << 31) - 2;

const EMPTY: Ring = Ring {
    head: 0,
    len: 0,
    count: 0,
    open: false,
};

impl Rings {
    /// Allocate all memory; see [`Records::new`] for `besides`.
    pub(crate) fn new(config: &Config, size: u32, besides: usize) -> Result<Self, Error> {
        let &Config {
            num_envs,
            obs_bytes,
            obs_kind,
            action_bytes,
            frame_stack,
            padding,
            ..
        } = config;
        let slots = u128::from(size) * num_envs as u128;
        let records = Records::new(obs_bytes, action_bytes, slots, besides)?;
        let finals = Finals::new(obs_bytes, num_envs * size as usize);
        let mut rings = with_room(num_envs, "the table of environments")?;
        rings.resize(num_envs, EMPTY);
        Ok(Self {
            obs_kind,
            size,
            drawable: size - (frame_stack - 1) as u32,
            frame_stack,
            padding,
            rings,
            records,
            finals,
            len: 0,
        })
    }

    /// The allocated bytes, including the side store's.
    pub(crate) fn nbytes(&self) -> usize {
        self.records.nbytes() + self.finals.nbytes() + self.rings.len() * size_of::<Ring>()
    }

    /// All slots, filled or not.
    pub(crate) fn slots(&self) -> usize {
        self.rings.len() * self.size as usize
    }

    /// The most slots that can be drawn.
    pub(crate) fn capacity(&self) -> usize {
        self.rings.len() * self.drawable as usize
    }

    /// How many slots of a ring can be drawn. O(1).
    #[inline(always)]
    pub(crate) fn drawable(&self, env: usize) -> u32 {
        self.rings[env].len.min(self.drawable)
    }

    /// The position of a ring's first slot that can be drawn; the others follow it, wrapping around. O(1).
    ///
    /// Without stacks it is 0, since all filled slots can be drawn and their order does not matter.
    pub(crate) fn first(&self, env: usize) -> u32 {
        if self.size == self.drawable {
            return 0;
        }
        let (head, drawable) = (self.rings[env].head, self.drawable(env));
        head.checked_sub(drawable)
            .unwrap_or_else(|| head + (self.size - drawable))
    }

    /// Each ring with its first slot, from which on `len` slots are filled. O(1) per ring.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u32, &Ring)> {
        let starts = (0..self.slots()).step_by(self.size as usize);
        starts.map(|start| start as u32).zip(&self.rings)
    }

    /// Remove all transitions; the counts continue, so that old ids stay invalid.
    pub(crate) fn clear(&mut self) {
        for ring in &mut self.rings {
            *ring = Ring {
                count: ring.count,
                ..EMPTY
            };
        }
        self.finals.clear();
        self.len = 0;
    }

    /// Write a transition over the oldest of its ring, and return its slot. O(1).
    ///
    /// A row of the side store must have been reserved.
    pub(crate) fn push(&mut self, env: usize, step: &Step<'_>) -> u32 {
        let ring = self.rings[env];
        let start = env as u32 * self.size;
        let slot = start + ring.head;
        let overwritten_row = if ring.len == self.size {
            row_of(self.records.link(slot))
        } else {
            None
        };
        let row = match (self.continued(env, step.obs), overwritten_row) {
            (Some((newest, row)), _) => {
                self.records.set_link(newest, 0);
                if let Some(old) = overwritten_row.filter(|&old| old != row) {
                    self.finals.give_back(old);
                }
                row
            }
            (None, Some(row)) => row,
            (None, None) => self.finals.take(),
        };
        row::copy(self.finals.row_mut(row), step.next_obs);
        let link = (row + 1) | if step.terminated { TERMINATED } else { 0 };
        self.records
            .write(slot, step.obs, step.action, step.reward, link);
        self.len += usize::from(ring.len < self.drawable);
        self.rings[env] = Ring {
            head: if ring.head + 1 == self.size {
                0
            } else {
                ring.head + 1
            },
            len: (ring.len + 1).min(self.size),
            count: ring.count + 1,
            open: !(step.terminated || step.truncated),
        };
        slot
    }

    /// Whether two observations are the same, so that an episode continues.
    #[inline(always)]
    fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        row::equal(one, other) || row::equal_but_for_zeros(self.obs_kind, one, other)
    }

    /// The slot after a filled one, wrapping around. O(1).
    #[inline(always)]
    pub(crate) fn after(&self, slot: u32) -> u32 {
        let (_, position) = self.place(slot);
        if position + 1 == self.size {
            slot - position
        } else {
            slot + 1
        }
    }

    /// The slot whose next observation is this one's; `None` if a sequence begins here, or the slot before was
    /// overwritten. O(1).
    #[inline]
    pub(crate) fn before(&self, slot: u32) -> Option<u32> {
        let (env, position) = self.place(slot);
        let ring = &self.rings[env];
        if ring.age(position) + 1 >= ring.len {
            return None;
        }
        let before = if position == 0 {
            slot + self.size - 1
        } else {
            slot - 1
        };
        (self.records.link(before) == 0).then_some(before)
    }

    /// The newest slot of a ring. O(1).
    pub(crate) fn newest(&self, env: usize) -> u32 {
        let before = self.rings[env].head.checked_sub(1);
        env as u32 * self.size + before.unwrap_or(self.size - 1)
    }

    /// The newest slot of a ring, and its next observation's row, if its episode continues from `obs`. O(bytes).
    #[inline(always)]
    pub(crate) fn continued(&self, env: usize, obs: &[u8]) -> Option<(u32, u32)> {
        let ring = &self.rings[env];
        if ring.len == 0 || !ring.open {
            return None;
        }
        let newest = self.newest(env);
        let row = row_of(self.records.link(newest))?;
        let same = self.is_same(self.finals.row(row), obs);
        same.then_some((newest, row))
    }

    /// The slot that the last push made undrawable, whose frame is kept for stacks. O(1).
    pub(crate) fn retired(&self, env: usize) -> Option<u32> {
        let is_kept = self.rings[env].len > self.drawable;
        let first = self.first(env);
        let before = first.checked_sub(1).unwrap_or(self.size - 1);
        is_kept.then_some(env as u32 * self.size + before)
    }

    /// The ring that a slot belongs to, and its position there. O(1).
    #[inline(always)]
    pub(crate) fn place(&self, slot: u32) -> (usize, u32) {
        if self.rings.len() == 1 {
            (0, slot)
        } else {
            ((slot / self.size) as usize, slot % self.size)
        }
    }

    /// The insertion id of a filled position: `env + num_envs * (its number in the environment's order)`. O(1).
    #[inline(always)]
    pub(crate) fn id(&self, env: usize, position: u32) -> i64 {
        let ring = &self.rings[env];
        let order = ring.count - 1 - u64::from(ring.age(position));
        (order * self.rings.len() as u64 + env as u64) as i64
    }

    /// The slot of an insertion id, if it is still in the memory. O(1).
    pub(crate) fn slot(&self, id: i64) -> Option<u32> {
        let id = u64::try_from(id).ok()?;
        let num_envs = self.rings.len() as u64;
        let (env, order) = ((id % num_envs) as usize, id / num_envs);
        let ring = &self.rings[env];
        let age = ring
            .count
            .checked_sub(order + 1)
            .filter(|&age| age < u64::from(self.drawable(env)))? as u32;
        let position = if age < ring.head {
            ring.head - 1 - age
        } else {
            ring.head + (self.size - 1 - age)
        };
        Some(env as u32 * self.size + position)
    }
}
