//! Teachers: the DeepSeek-V3 family, run and trained; the small one that travels inside the program; and those behind an
//! endpoint.

mod attention;
pub mod config;
pub mod embedded;
pub mod endpoint;
mod model;
mod moe;
mod router;
pub mod train;
pub mod weights;

pub use config::Config;
pub use model::DeepSeek;
