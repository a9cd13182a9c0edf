//! LoRA (arXiv 2106.09685): low-rank updates beside fixed weights, in the layout of Hugging Face's PEFT.
//!
//! An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`, whose tensors are named
//! `base_model.model.<module>.lora_A.weight` [r, i] and `lora_B.weight` [o, r]. The adapted module computes
//! W x + s B A x with s = alpha / r, or alpha / sqrt(r) in rank-stabilised LoRA (arXiv 2312.03732).

mod adapter;
mod config;

pub use adapter::{Adapter, Merged};
pub use config::{LoraConfig, LoraSettings, Targets};

/// What PEFT puts before the name of a module.
pub(crate) const PREFIX: &str = "base_model.model.";

/// The two files of an adapter.
pub const CONFIG: &str = "adapter_config.json";
pub const WEIGHTS: &str = "adapter_model.safetensors";
