//! The number format of a whole checkpoint: which of its tensors is stored how, and what `config.json` says of it.

use super::Stored;
use retort_kernels::{Bits, FP8_BLOCK, QUANTISED_BLOCK};
use serde_json::{Value, json};

/// The formats that projections and experts can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberFormat {
    F32,
    Bf16,
    F16,
    /// As DeepSeek publishes it: e4m3 in blocks of 128 x 128; embedding, head, norms, router and `eh_proj` stay bf16.
    Fp8,
    /// Blocks of 32 codes. Embedding and head have 8 bits: every prediction passes through them, and each is read once
    /// for all layers.
    Quantised(Bits),
}

impl NumberFormat {
    /// How the tensor of this name is stored.
    pub fn stored(self, name: &str) -> Stored {
        let is_projection = name.contains("_proj") && !name.contains("eh_proj");
        let is_end = name.ends_with("embed_tokens.weight") || name == "lm_head.weight";
        match self {
            Self::F32 => Stored::F32,
            // Added to scores that are compared: a rounding may change who is chosen.
            _ if name.ends_with("e_score_correction_bias") => Stored::F32,
            Self::F16 => Stored::F16,
            Self::Fp8 if is_projection => Stored::Fp8,
            Self::Quantised(bits) if is_projection => Stored::Quantised(bits),
            Self::Quantised(_) if is_end => Stored::Quantised(Bits::Eight),
            Self::Bf16 | Self::Fp8 | Self::Quantised(_) => Stored::Bf16,
        }
    }

    /// How projections are stored.
    pub fn projections(self) -> Stored {
        self.stored("q_proj.weight")
    }

    /// The value of `dtype`: that of the tensors that are not packed.
    pub fn dtype(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 | Self::Fp8 | Self::Quantised(_) => "bfloat16",
        }
    }

    /// The `quantization_config` that tells other programs of packed weights.
    pub fn quantization_config(self) -> Option<Value> {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 => None,
            Self::Fp8 => Some(json!({
                "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                "weight_block_size": [FP8_BLOCK, FP8_BLOCK]
            })),
            Self::Quantised(bits) => {
                let bits = if bits == Bits::Four { 4 } else { 8 };
                Some(json!({ "quant_method": "retort", "bits": bits, "group_size": QUANTISED_BLOCK }))
            }
        }
    }
}
