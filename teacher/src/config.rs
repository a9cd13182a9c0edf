//! `config.json` of the DeepSeek family, in the published spelling.

use retort_model::Error;
use retort_model::layers::rope::Yarn;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sizes and switches of a DeepSeek-V3-style model. Field names are Hugging Face's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub model_type: String,
    #[serde(default)]
    pub architectures: Vec<String>,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub moe_intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Rank of the query's low-rank projection; none in DeepSeek-V2-Lite.
    #[serde(default)]
    pub q_lora_rank: Option<usize>,
    pub kv_lora_rank: usize,
    pub qk_nope_head_dim: usize,
    pub qk_rope_head_dim: usize,
    pub v_head_dim: usize,
    pub n_routed_experts: usize,
    #[serde(default)]
    pub n_shared_experts: usize,
    pub num_experts_per_tok: usize,
    #[serde(default = "one")]
    pub n_group: usize,
    #[serde(default = "one")]
    pub topk_group: usize,
    #[serde(default = "unit")]
    pub routed_scaling_factor: f64,
    #[serde(default)]
    pub norm_topk_prob: bool,
    #[serde(default = "sigmoid")]
    pub scoring_func: String,
    #[serde(default = "noaux_tc")]
    pub topk_method: String,
    #[serde(default)]
    pub first_k_dense_replace: usize,
    #[serde(default = "one")]
    pub moe_layer_freq: usize,
    /// Multi-token-prediction modules after the last layer.
    #[serde(default)]
    pub num_nextn_predict_layers: usize,
    pub max_position_embeddings: usize,
    #[serde(default = "rope_theta")]
    pub rope_theta: f64,
    #[serde(default)]
    pub rope_scaling: Option<RopeScaling>,
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default = "silu")]
    pub hidden_act: String,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token_id: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token_id: Option<u32>,
    /// How FP8 weights are stored; readers go by the tensors, this is for other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization_config: Option<serde_json::Value>,
}

/// `rope_scaling` as published: `type` and YaRN's numbers side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(flatten)]
    pub yarn: Yarn,
}

fn one() -> usize {
    1
}
fn unit() -> f64 {
    1.0
}
fn sigmoid() -> String {
    "sigmoid".into()
}
fn noaux_tc() -> String {
    "noaux_tc".into()
}
fn rope_theta() -> f64 {
    1e4
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

    /// Whether layer `index` routes to experts.
    pub fn is_moe(&self, index: usize) -> bool {
        index >= self.first_k_dense_replace && index.is_multiple_of(self.moe_layer_freq)
    }

    pub fn yarn(&self) -> Option<&Yarn> {
        self.rope_scaling.as_ref().map(|scaling| &scaling.yarn)
    }

    /// Width of a query or key: the part without position and the rotated part.
    pub fn qk_head_dim(&self) -> usize {
        self.qk_nope_head_dim + self.qk_rope_head_dim
    }

    /// Every setting that this runtime does not follow or that contradicts another is refused by name.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse = |field: &'static str, value: String| Err(Error::Unsupported { field, value, path: path.into() });
        if !matches!(self.model_type.as_str(), "deepseek_v3" | "kimi_k2") {
            return refuse("model_type", self.model_type.clone());
        }
        if self.scoring_func != "sigmoid" {
            return refuse("scoring_func", self.scoring_func.clone());
        }
        if self.topk_method != "noaux_tc" {
            return refuse("topk_method", self.topk_method.clone());
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone());
        }
        if self.attention_bias {
            return refuse("attention_bias", "true".into());
        }
        if let Some(scaling) = self.rope_scaling.as_ref().filter(|scaling| scaling.kind != "yarn") {
            return refuse("rope_scaling.type", scaling.kind.clone());
        }
        let zero = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("kv_lora_rank", self.kv_lora_rank),
            ("v_head_dim", self.v_head_dim),
            ("n_routed_experts", self.n_routed_experts),
            ("n_group", self.n_group),
            ("moe_layer_freq", self.moe_layer_freq),
            ("num_experts_per_tok", self.num_experts_per_tok),
        ];
        if let Some((field, _)) = zero.into_iter().find(|&(_, value)| value == 0) {
            return refuse(field, "0".into());
        }
        if !self.qk_rope_head_dim.is_multiple_of(2) {
            return refuse("qk_rope_head_dim", self.qk_rope_head_dim.to_string());
        }
        if !self.n_routed_experts.is_multiple_of(self.n_group) {
            return refuse("n_group", format!("{} with {} experts", self.n_group, self.n_routed_experts));
        }
        let selectable = self.n_routed_experts / self.n_group * self.topk_group.min(self.n_group);
        if self.num_experts_per_tok > selectable {
            return refuse("num_experts_per_tok", format!("{} of {selectable} selectable", self.num_experts_per_tok));
        }
        if self.num_nextn_predict_layers > 1 {
            return refuse("num_nextn_predict_layers", self.num_nextn_predict_layers.to_string());
        }
        Ok(())
    }
}
