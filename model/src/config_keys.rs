//! Keys of a `config.json` that no reader here has a field for: harmless ones pass, all others are refused by name.

use serde_json::Value;
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
