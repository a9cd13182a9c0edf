//! Shapes of students to start from nothing: small ones for a first try, and those of published models.

use crate::Config;

/// A shape under a name.
#[derive(Debug)]
pub struct Preset {
    pub name: &'static str,
    model_type: &'static str,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    rope_theta: f64,
    max_position_embeddings: usize,
    tie_word_embeddings: bool,
}

/// A small Llama with heads of 32 or 64.
const fn small(name: &'static str, d: usize, f: usize, layers: usize, heads: (usize, usize), c: usize) -> Preset {
    Preset {
        name,
        model_type: "llama",
        hidden_size: d,
        intermediate_size: f,
        num_hidden_layers: layers,
        num_attention_heads: heads.0,
        num_key_value_heads: heads.1,
        head_dim: c,
        rope_theta: 1e4,
        max_position_embeddings: 4096,
        tie_word_embeddings: true,
    }
}

/// Sizes in names count all parameters: the small ones with a vocabulary of 1024, published ones with their own.
pub const PRESETS: [Preset; 9] = [
    small("1m", 128, 320, 5, (4, 2), 32),
    small("3m", 192, 512, 6, (6, 2), 32),
    small("10m", 320, 864, 9, (10, 5), 32),
    small("30m", 512, 1408, 10, (8, 4), 64),
    Preset { rope_theta: 1e5, max_position_embeddings: 8192, ..small("smollm2-135m", 576, 1536, 30, (9, 3), 64) },
    Preset { rope_theta: 1e5, max_position_embeddings: 8192, ..small("smollm2-360m", 960, 2560, 32, (15, 5), 64) },
    Preset {
        model_type: "qwen2",
        rope_theta: 1e6,
        max_position_embeddings: 32_768,
        ..small("qwen2.5-0.5b", 896, 4864, 24, (14, 2), 64)
    },
    Preset {
        model_type: "qwen3",
        rope_theta: 1e6,
        max_position_embeddings: 40_960,
        ..small("qwen3-0.6b", 1024, 3072, 28, (16, 8), 128)
    },
    Preset {
        model_type: "qwen2",
        rope_theta: 1e6,
        max_position_embeddings: 131_072,
        ..small("qwen2.5-1.5b", 1536, 8960, 28, (12, 2), 128)
    },
];

impl Preset {
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The config of a student of this shape over a vocabulary of `vocab_size`.
    pub fn config(&self, vocab_size: usize) -> Config {
        let architecture = match self.model_type {
            "qwen2" => "Qwen2ForCausalLM",
            "qwen3" => "Qwen3ForCausalLM",
            _ => "LlamaForCausalLM",
        };
        Config {
            model_type: self.model_type.into(),
            architectures: vec![architecture.into()],
            vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: Some(self.num_key_value_heads),
            head_dim: Some(self.head_dim),
            max_position_embeddings: self.max_position_embeddings,
            rope_theta: Some(self.rope_theta),
            rope_scaling: None,
            rope_parameters: None,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: self.tie_word_embeddings,
            hidden_act: "silu".into(),
            attention_bias: false,
            mlp_bias: false,
            use_sliding_window: false,
            // Widths of 128 to 1536 take deviations of about 0.4 / sqrt(d), from 0.035 down to 0.01.
            initializer_range: 0.4 / (self.hidden_size as f64).sqrt(),
            rest: [("torch_dtype".to_string(), "float32".into())].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_model::inventory::Totals;
    use std::path::Path;

    #[test]
    fn names_tell_the_sizes() {
        for (name, vocabulary, millions) in [
            ("1m", 1024, 1.0),
            ("3m", 1024, 2.6),
            ("10m", 1024, 10.0),
            ("30m", 1024, 30.0),
            ("smollm2-135m", 49_152, 134.5),
            ("smollm2-360m", 49_152, 361.8),
            ("qwen2.5-0.5b", 151_936, 494.0),
            ("qwen3-0.6b", 151_936, 596.0),
            ("qwen2.5-1.5b", 151_936, 1543.7),
        ] {
            let config = Preset::find(name).expect("a preset").config(vocabulary);
            config.check(Path::new("preset")).expect("a config that is supported");
            let found = Totals::of(config.parts()).total as f64 / 1e6;
            assert!((found / millions - 1.0).abs() < 0.06, "{name}: {found}");
        }
    }
}
