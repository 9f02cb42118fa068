//! Copies the transitions at slots to columns.

use super::columns::{Columns, Element, copy};
use super::stacks::copy_stacks;
use crate::storage::{Rings, TERMINATED, row_of};

/// Marks a source of `next_obs` as a row of the side store instead of a slot.
const FINAL: u32 = 1 << 31;

/// Write the transitions that start at `slots`, each of up to `n_step` steps. O(slots * n_step).
///
/// `sources` is scratch with capacity for all slots. With stacks, rows of observations are `frame_stack` frames, the
/// newest last. In a large memory the first pass touches every record with little work between, so that the processor
/// has many cache misses under way at once; the copies then find their rows in the cache.
pub(crate) fn gather<B: Element<u8>, F: Element<f32>, T: Element<bool>, I: Element<i64>>(
    rings: &Rings,
    slots: &[u32],
    sources: &mut Vec<u32>,
    n_step: usize,
    gamma: f64,
    out: Columns<'_, B, F, T, I>,
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
    rings.records.touch(slots, rings.frame_stack);
    sources.clear();
    let small = rewards
        .iter_mut()
        .zip(discounts)
        .zip(terminated)
        .zip(indices);
    let mut written = 0;
    for (&slot, (((reward, discount), terminated), index)) in slots.iter().zip(small) {
        let (env, position) = rings.place(slot);
        let (first_reward, mut link) = rings.records.reward_and_link(slot);
        index.put(rings.id(env, position));
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
            let (reward, next_link) = rings.records.reward_and_link(last);
            sum += power * f64::from(reward);
            power *= gamma;
            link = next_link;
        }
        reward.put(sum as f32);
        let ended = link & TERMINATED != 0;
        terminated.put(ended);
        discount.put(if ended { 0.0 } else { power as f32 });
        sources.push(if rings.frame_stack > 1 {
            last
        } else {
            row_of(link).map_or(after(last), |row| row | FINAL)
        });
        written += 1;
    }
    assert_eq!(written, slots.len(), "every column has a row for each slot");
    // Rows of common small sizes are copied in registers; calling memcpy for each takes longer than the copy.
    match rings.records.obs_bytes {
        _ if rings.frame_stack > 1 => copy_stacks(rings, slots, sources, obs, next_obs),
        4 => copy_obs::<4, B>(rings, slots, sources, obs, next_obs),
        8 => copy_obs::<8, B>(rings, slots, sources, obs, next_obs),
        16 => copy_obs::<16, B>(rings, slots, sources, obs, next_obs),
        24 => copy_obs::<24, B>(rings, slots, sources, obs, next_obs),
        32 => copy_obs::<32, B>(rings, slots, sources, obs, next_obs),
        _ => copy_obs::<0, B>(rings, slots, sources, obs, next_obs),
    }
    match rings.records.action_bytes {
        8 => copy_actions::<8, B>(rings, slots, actions),
        4 => copy_actions::<4, B>(rings, slots, actions),
        _ => copy_actions::<0, B>(rings, slots, actions),
    }
}

/// `N` is the size of an observation, or 0 for any size.
fn copy_obs<const N: usize, B: Element<u8>>(
    rings: &Rings,
    slots: &[u32],
    sources: &[u32],
    obs: &mut [B],
    next_obs: &mut [B],
) {
    let size = if N == 0 { rings.records.obs_bytes } else { N };
    assert!(
        obs.len() == slots.len() * size && next_obs.len() == slots.len() * size,
        "a row for each slot"
    );
    let rows = obs
        .chunks_exact_mut(size.max(1))
        .zip(next_obs.chunks_exact_mut(size.max(1)));
    for ((&slot, &source), (obs, next_obs)) in slots.iter().zip(sources).zip(rows) {
        copy::<N, B>(obs, &rings.records.get(slot)[..size]);
        let next = match source & FINAL {
            0 => &rings.records.get(source)[..size],
            _ => rings.finals.row(source & !FINAL),
        };
        copy::<N, B>(next_obs, next);
    }
}

/// `N` is the size of an action, or 0 for any size.
fn copy_actions<const N: usize, B: Element<u8>>(rings: &Rings, slots: &[u32], actions: &mut [B]) {
    let size = if N == 0 {
        rings.records.action_bytes
    } else {
        N
    };
    assert_eq!(actions.len(), slots.len() * size, "a row for each slot");
    for (&slot, action) in slots.iter().zip(actions.chunks_exact_mut(size.max(1))) {
        copy::<N, B>(
            action,
            &rings.records.get(slot)[rings.records.obs_bytes..][..size],
        );
    }
}
