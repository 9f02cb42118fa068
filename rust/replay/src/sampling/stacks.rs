//! Stacks of frames, made when they are asked for: what `frame_stack` observations before a moment looked like.

use super::gather::{Element, copy};
use crate::storage::{Padding, Rings, row_of};

/// Write the stacks that end at `slots`, and those of the observations after `lasts`, the last slots of their returns.
/// O(slots * frame_stack).
pub(super) fn copy_stacks<B: Element<u8>>(
    rings: &Rings,
    slots: &[u32],
    lasts: &[u32],
    obs: &mut [B],
    next_obs: &mut [B],
) {
    let size = rings.frame_stack * rings.obs_bytes;
    assert!(
        obs.len() == slots.len() * size && next_obs.len() == slots.len() * size,
        "a row for each slot"
    );
    let rows = obs
        .chunks_exact_mut(size.max(1))
        .zip(next_obs.chunks_exact_mut(size.max(1)));
    for ((&slot, &last), (obs, next_obs)) in slots.iter().zip(lasts).zip(rows) {
        write_stack(rings, Some(slot), None, obs);
        // Right after it, while caches hold the frames that both have.
        match row_of(rings.link(last)) {
            Some(row) => write_stack(rings, Some(last), Some(rings.finals.row(row)), next_obs),
            None => write_stack(rings, Some(rings.after(last)), None, next_obs),
        }
    }
}

/// Write the stack whose newest frames are that of `slot` and then `newest`. O(frame_stack).
///
/// What is before the sequence's first frame is padding.
pub(crate) fn write_stack<B: Element<u8>>(
    rings: &Rings,
    slot: Option<u32>,
    newest: Option<&[u8]>,
    stack: &mut [B],
) {
    let bytes = rings.obs_bytes;
    let (mut at, mut left) = (slot, rings.frame_stack);
    let mut put = |left: &mut usize, frame: &[u8]| {
        *left -= 1;
        copy::<0, B>(&mut stack[*left * bytes..][..bytes], frame);
    };
    if let Some(frame) = newest {
        put(&mut left, frame);
    }
    let mut first = newest;
    while left > 0
        && let Some(slot) = at
    {
        let frame = &rings.record(slot)[..bytes];
        put(&mut left, frame);
        first = Some(frame);
        at = rings.before(slot);
    }
    match (rings.padding, first) {
        (Padding::First, Some(frame)) => {
            while left > 0 {
                put(&mut left, frame);
            }
        }
        _ => stack[..left * bytes]
            .iter_mut()
            .for_each(|byte| byte.put(0)),
    }
}
