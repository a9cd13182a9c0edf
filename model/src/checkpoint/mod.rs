//! Checkpoint folders in Hugging Face's layout: `config.json`, safetensors in one file or sharded with an index.
//!
//! The only room that knows the safetensors format. Reading maps the files and checks names, shapes and bounds before
//! any number is used; writing is durable (temporary file, fsync, rename, fsync of the folder).

mod budget;
mod fp8;
mod header;
mod index;
mod number_format;
mod pager;
mod read;
mod write;

pub use budget::{DeviceBytes, cache_share, expert_budget};
pub use fp8::Fp8Block;
pub use number_format::NumberFormat;
pub use pager::ExpertMemory;
pub use read::Checkpoint;
pub use write::{Outgoing, Stored, fingerprint, write_bytes, write_outgoing, write_tensors};
