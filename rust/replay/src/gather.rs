//! From slots to columns.

use std::mem::MaybeUninit;

use crate::rings::{Rings, TERMINATED, row_of};

/// Where a batch is written: one column per field, all of the same number of rows.
///
/// A call that succeeds has written every element, so new memory need not be cleared first.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Rows of the observations acted on.
    pub obs: &'a mut [MaybeUninit<u8>],
    /// Rows of the actions taken.
    pub actions: &'a mut [MaybeUninit<u8>],
    /// Discounted sums of the rewards of up to `n_step` steps.
    pub rewards: &'a mut [MaybeUninit<f32>],
    /// Rows of the observations after the last of these steps.
    pub next_obs: &'a mut [MaybeUninit<u8>],
    /// gamma to the number of these steps, or 0 where the last one terminated.
    pub discounts: &'a mut [MaybeUninit<f32>],
    /// Whether the last of these steps terminated.
    pub terminated: &'a mut [MaybeUninit<bool>],
    /// Insertion ids.
    pub indices: &'a mut [MaybeUninit<i64>],
}

/// A source of `next_obs` that is a row of the side store, and not a slot.
const FINAL: u32 = 1 << 31;

/// Write the transitions that start at `slots`, each of up to `n_step` steps. O(slots * n_step).
///
/// `sources` is scratch. The first pass touches every record with little work between, so that the processor has
/// many cache misses under way at once; the copies then find their rows near.
pub(crate) fn gather(
    rings: &Rings,
    slots: &[u32],
    sources: &mut Vec<u32>,
    n_step: usize,
    gamma: f64,
    out: Columns<'_>,
) {
    let Columns {
        obs,
        actions,
        rewards,
        next_obs,
        discounts,
        terminated,
        indices,
    } = out;
    sources.clear();
    sources.reserve(slots.len());
    let small = rewards
        .iter_mut()
        .zip(discounts)
        .zip(terminated)
        .zip(indices);
    let mut written = 0;
    for (&slot, (((reward, discount), terminated), index)) in slots.iter().zip(small) {
        let (env, position) = rings.place(slot);
        let (first_reward, mut link) = rings.reward_and_link(slot);
        index.write(rings.id(env, position));
        let start = slot - position;
        let after = |slot: u32| {
            if slot + 1 == start + rings.size {
                start
            } else {
                slot + 1
            }
        };
        let (mut last, mut sum, mut power) = (slot, f64::from(first_reward), gamma);
        for _ in 1..n_step {
            if link != 0 {
                break;
            }
            last = after(last);
            let (reward, next_link) = rings.reward_and_link(last);
            sum += power * f64::from(reward);
            power *= gamma;
            link = next_link;
        }
        reward.write(sum as f32);
        let ended = link & TERMINATED != 0;
        terminated.write(ended);
        discount.write(if ended { 0.0 } else { power as f32 });
        sources.push(row_of(link).map_or(after(last), |row| row | FINAL));
        written += 1;
    }
    assert_eq!(written, slots.len(), "every column has a row for each slot");
    // Rows of common small sizes are moved in registers; a call of memcpy for each costs more than the move.
    match rings.obs_bytes {
        4 => copy_obs::<4>(rings, slots, sources, obs, next_obs),
        8 => copy_obs::<8>(rings, slots, sources, obs, next_obs),
        16 => copy_obs::<16>(rings, slots, sources, obs, next_obs),
        24 => copy_obs::<24>(rings, slots, sources, obs, next_obs),
        32 => copy_obs::<32>(rings, slots, sources, obs, next_obs),
        _ => copy_obs::<0>(rings, slots, sources, obs, next_obs),
    }
    match rings.action_bytes {
        8 => copy_actions::<8>(rings, slots, actions),
        4 => copy_actions::<4>(rings, slots, actions),
        _ => copy_actions::<0>(rings, slots, actions),
    }
}

/// `N` is the size of an observation, or 0 for any size.
fn copy_obs<const N: usize>(
    rings: &Rings,
    slots: &[u32],
    sources: &[u32],
    obs: &mut [MaybeUninit<u8>],
    next_obs: &mut [MaybeUninit<u8>],
) {
    let size = if N == 0 { rings.obs_bytes } else { N };
    assert!(
        obs.len() == slots.len() * size && next_obs.len() == slots.len() * size,
        "a row for each slot"
    );
    let rows = obs
        .chunks_exact_mut(size.max(1))
        .zip(next_obs.chunks_exact_mut(size.max(1)));
    for ((&slot, &source), (obs, next_obs)) in slots.iter().zip(sources).zip(rows) {
        copy::<N>(obs, &rings.record(slot)[..size]);
        let next = match source & FINAL {
            0 => &rings.record(source)[..size],
            _ => rings.finals.row(source & !FINAL),
        };
        copy::<N>(next_obs, next);
    }
}

/// `N` is the size of an action, or 0 for any size.
fn copy_actions<const N: usize>(rings: &Rings, slots: &[u32], actions: &mut [MaybeUninit<u8>]) {
    let size = if N == 0 { rings.action_bytes } else { N };
    assert_eq!(actions.len(), slots.len() * size, "a row for each slot");
    for (&slot, action) in slots.iter().zip(actions.chunks_exact_mut(size.max(1))) {
        copy::<N>(action, &rings.record(slot)[rings.obs_bytes..][..size]);
    }
}

#[inline(always)]
fn copy<const N: usize>(to: &mut [MaybeUninit<u8>], from: &[u8]) {
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) if N != 0 => *to = from.map(MaybeUninit::new),
        // A loop that the compiler turns into memcpy.
        _ => to.iter_mut().zip(from).for_each(|(to, &from)| {
            to.write(from);
        }),
    }
}
