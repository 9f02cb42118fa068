//! Rows of bytes: copied and compared in registers where they are of a common small size, since a call of memcpy or
//! memcmp for each costs more than the work.

/// Copy a row over another of the same length.
#[inline(always)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len());
    match from.len() {
        4 => copy_sized::<4>(to, from),
        8 => copy_sized::<8>(to, from),
        16 => copy_sized::<16>(to, from),
        24 => copy_sized::<24>(to, from),
        32 => copy_sized::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Whether two rows of the same length are equal.
#[inline(always)]
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    debug_assert_eq!(one.len(), other.len());
    match one.len() {
        4 => one.first_chunk::<4>() == other.first_chunk::<4>(),
        8 => one.first_chunk::<8>() == other.first_chunk::<8>(),
        16 => one.first_chunk::<16>() == other.first_chunk::<16>(),
        24 => one.first_chunk::<24>() == other.first_chunk::<24>(),
        32 => one.first_chunk::<32>() == other.first_chunk::<32>(),
        _ => one == other,
    }
}

#[inline(always)]
fn copy_sized<const N: usize>(to: &mut [u8], from: &[u8]) {
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) => *to = *from,
        _ => unreachable!("rows have the same length"),
    }
}
