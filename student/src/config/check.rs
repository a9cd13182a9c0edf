//! What a `config.json` may say. A setting that this runtime does not follow is refused by name, never ignored.

use super::{Config, RopeScaling};
use retort_model::Error;
use retort_model::config_keys::{MOST_LAYERS, check_rest, check_sizes, check_storage};
use std::path::Path;

impl Config {
    /// Every setting that this runtime does not follow or that contradicts another is refused by name.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse =
            |field: &str, value: String| Err(Error::Unsupported { field: field.into(), value, path: path.into() });
        if !matches!(self.model_type.as_str(), "llama" | "qwen2" | "qwen3") {
            return refuse("model_type", self.model_type.clone());
        }
        let family = match self.model_type.as_str() {
            "llama" => "LlamaForCausalLM",
            "qwen2" => "Qwen2ForCausalLM",
            _ => "Qwen3ForCausalLM",
        };
        if let Some(other) = self.architectures.iter().find(|name| *name != family) {
            return refuse("architectures", other.clone());
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone());
        }
        for (field, scaling) in [("rope_scaling", &self.rope_scaling), ("rope_parameters", &self.rope_parameters)] {
            if let Some(scaling) = scaling {
                check_rope(scaling).or_else(|value| refuse(field, value))?;
            }
        }
        let llama = self.model_type == "llama";
        let switches = [
            ("attention_bias", self.attention_bias && !llama && !self.is_qwen3()),
            ("mlp_bias", self.mlp_bias && !llama),
            ("use_sliding_window", self.use_sliding_window),
        ];
        if let Some((field, _)) = switches.into_iter().find(|&(_, on)| on) {
            return refuse(field, "true".into());
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        check_sizes(&sizes).or_else(|(field, value)| refuse(field, value))?;
        if self.num_hidden_layers > MOST_LAYERS {
            return refuse("num_hidden_layers", self.num_hidden_layers.to_string());
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0) {
            return refuse("rms_norm_eps", self.rms_norm_eps.to_string());
        }
        if !(self.theta().is_finite() && self.theta() > 0.0) {
            return refuse("rope_theta", self.theta().to_string());
        }
        let full = vec!["full_attention"; self.num_hidden_layers];
        // The window's settings mean nothing while `use_sliding_window` is off.
        let fixed = [
            ("layer_types", Some(full.into())),
            ("max_window_layers", None),
            ("sliding_window", None),
            ("rope_interleaved", Some(false.into())),
            ("is_llama_config", None),
            ("transformers.js_config", None),
            ("quantization_config", None),
        ];
        check_rest(&self.rest, &fixed).or_else(|(field, value)| refuse(&field, value))?;
        let packed = self.rest.get("quantization_config");
        check_storage(&self.rest, packed).or_else(|(field, value)| refuse(&field, value))?;
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return refuse("num_key_value_heads", format!("{} of {}", self.kv_heads(), self.num_attention_heads));
        }
        if !self.head_dim().is_multiple_of(2) {
            return refuse("head_dim", self.head_dim().to_string());
        }
        Ok(())
    }
}

fn check_rope(scaling: &RopeScaling) -> Result<(), String> {
    match (scaling.kind(), scaling.llama3()) {
        ("default", _) => Ok(()),
        ("llama3", None) => Err("`llama3` without `factor`, `low_freq_factor`, `high_freq_factor` and \
                                 `original_max_position_embeddings`"
            .into()),
        ("llama3", Some(numbers)) => {
            let positive = |x: f64| x.is_finite() && x > 0.0;
            let fine = positive(numbers.factor)
                && positive(numbers.low_freq_factor)
                && positive(numbers.high_freq_factor)
                && numbers.low_freq_factor < numbers.high_freq_factor
                && numbers.original_max_position_embeddings > 0;
            if fine { Ok(()) } else { Err(format!("{numbers:?}")) }
        }
        (other, _) => Err(format!("type `{other}`")),
    }
}
