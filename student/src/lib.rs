//! Students: dense decoders, run and trained.

pub mod config;
mod model;
mod train;

pub use config::Config;
pub use model::Dense;
pub use train::Trainee;
