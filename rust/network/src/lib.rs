#![doc = include_str!("../README.md")]

mod adam;
mod batch;
mod buffer;
mod choice;
mod dots;
mod dueling;
mod elements;
mod error;
mod layer_norm;
mod loss;
mod mlp;
mod network;
mod products;
mod round;
mod rule;
mod shape;
mod vectorised;

pub use adam::{Adam, Moments};
pub use batch::Batch;
pub use error::Error;
pub use loss::Loss;
pub use network::Network;
pub use round::{Learner, Progress, State, Stats};
pub use rule::Rule;
pub use shape::{Options, Shape};
