//! Where transitions are kept: a ring of fixed-size records per environment, and a side store of final observations.

mod available;
mod block;
mod finals;
mod rings;
mod room;
mod row;

pub use available::available_bytes;
pub(crate) use block::Block;
pub(crate) use rings::{MAX_SLOTS, Ring, Rings, TERMINATED, row_of};
pub use rings::{Padding, Step};
pub(crate) use room::{refusal, reserve, with_room};
pub use row::ObsKind;
