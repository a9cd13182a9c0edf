//! Teachers: the DeepSeek-V3 family, run and trained; and the small one that travels inside the program.

mod attention;
pub mod config;
pub mod embedded;
mod model;
mod moe;
mod router;
pub mod train;
pub mod weights;

pub use config::Config;
pub use model::DeepSeek;
