//! Copies and compares rows of bytes; in registers for common small sizes, for which calling memcpy or memcmp takes
//! longer than the work.

/// The type of an observation's numbers, which decides when two observations are equal.
///
/// Floats are compared by their bits too, except zeros: -0.0 equals 0.0, and an environment that returns one for the
/// other has not begun another episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObsKind {
    /// Integers and bools, which are equal if their bits are.
    #[default]
    Bits,
    /// Floats of 16 bits.
    Float16,
    /// Floats of 32 bits.
    Float32,
    /// Floats of 64 bits.
    Float64,
}

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

/// Whether two rows of floats are equal except for the signs of zeros; false for [`ObsKind::Bits`].
///
/// Only called for rows whose bits differ, which are few: at a break, or with such a zero.
#[cold]
#[inline(never)]
pub(crate) fn equal_but_for_zeros(kind: ObsKind, one: &[u8], other: &[u8]) -> bool {
    match kind {
        ObsKind::Bits => false,
        ObsKind::Float16 => floats_equal(one, other, |float| u16::from_ne_bytes(float) << 1 == 0),
        ObsKind::Float32 => floats_equal(one, other, |float| u32::from_ne_bytes(float) << 1 == 0),
        ObsKind::Float64 => floats_equal(one, other, |float| u64::from_ne_bytes(float) << 1 == 0),
    }
}

fn floats_equal<const N: usize>(
    one: &[u8],
    other: &[u8],
    is_zero: impl Fn([u8; N]) -> bool,
) -> bool {
    let ((one, rest), (other, other_rest)) = (one.as_chunks::<N>(), other.as_chunks::<N>());
    let same = |(&one, &other)| one == other || (is_zero(one) && is_zero(other));
    rest == other_rest && one.iter().zip(other).all(same)
}

#[inline(always)]
fn copy_sized<const N: usize>(to: &mut [u8], from: &[u8]) {
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) => *to = *from,
        _ => unreachable!("rows have the same length"),
    }
}
