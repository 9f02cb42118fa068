//! Room for lists whose length comes from outside: asked for, never taken for granted.

use std::collections::TryReserveError;

use super::available::available_bytes;
use crate::Error;

/// Make room for so many more elements. O(1), O(list) when it must move.
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize, what: &'static str) -> Result<(), Error> {
    list.try_reserve(more).map_err(refusal::<T>(more, what))
}

/// An empty list with room for exactly `len` elements. O(1).
pub(crate) fn with_room<T>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(refusal::<T>(len, what))?;
    Ok(list)
}

/// The error of so many elements that cannot be had.
pub(crate) fn refusal<T>(len: usize, what: &'static str) -> impl FnOnce(TryReserveError) -> Error {
    move |_| Error::OutOfMemory {
        what,
        asked: len as u128 * size_of::<T>() as u128,
        available: available_bytes(),
    }
}
