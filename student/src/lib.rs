//! Students: dense decoders, run and trained, in full or by low-rank updates.

pub mod config;
pub mod embedded;
pub mod initial;
pub mod lora;
mod model;
pub mod presets;
mod train;

pub use config::Config;
pub use model::Dense;
pub use train::Trainee;
