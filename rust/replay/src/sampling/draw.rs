//! Draws the slots of a batch.

use std::collections::HashSet;

use super::priorities::Priorities;
use crate::Error;
use crate::rng::Rng;
use crate::storage::{Rings, refusal, reserve, with_room};

/// What needs the memory, for [`Error::OutOfMemory`].
const DRAW: &str = "the draw";

// Each function appends slots to a list with enough capacity.

/// Append `batch` drawable slots, uniformly and independently. O(batch).
pub(crate) fn uniform(
    rings: &Rings,
    rng: &mut Rng,
    batch: usize,
    slots: &mut Vec<u32>,
) -> Result<(), Error> {
    let drawable = Drawable::of(rings)?;
    let bound = rings.len as u64;
    match drawable.counts {
        Counts::All => slots.extend((0..batch).map(|_| rng.below(bound) as u32)),
        _ => slots.extend((0..batch).map(|_| drawable.slot(rng.below(bound) as u32))),
    }
    Ok(())
}

/// Append `batch` different drawable slots, every ordered choice with the same probability.
///
/// Expected O(batch); O(len) for more than half of all.
pub(crate) fn distinct(
    rings: &Rings,
    rng: &mut Rng,
    batch: usize,
    slots: &mut Vec<u32>,
) -> Result<(), Error> {
    let len = rings.len;
    if batch > len {
        return Err(Error::TooFew {
            asked: batch,
            found: len,
        });
    }
    let drawable = Drawable::of(rings)?;
    if batch > len / 2 {
        // Fisher and Yates, stopped after `batch` places.
        let mut all = with_room(len, DRAW)?;
        all.extend(0..len as u32);
        for place in 0..batch {
            let other = place + rng.below((len - place) as u64) as usize;
            all.swap(place, other);
            slots.push(drawable.slot(all[place]));
        }
    } else {
        // At most half is taken, so a draw is new with probability above one half.
        let mut taken = HashSet::new();
        taken
            .try_reserve(batch)
            .map_err(refusal::<u32>(batch, DRAW))?;
        while taken.len() < batch {
            let drawn = rng.below(len as u64) as u32;
            if taken.insert(drawn) {
                slots.push(drawable.slot(drawn));
            }
        }
    }
    Ok(())
}

/// Append `batch` slots, each with a probability in proportion to its leaf. O(batch log slots).
///
/// Stratified as Schaul et al. 2016 (appendix B.2.1) do: one draw from each `batch`-th part of the sum.
pub(crate) fn proportional(
    priorities: &Priorities,
    rng: &mut Rng,
    batch: usize,
    slots: &mut Vec<u32>,
    points: &mut Vec<f64>,
) -> Result<(), Error> {
    let total = priorities.total();
    if total <= 0.0 {
        return Err(Error::ZeroPriorities);
    }
    points.clear();
    reserve(points, batch, DRAW)?;
    let part = total / batch as f64;
    let first = slots.len();
    slots.resize(first + batch, 0);
    points.extend((0..batch).map(|i| (i as f64 + rng.unit()) * part));
    priorities.find(points, &mut slots[first..]);
    Ok(())
}

/// Append `batch` different slots, each drawn in proportion to the leaves of those not yet drawn.
/// O(batch log slots).
pub(crate) fn proportional_distinct(
    priorities: &mut Priorities,
    rng: &mut Rng,
    batch: usize,
    slots: &mut Vec<u32>,
) -> Result<(), Error> {
    // Everything is allocated before the tree is changed; more than all slots cannot be drawn.
    let room = batch.min(priorities.leaves().len());
    let mut taken = with_room(room, DRAW)?;
    let mut nodes = with_room(room, DRAW)?;
    let mut failure = None;
    while taken.len() < batch {
        let total = priorities.total();
        if total <= 0.0 {
            failure = Some(Error::TooFewPriorities {
                asked: batch,
                found: taken.len(),
            });
            break;
        }
        let mut slot = [0];
        priorities.find(&mut [rng.unit() * total], &mut slot);
        let [slot] = slot;
        taken.push((slot, priorities.leaves()[slot as usize]));
        slots.push(slot);
        priorities.set(slot, 0.0);
    }
    priorities.set_many(&taken, &mut nodes);
    failure.map_or(Ok(()), Err)
}

/// Maps numbers from 0 to `len` to drawable slots: ring after ring, in the order of slots, or of time with stacks.
struct Drawable<'a> {
    rings: &'a Rings,
    counts: Counts,
}

/// The number of drawable slots in each ring.
enum Counts {
    /// All.
    All,
    /// The same number in each.
    Alike(u32),
    /// The numbers before each ring's.
    Mixed(Vec<u32>),
}

impl<'a> Drawable<'a> {
    /// O(num_envs), O(1) when every slot can be drawn.
    fn of(rings: &'a Rings) -> Result<Self, Error> {
        let (envs, len) = (rings.rings.len(), rings.drawable(0));
        let counts = if rings.len == rings.slots() {
            Counts::All
        } else if (0..envs).all(|env| rings.drawable(env) == len) {
            Counts::Alike(len)
        } else {
            let mut sum = 0;
            let mut before = with_room(envs, DRAW)?;
            before.extend((0..envs).map(|env| {
                sum += rings.drawable(env);
                sum - rings.drawable(env)
            }));
            Counts::Mixed(before)
        };
        Ok(Self { rings, counts })
    }

    /// O(1), O(log num_envs) for rings filled unevenly.
    fn slot(&self, number: u32) -> u32 {
        let (env, place) = match &self.counts {
            Counts::All => return number,
            Counts::Alike(len) => (number / len, number % len),
            Counts::Mixed(before) => {
                let env = before.partition_point(|&before| before <= number) - 1;
                (env as u32, number - before[env])
            }
        };
        let size = self.rings.size;
        let position = self.rings.first(env as usize) + place;
        env * size
            + if position < size {
                position
            } else {
                position - size
            }
    }
}
