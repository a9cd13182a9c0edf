//! `config.json` of dense decoders: Llama and Qwen2, in the published spelling.

mod parts;

use retort_model::Error;
use retort_model::config_keys::{MOST_LAYERS, check_rest, check_sizes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Sizes and switches of a dense decoder. Field names are Hugging Face's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub model_type: String,
    #[serde(default)]
    pub architectures: Vec<String>,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; `hidden_size / num_attention_heads` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<serde_json::Value>,
    /// transformers 5: base and scaling in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default = "silu")]
    pub hidden_act: String,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    #[serde(default)]
    pub use_sliding_window: bool,
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// Everything else in the file: kept, and checked to be without effect here.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// `rope_parameters` as transformers 5 writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeParameters {
    pub rope_type: String,
    pub rope_theta: f64,
}

fn rms_norm_eps() -> f64 {
    1e-6
}
fn silu() -> String {
    "silu".into()
}
fn initializer_range() -> f64 {
    0.02
}

impl Config {
    /// Reads and checks a `config.json`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::parse(&retort_model::files::read_text(path)?, path)
    }

    /// Parses and checks JSON that came from `path`.
    pub fn parse(json: &str, path: &Path) -> Result<Self, Error> {
        let config: Self = retort_model::files::parse_json(json, path)?;
        config.check(path)?;
        Ok(config)
    }

    /// Base of the rotary frequencies.
    pub fn theta(&self) -> f64 {
        self.rope_parameters.as_ref().map(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(1e4)
    }

    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Qwen2 has biases on q, k and v, whatever `attention_bias` says.
    pub fn qkv_bias(&self) -> bool {
        self.model_type == "qwen2"
    }

    /// Every setting that this runtime does not follow or that contradicts another is refused by name.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse =
            |field: &str, value: String| Err(Error::Unsupported { field: field.into(), value, path: path.into() });
        if !matches!(self.model_type.as_str(), "llama" | "qwen2") {
            return refuse("model_type", self.model_type.clone());
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone());
        }
        if let Some(scaling) = &self.rope_scaling {
            return refuse("rope_scaling", scaling.to_string());
        }
        if let Some(rope) = self.rope_parameters.as_ref().filter(|rope| rope.rope_type != "default") {
            return refuse("rope_parameters.rope_type", rope.rope_type.clone());
        }
        let switches = [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
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
            // How weights are stored; a reader goes by the tensors, and a format that it lacks is refused there.
            ("quantization_config", None),
        ];
        check_rest(&self.rest, &fixed).or_else(|(field, value)| refuse(&field, value))?;
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return refuse("num_key_value_heads", format!("{} of {}", self.kv_heads(), self.num_attention_heads));
        }
        if !self.head_dim().is_multiple_of(2) {
            return refuse("head_dim", self.head_dim().to_string());
        }
        Ok(())
    }
}
