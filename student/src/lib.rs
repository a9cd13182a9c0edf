//! Students: dense decoders, run and trained.

pub mod config;
pub mod embedded;
mod model;
mod train;

pub use config::Config;
pub use model::Dense;
pub use train::Trainee;
