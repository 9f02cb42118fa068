//! From slots to columns, in one pass.

use crate::rings::{Rings, TERMINATED, row_of, tail};

/// Where a batch is written: one column per field, all of the same number of rows.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Rows of the observations acted on.
    pub obs: &'a mut [u8],
    /// Rows of the actions taken.
    pub actions: &'a mut [u8],
    /// Discounted sums of the rewards of up to `n_step` steps.
    pub rewards: &'a mut [f32],
    /// Rows of the observations after the last of these steps.
    pub next_obs: &'a mut [u8],
    /// gamma to the number of these steps, or 0 where the last one terminated.
    pub discounts: &'a mut [f32],
    /// Whether the last of these steps terminated.
    pub terminated: &'a mut [bool],
    /// Insertion ids.
    pub indices: &'a mut [i64],
}

/// Write the transitions that start at `slots`, each of up to `n_step` steps. O(slots * n_step).
pub(crate) fn gather(rings: &Rings, slots: &[u32], n_step: usize, gamma: f64, out: Columns<'_>) {
    // Rows of common small sizes are moved in registers; a call of memcpy for each costs more than the move.
    match rings.obs_bytes {
        4 => gather_rows::<4>(rings, slots, n_step, gamma, out),
        8 => gather_rows::<8>(rings, slots, n_step, gamma, out),
        12 => gather_rows::<12>(rings, slots, n_step, gamma, out),
        16 => gather_rows::<16>(rings, slots, n_step, gamma, out),
        24 => gather_rows::<24>(rings, slots, n_step, gamma, out),
        32 => gather_rows::<32>(rings, slots, n_step, gamma, out),
        _ => gather_rows::<0>(rings, slots, n_step, gamma, out),
    }
}

/// `N` is the size of an observation, or 0 for any size.
fn gather_rows<const N: usize>(
    rings: &Rings,
    slots: &[u32],
    n_step: usize,
    gamma: f64,
    out: Columns<'_>,
) {
    let (obs_bytes, action_bytes) = (rings.obs_bytes, rings.action_bytes);
    let obs = if N == 0 { obs_bytes } else { N };
    let rows = slots.len();
    let Columns {
        obs: out_obs,
        actions,
        rewards,
        next_obs,
        discounts,
        terminated,
        indices,
    } = out;
    // One check here instead of one for each row and column below.
    let (rewards, discounts) = (&mut rewards[..rows], &mut discounts[..rows]);
    let (terminated, indices) = (&mut terminated[..rows], &mut indices[..rows]);
    for (i, &slot) in slots.iter().enumerate() {
        let (env, position) = rings.place(slot);
        let first = rings.record(slot);
        copy::<N>(&mut out_obs[i * obs..(i + 1) * obs], &first[..obs]);
        copy_action(
            &mut actions[i * action_bytes..(i + 1) * action_bytes],
            &first[obs..obs + action_bytes],
        );
        indices[i] = rings.id(env, position);

        let start = slot - position;
        let after = |slot: u32| {
            if slot + 1 == start + rings.size {
                start
            } else {
                slot + 1
            }
        };
        let (reward, mut link) = tail(first);
        let (mut last, mut sum, mut discount) = (slot, f64::from(reward), gamma);
        for _ in 1..n_step {
            if link != 0 {
                break;
            }
            last = after(last);
            let (reward, next_link) = rings.reward_and_link(last);
            sum += discount * f64::from(reward);
            discount *= gamma;
            link = next_link;
        }
        let next = match row_of(link) {
            None => &rings.record(after(last))[..obs],
            Some(row) => rings.finals.row(row),
        };
        copy::<N>(&mut next_obs[i * obs..(i + 1) * obs], next);
        rewards[i] = sum as f32;
        terminated[i] = link & TERMINATED != 0;
        discounts[i] = if link & TERMINATED != 0 {
            0.0
        } else {
            discount as f32
        };
    }
}

#[inline(always)]
fn copy<const N: usize>(to: &mut [u8], from: &[u8]) {
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) if N != 0 => *to = *from,
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_action(to: &mut [u8], from: &[u8]) {
    match to.len() {
        8 => copy::<8>(to, from),
        4 => copy::<4>(to, from),
        _ => to.copy_from_slice(from),
    }
}
