//! The number format of a whole checkpoint: which of its tensors is stored how, and what `config.json` says of it.

use super::Stored;
use retort_kernels::{Bits, FP8_BLOCK, QUANTISED_BLOCK};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

/// Refuses what a config says of stored numbers where no reader here follows it. The tensors say the rest themselves.
///
/// The error is the key and its value.
pub fn check_numbers(
    rest: &BTreeMap<String, Value>,
    quantization_config: Option<&Value>,
) -> Result<(), (String, String)> {
    let refuse = |key: &str, value: &Value| Err((key.to_owned(), value.to_string()));
    for key in ["dtype", "torch_dtype"] {
        match rest.get(key) {
            None | Some(Value::Null) => (),
            Some(Value::String(name)) if ["float32", "bfloat16", "float16", "auto"].contains(&name.as_str()) => (),
            Some(value) => return refuse(key, value),
        }
    }
    let Some(config) = quantization_config.filter(|config| !config.is_null()) else { return Ok(()) };
    let known: &[(&str, &[Value])] = match config["quant_method"].as_str() {
        Some("fp8") => {
            &[("fmt", &[Value::Null, json!("e4m3")]), ("weight_block_size", &[json!([FP8_BLOCK, FP8_BLOCK])])]
        }
        Some("retort") => &[("bits", &[json!(4), json!(8)]), ("group_size", &[json!(QUANTISED_BLOCK)])],
        _ => return refuse("quantization_config.quant_method", &config["quant_method"]),
    };
    for (key, values) in known {
        if !values.contains(&config[*key]) {
            return refuse(&format!("quantization_config.{key}"), &config[*key]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for bits in [Bits::Four, Bits::Eight] {
            for format in [NumberFormat::Fp8, NumberFormat::Quantised(bits), NumberFormat::F16] {
                let rest = [("dtype".to_owned(), json!(format.dtype()))].into();
                assert_eq!(check_numbers(&rest, format.quantization_config().as_ref()), Ok(()));
            }
        }
    }

    #[test]
    fn numbers_of_other_programs_are_refused_by_name() {
        let none = BTreeMap::new();
        let cases = [
            (json!({ "quant_method": "awq", "bits": 4 }), "quantization_config.quant_method", "\"awq\""),
            (json!({ "bits": 4 }), "quantization_config.quant_method", "null"),
            (json!("fp8"), "quantization_config.quant_method", "null"),
            (
                json!({ "quant_method": "fp8", "weight_block_size": [1, 128] }),
                "quantization_config.weight_block_size",
                "[1,128]",
            ),
            (json!({ "quant_method": "fp8", "fmt": "e5m2" }), "quantization_config.fmt", "\"e5m2\""),
            (json!({ "quant_method": "fp8" }), "quantization_config.weight_block_size", "null"),
            (json!({ "quant_method": "retort", "bits": 2, "group_size": 32 }), "quantization_config.bits", "2"),
            (json!({ "quant_method": "retort", "bits": 4, "group_size": 64 }), "quantization_config.group_size", "64"),
        ];
        for (config, key, value) in cases {
            assert_eq!(check_numbers(&none, Some(&config)), Err((key.into(), value.into())));
        }
        for key in ["dtype", "torch_dtype"] {
            let rest = [(key.to_owned(), json!("float64"))].into();
            assert_eq!(check_numbers(&rest, None), Err((key.into(), "\"float64\"".into())));
        }
    }
}
