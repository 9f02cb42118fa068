//! Where transitions are kept: a ring of fixed-size records per environment, and a side store of final observations.

mod available;
mod block;
mod finals;
mod records;
mod rings;
mod room;
mod row;

pub use available::available_bytes;
pub(crate) use block::Block;
pub(crate) use records::{TERMINATED, row_of};
pub(crate) use rings::{MAX_SLOTS, Ring, Rings};
pub use rings::{Padding, Step};
pub(crate) use room::{refusal, reserve, with_room};
pub use row::ObsKind;
