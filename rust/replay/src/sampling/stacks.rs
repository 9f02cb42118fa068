//! Makes stacks of frames from single ones at sampling.

use super::columns::{Element, copy};
use crate::storage::{Padding, Rings, row_of};

/// Write the stacks at `slots`, and those of the next observations after `lasts`, the last slots of the returns.
/// O(slots * frame_stack).
pub(super) fn copy_stacks<B: Element<u8>>(
    rings: &Rings,
    slots: &[u32],
    lasts: &[u32],
    obs: &mut [B],
    next_obs: &mut [B],
) {
    let size = rings.frame_stack * rings.records.obs_bytes;
    assert!(
        obs.len() == slots.len() * size && next_obs.len() == slots.len() * size,
        "a row for each slot"
    );
    let rows = obs
        .chunks_exact_mut(size.max(1))
        .zip(next_obs.chunks_exact_mut(size.max(1)));
    for ((&slot, &last), (obs, next_obs)) in slots.iter().zip(lasts).zip(rows) {
        write_stack(rings, Some(slot), None, obs);
        // Right after the first, while their common frames are in the cache.
        match row_of(rings.records.link(last)) {
            Some(row) => write_stack(rings, Some(last), Some(rings.finals.row(row)), next_obs),
            None => write_stack(rings, Some(rings.after(last)), None, next_obs),
        }
    }
}

/// Write the stack with the frames up to `slot`, and then `newest`. O(frame_stack).
///
/// Padding comes before the sequence's first frame.
pub(crate) fn write_stack<B: Element<u8>>(
    rings: &Rings,
    slot: Option<u32>,
    newest: Option<&[u8]>,
    stack: &mut [B],
) {
    let bytes = rings.records.obs_bytes;
    // Frames are found from the newest backwards, and copied from the oldest on, as processors prefetch.
    let frames = rings.frame_stack - usize::from(newest.is_some());
    let (mut first, mut found) = (slot, usize::from(slot.is_some() && frames > 0));
    while found < frames
        && let Some(before) = first.and_then(|slot| rings.before(slot))
    {
        (first, found) = (Some(before), found + 1);
    }
    let (padding, shown) = stack.split_at_mut((frames - found) * bytes);
    let mut rows = shown.chunks_exact_mut(bytes.max(1));
    let mut at = first;
    for row in rows.by_ref().take(found) {
        if let Some(slot) = at {
            copy::<0, B>(row, &rings.records.get(slot)[..bytes]);
            at = Some(rings.after(slot));
        }
    }
    if let (Some(row), Some(frame)) = (rows.next(), newest) {
        copy::<0, B>(row, frame);
    }
    let oldest = match first {
        Some(slot) if found > 0 => Some(&rings.records.get(slot)[..bytes]),
        _ => newest,
    };
    match (rings.padding, oldest) {
        (Padding::First, Some(frame)) => padding
            .chunks_exact_mut(bytes.max(1))
            .for_each(|row| copy::<0, B>(row, frame)),
        _ => padding.iter_mut().for_each(|byte| byte.put(0)),
    }
}
