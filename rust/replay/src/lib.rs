//! Fixed-capacity replay memory: per-environment rings of steps, uniform and prioritized sampling, n-step returns.
//!
//! Rows are bytes: the memory knows the size of an observation and of an action, and nothing of their dtypes.

mod arguments;
mod available;
mod block;
mod draw;
mod error;
mod finals;
mod gather;
mod memory;
mod priorities;
mod rings;
mod rng;
mod row;
mod state;

pub use arguments::{Config, Draw, Steps};
pub use available::available_bytes;
pub use error::Error;
pub use gather::{Columns, Element};
pub use memory::ReplayMemory;
pub use rings::Step;
pub use rng::Rng;
pub use state::State;
