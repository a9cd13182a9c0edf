//! Keys of a `config.json` that no reader here has a field for: harmless ones pass, all others are refused by name.

use retort_kernels::{FP8_BLOCK, QUANTISED_BLOCK};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Keys that change nothing about a forward pass: training, bookkeeping, other programs' switches.
const WITHOUT_EFFECT: [&str; 20] = [
    "_name_or_path",
    "attention_dropout",
    "auto_map",
    "aux_loss_alpha",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "ep_size",
    "id2label",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "return_dict",
    "seq_aux",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

/// Numbers in a config may not exceed this; no published size comes near it.
const LARGEST: u64 = 1 << 30;

/// Nor may a model have more layers than this: each of them is built by itself.
pub const MOST_LAYERS: usize = 10_000;

/// Checks the keys without a field. A key in `fixed` may have that value or null, or any value for `None`.
///
/// The error is the key and its value.
pub fn check_rest(rest: &BTreeMap<String, Value>, fixed: &[(&str, Option<Value>)]) -> Result<(), (String, String)> {
    for (key, value) in rest {
        let known = match fixed.iter().find(|(name, _)| name == key) {
            Some((_, expected)) => value.is_null() || expected.as_ref().is_none_or(|expected| same(value, expected)),
            None => WITHOUT_EFFECT.contains(&key.as_str()),
        };
        if !known {
            return Err((key.clone(), value.to_string()));
        }
    }
    Ok(())
}

/// Equality that does not tell 64 from 64.0.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64())
}

/// Refuses sizes that are 0 or beyond anything a machine could hold.
pub fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), (&'static str, String)> {
    match sizes.iter().find(|&&(_, size)| size == 0 || size as u64 > LARGEST) {
        Some(&(field, size)) => Err((field, size.to_string())),
        None => Ok(()),
    }
}

/// Refuses what a config says of stored numbers where no reader here follows it. The tensors say the rest themselves.
///
/// The error is the key and its value.
pub fn check_storage(
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
    if let (Some(dtype), Some(other)) = (rest.get("dtype"), rest.get("torch_dtype"))
        && !dtype.is_null()
        && !other.is_null()
        && dtype != other
    {
        return refuse("torch_dtype", &Value::from(format!("{other} beside `dtype` {dtype}")));
    }
    let Some(config) = quantization_config.filter(|config| !config.is_null()) else { return Ok(()) };
    let known: &[(&str, &[Value])] = match config["quant_method"].as_str() {
        Some("fp8") => &[
            ("fmt", &[Value::Null, json!("e4m3")]),
            ("weight_block_size", &[json!([FP8_BLOCK, FP8_BLOCK])]),
            ("activation_scheme", &[Value::Null, json!("dynamic")]),
            // How activations are scaled where they are FP8 too; weights alone have f32 scales either way.
            ("scale_fmt", &[Value::Null, json!("ue8m0")]),
        ],
        Some("retort") => &[("bits", &[json!(4), json!(8)]), ("group_size", &[json!(QUANTISED_BLOCK)])],
        _ => return refuse("quantization_config.quant_method", &config["quant_method"]),
    };
    let keys = config.as_object().into_iter().flatten().map(|(key, _)| key);
    let is_known = |key: &str| {
        // The last ones say which tensors are not packed, which the tensors tell themselves.
        ["quant_method", "modules_to_not_convert", "ignored_layers"].contains(&key)
            || known.iter().any(|(name, _)| *name == key)
    };
    if let Some(key) = keys.into_iter().find(|key| !is_known(key)) {
        return refuse(&format!("quantization_config.{key}"), &config[key]);
    }
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
    use crate::checkpoint::NumberFormat;
    use retort_kernels::Bits;

    #[test]
    fn what_is_written_can_be_read() {
        for bits in [Bits::Four, Bits::Eight] {
            for format in [NumberFormat::Fp8, NumberFormat::Quantised(bits), NumberFormat::F16] {
                let rest = [("dtype".to_owned(), json!(format.dtype()))].into();
                assert_eq!(check_storage(&rest, format.quantization_config().as_ref()), Ok(()));
            }
        }
        let mut v31 = NumberFormat::Fp8.quantization_config().expect("a config");
        v31["scale_fmt"] = "ue8m0".into();
        assert_eq!(check_storage(&BTreeMap::new(), Some(&v31)), Ok(()));
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
            (
                json!({ "quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "e5" }),
                "quantization_config.scale_fmt",
                "\"e5\"",
            ),
            (json!({ "quant_method": "retort", "bits": 2, "group_size": 32 }), "quantization_config.bits", "2"),
            (json!({ "quant_method": "retort", "bits": 4, "group_size": 64 }), "quantization_config.group_size", "64"),
        ];
        for (config, key, value) in cases {
            assert_eq!(check_storage(&none, Some(&config)), Err((key.into(), value.into())));
        }
        for (key, value) in [("activation_scheme", "static"), ("zzz", "1")] {
            let mut config = NumberFormat::Fp8.quantization_config().expect("a config");
            config[key] = value.into();
            let refused = (format!("quantization_config.{key}"), format!("\"{value}\""));
            assert_eq!(check_storage(&none, Some(&config)), Err(refused));
        }
        let both = [("dtype".to_owned(), json!("bfloat16")), ("torch_dtype".to_owned(), json!("float16"))].into();
        assert!(check_storage(&both, None).is_err_and(|(key, _)| key == "torch_dtype"));
        for key in ["dtype", "torch_dtype"] {
            let rest = [(key.to_owned(), json!("float64"))].into();
            assert_eq!(check_storage(&rest, None), Err((key.into(), "\"float64\"".into())));
        }
    }
}
