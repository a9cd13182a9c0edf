//! `config.json` of dense decoders: Llama (and SmolLM2), Qwen2 and Qwen3, as published or as transformers 5 writes it.
//!
//! The struct keeps the file's own spelling; its methods say what the settings mean. See `check.rs` for what is refused,
//! `parts.rs` for the tensors that follow from it.

mod check;
mod parts;

use retort_model::Error;
use retort_model::layers::rope::{Llama3, Rope};
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
    /// Width of a head; where it is not given, 128 in Qwen3 and `hidden_size / num_attention_heads` elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// transformers 5: base and scaling in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeScaling>,
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

/// `rope_scaling` as published or `rope_parameters` as in transformers 5, which has `rope_theta` inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeScaling {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
}

impl RopeScaling {
    /// `llama3`, or `default` for no scaling.
    fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.kind.as_deref()).unwrap_or("default")
    }

    /// The numbers of Llama 3's scaling, where all are there.
    fn llama3(&self) -> Option<Llama3> {
        Some(Llama3 {
            factor: self.factor?,
            low_freq_factor: self.low_freq_factor?,
            high_freq_factor: self.high_freq_factor?,
            original_max_position_embeddings: self.original_max_position_embeddings?,
        })
    }
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
        let inside = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        inside.or(self.rope_theta).unwrap_or(1e4)
    }

    /// Llama 3's scaling of them, where the file asks for it.
    pub fn llama3(&self) -> Option<Llama3> {
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())?;
        if scaling.kind() == "llama3" { scaling.llama3() } else { None }
    }

    /// The rotary tables of a head.
    pub fn rope(&self) -> Rope {
        match self.llama3() {
            Some(scaling) => Rope::llama3(self.head_dim(), self.theta(), scaling),
            None => Rope::new(self.head_dim(), self.theta(), None),
        }
    }

    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub fn head_dim(&self) -> usize {
        let by_width = self.hidden_size / self.num_attention_heads.max(1);
        self.head_dim.unwrap_or(if self.is_qwen3() { 128 } else { by_width })
    }

    fn is_qwen3(&self) -> bool {
        self.model_type == "qwen3"
    }

    /// Qwen2 has biases on q, k and v, whatever the file says; Llama and Qwen3 where it asks for them.
    pub fn qkv_bias(&self) -> bool {
        self.model_type == "qwen2" || self.attention_bias
    }

    /// Whether each query and key head has a norm before it is rotated.
    pub fn qk_norm(&self) -> bool {
        self.is_qwen3()
    }
}
