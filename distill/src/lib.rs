//! Training: anything that implements `Trainable`, on examples from the gym or from verified traces.
//!
//! Read top to bottom: `data` (what is learnt from), `objective` (loss), `schedule` and `optimiser` (how weights move),
//! `trainer` (the loop), `state` (checkpoints of a run).

pub mod chat;
pub mod data;
mod error;
mod gradients;
mod identity;
mod objective;
mod optimiser;
pub mod pretrain;
pub mod schedule;
pub mod sft;
mod state;
pub mod trainer;

pub use error::Error;
