//! Problems in, verified reasoning traces out: sources, the gym, verifiers and the durable trace store.

pub mod curate;
pub mod exchange;
pub mod gym;
pub mod page;
pub mod problem;
pub mod prompt;
pub mod rollout;
pub mod run;
pub mod sample;
pub mod show;
pub mod sources;
pub mod spend;
pub mod stats;
pub mod store;
pub mod tally;
pub mod verify;

mod columns;
mod error;

pub use error::Error;
