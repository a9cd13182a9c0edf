//! Problems in, verified reasoning traces out: sources, the gym, verifiers and the durable trace store.

pub mod gym;
pub mod problem;
pub mod sample;
