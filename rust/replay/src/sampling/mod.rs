//! Draws transitions and copies them to a batch's columns.

mod columns;
mod draw;
mod gather;
mod priorities;
mod stacks;

pub use columns::{Columns, Element};
pub(crate) use draw::{distinct, proportional, proportional_distinct, uniform};
pub(crate) use gather::gather;
pub(crate) use priorities::Priorities;
pub(crate) use stacks::write_stack;
