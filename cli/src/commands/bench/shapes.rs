//! The shapes that `retort bench` knows, as `config.json` writes them.

use clap::ValueEnum;
use serde_json::{Value, json};

/// Shapes of students to train, and what goes through them in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrainShape {
    /// 6.7M parameters; 8 sequences of 256 tokens
    Tiny,
    /// SmolLM2-135M; 2 sequences of 512 tokens
    #[value(name = "smollm2-135m")]
    Smollm2_135m,
    /// Qwen2.5-0.5B; 1 sequence of 1024 tokens
    #[value(name = "qwen2.5-0.5b")]
    Qwen2_5_0_5b,
}

impl TrainShape {
    /// Name, `config.json`, sequences and tokens of each.
    pub fn config(self) -> (&'static str, Value, usize, usize) {
        let of = |v: usize, d: usize, f: usize, layers: usize, heads: (usize, usize)| {
            json!({
                "model_type": "qwen2", "vocab_size": v, "hidden_size": d, "intermediate_size": f,
                "num_hidden_layers": layers, "num_attention_heads": heads.0, "num_key_value_heads": heads.1,
                "max_position_embeddings": 32768, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
                "tie_word_embeddings": true,
            })
        };
        match self {
            Self::Tiny => ("tiny", of(4096, 256, 704, 8, (8, 2)), 8, 256),
            Self::Smollm2_135m => ("smollm2-135m", of(49_152, 576, 1536, 30, (9, 3)), 2, 512),
            Self::Qwen2_5_0_5b => ("qwen2.5-0.5b", Shape::Qwen2_5_0_5b.config().1, 1, 1024),
        }
    }
}

/// Shapes of published models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// DeepSeek-V2-Lite: 15.7B parameters, 2.45B read for each token
    V2Lite,
    /// The same family in small: 0.685B parameters, 9 layers, 32 experts
    Mini,
    #[value(name = "qwen2.5-0.5b")]
    Qwen2_5_0_5b,
}

impl Shape {
    /// The shape's name and its `config.json`.
    pub fn config(self) -> (&'static str, Value) {
        let yarn = json!({
            "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
            "mscale": 0.707, "mscale_all_dim": 0.707,
        });
        match self {
            Shape::V2Lite => (
                "v2-lite",
                json!({
                    "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 10944,
                    "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16, "q_lora_rank": null,
                    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
                    "scoring_func": "softmax", "topk_method": "greedy", "max_position_embeddings": 163840,
                    "rope_theta": 10000, "rope_scaling": yarn, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                }),
            ),
            Shape::Mini => (
                "mini",
                json!({
                    "model_type": "deepseek_v2", "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 5472,
                    "moe_intermediate_size": 704, "num_hidden_layers": 9, "num_attention_heads": 8, "q_lora_rank": null,
                    "kv_lora_rank": 256, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                    "n_routed_experts": 32, "n_shared_experts": 1, "num_experts_per_tok": 4, "first_k_dense_replace": 1,
                    "scoring_func": "softmax", "topk_method": "greedy", "max_position_embeddings": 163840,
                    "rope_theta": 10000, "rope_scaling": yarn, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                }),
            ),
            Shape::Qwen2_5_0_5b => (
                "qwen2.5-0.5b",
                json!({
                    "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
                    "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                    "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6,
                    "tie_word_embeddings": true,
                }),
            ),
        }
    }
}
