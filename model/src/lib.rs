//! What every language model here shares: layers, caches, checkpoints, tokenizers, sampling and the generation loop.

pub mod generate;
pub mod observe;
pub mod sampling;

mod error;

pub use error::Error;
