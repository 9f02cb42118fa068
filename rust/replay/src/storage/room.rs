//! Checked allocation of lists whose length comes from outside.

use std::collections::TryReserveError;

use super::available::available_bytes;
use crate::Error;

/// Reserve capacity for `more` elements. O(1), or O(list) if the list must move.
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize, what: &'static str) -> Result<(), Error> {
    list.try_reserve(more).map_err(refusal::<T>(more, what))
}

/// An empty list with capacity for exactly `len` elements. O(1).
pub(crate) fn with_room<T>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(refusal::<T>(len, what))?;
    Ok(list)
}

/// The error for elements that cannot be allocated.
pub(crate) fn refusal<T>(len: usize, what: &'static str) -> impl FnOnce(TryReserveError) -> Error {
    move |_| Error::OutOfMemory {
        what,
        asked: len as u128 * size_of::<T>() as u128,
        available: available_bytes(),
    }
}
