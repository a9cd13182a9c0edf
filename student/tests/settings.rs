//! What a student's `config.json` may say: published files are read, what is not followed is refused by name.

use retort_student::Config;
use serde_json::{Value, json};
use std::path::Path;

/// Qwen3-0.6B as published.
fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
        "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936
    })
}

/// Llama-3.2-1B as published.
fn llama3() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256
    })
}

fn parse(json: &Value) -> Result<Config, String> {
    Config::parse(&json.to_string(), Path::new("config.json")).map_err(|error| error.to_string())
}

#[test]
fn published_files_are_read() {
    let totals = |json| retort_model::inventory::Totals::of(parse(&json).expect("supported").parts()).total;
    assert_eq!(totals(qwen3()), 596_049_920);
    assert_eq!(totals(llama3()), 1_235_814_400);
    let mut without_head_dim = qwen3();
    without_head_dim.as_object_mut().expect("an object").remove("head_dim");
    assert_eq!(parse(&without_head_dim).expect("supported").head_dim(), 128, "Qwen3's own default");
}

#[test]
fn what_is_not_followed_is_refused_by_name() {
    for (base, field, value) in [
        (qwen3(), "use_sliding_window", json!(true)),
        (qwen3(), "mlp_bias", json!(true)),
        (qwen3(), "hidden_act", json!("gelu")),
        (qwen3(), "layer_types", json!(["sliding_attention"])),
        (qwen3(), "model_type", json!("qwen3_moe")),
        (qwen3(), "rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        (llama3(), "rope_scaling", json!({ "rope_type": "llama3", "factor": 8.0 })),
        (
            llama3(),
            "rope_scaling",
            json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192
            }),
        ),
        (llama3(), "rope_interleaved", json!(true)),
        (llama3(), "num_key_value_heads", json!(5)),
        (llama3(), "an_unknown_switch", json!(1)),
    ] {
        let mut json = base;
        json[field] = value;
        let refused = parse(&json).expect_err(field);
        assert!(refused.contains(field), "{field}: {refused}");
    }
}
