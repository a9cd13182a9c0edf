//! Training: anything that implements `Trainable`, on examples from the gym or from verified traces.
//!
//! Read top to bottom: `data` (what is learnt from), `objective` (what is minimised), `schedule` and `optimiser` (how weights move),
//! `trainer` (the loop), `state` (checkpoints of a run).

mod average;
pub mod chat;
pub mod data;
mod error;
pub mod flops;
mod gradients;
mod identity;
mod metrics;
pub mod objective;
pub mod on_policy;
mod optimiser;
pub mod pretrain;
pub mod reward;
pub mod schedule;
pub mod sft;
mod state;
mod tensorboard;
pub mod trainer;
pub mod translation;
mod validation;
mod writing;

pub use error::Error;
