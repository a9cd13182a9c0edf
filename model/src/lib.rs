//! What every language model here shares: layers, caches, checkpoints, tokenizers, sampling and the generation loop.

pub mod attempts;
pub mod batch;
pub mod cache;
pub mod capture;
pub mod chat;
pub mod checkpoint;
pub mod config_keys;
pub mod decoder;
pub mod durable;
pub mod engine;
pub mod files;
pub mod folder;
pub mod generate;
pub mod house;
pub mod hub;
pub mod inventory;
pub mod layers;
pub mod observe;
pub mod operations;
pub mod params;
pub mod repetition;
pub mod sampling;
pub mod score;
pub mod stop_strings;
pub mod text_stream;
pub mod tokenizer;
pub mod workers;

mod error;

pub use error::Error;
