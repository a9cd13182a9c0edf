//! `config.json` of the DeepSeek family: V2, V2-Lite, V3, R1, Moonlight, Kimi-K2, as published or as transformers 5 writes it.
//!
//! The struct keeps the file's own spelling; its methods say what the settings mean. See `check.rs` for what is refused,
//! `parts.rs` for the tensors that follow from it.

mod check;
mod parts;

use retort_kernels::RopeLayout;
use retort_model::Error;
use retort_model::layers::rope::Yarn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Sizes and switches of a DeepSeek model. Field names are Hugging Face's.
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
    /// Rank of the query's low-rank projection; none in DeepSeek-V2-Lite and Moonlight.
    #[serde(default)]
    pub q_lora_rank: Option<usize>,
    pub kv_lora_rank: usize,
    pub qk_nope_head_dim: usize,
    pub qk_rope_head_dim: usize,
    pub v_head_dim: usize,
    pub n_routed_experts: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_shared_experts: Option<usize>,
    pub num_experts_per_tok: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_group: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topk_group: Option<usize>,
    #[serde(default = "unit")]
    pub routed_scaling_factor: f64,
    #[serde(default)]
    pub norm_topk_prob: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring_func: Option<Scoring>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topk_method: Option<TopkMethod>,
    #[serde(default)]
    pub first_k_dense_replace: usize,
    #[serde(default = "one")]
    pub moe_layer_freq: usize,
    /// Multi-token-prediction modules after the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_nextn_predict_layers: Option<usize>,
    /// The same as transformers writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_mtp_layers: Option<usize>,
    pub max_position_embeddings: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// transformers 5: base and scaling in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeScaling>,
    /// Pairs of neighbours (as all published weights have it) or of the two halves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_interleave: Option<bool>,
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Our own key: the eps of the two latent norms. Published code builds them with 1e-6 whatever `rms_norm_eps` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent_rms_norm_eps: Option<f64>,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default = "silu")]
    pub hidden_act: String,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// How packed weights are stored: refused where no reader here follows it, else the tensors tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization_config: Option<serde_json::Value>,
    /// Everything else in the file: kept, and checked to be without effect here.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// How the router turns logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scoring {
    Softmax,
    Sigmoid,
}

/// How the router picks experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopkMethod {
    /// The best scores (V2-Lite).
    Greedy,
    /// The best scores within the groups whose best expert scores highest (V2).
    GroupLimitedGreedy,
    /// The best biased scores within the groups whose two best experts score highest together (V3 and after).
    NoauxTc,
}

/// `rope_scaling` as published (`type`) or `rope_parameters` as in transformers 5 (`rope_type`, `rope_theta`).
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
    pub original_max_position_embeddings: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_fast: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_slow: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// In place of what `mscale` and `mscale_all_dim` give; not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// Whether the ends of the ramp are rounded outwards, as they are in this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    /// The share of the rotary width that is rotated: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
}

impl RopeScaling {
    /// A setting that only YaRN has.
    fn scales(&self) -> Option<&'static str> {
        let settings = [
            ("factor", self.factor),
            ("beta_fast", self.beta_fast),
            ("beta_slow", self.beta_slow),
            ("mscale", self.mscale),
            ("mscale_all_dim", self.mscale_all_dim),
        ];
        settings.into_iter().find_map(|(key, value)| value.map(|_| key))
    }

    /// `yarn`, or `default` for no scaling.
    fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.kind.as_deref()).unwrap_or("default")
    }

    /// The numbers of YaRN, where the type is `yarn` and those are there that have no usual value.
    fn yarn(&self) -> Option<Yarn> {
        if self.kind() != "yarn" {
            return None;
        }
        Some(Yarn {
            factor: self.factor?,
            original_max_position_embeddings: self.original_max_position_embeddings?,
            beta_fast: self.beta_fast.unwrap_or(32.0),
            beta_slow: self.beta_slow.unwrap_or(1.0),
            mscale: self.mscale,
            mscale_all_dim: self.mscale_all_dim,
        })
    }
}

fn one() -> usize {
    1
}
fn unit() -> f64 {
    1.0
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
        if !config.is_v2() {
            check::check_present(json, path)?;
        }
        config.check(path)?;
        Ok(config)
    }

    /// Whether layer `index` routes to experts.
    pub fn is_moe(&self, index: usize) -> bool {
        index >= self.first_k_dense_replace && index.is_multiple_of(self.moe_layer_freq)
    }

    fn is_v2(&self) -> bool {
        self.model_type == "deepseek_v2"
    }

    /// What the family does where the file is silent: V2 softmax, later models sigmoid.
    pub fn scoring(&self) -> Scoring {
        self.scoring_func.unwrap_or(if self.is_v2() { Scoring::Softmax } else { Scoring::Sigmoid })
    }

    /// What the family does where the file is silent: V2 greedy, later models with bias.
    pub fn selection(&self) -> TopkMethod {
        self.topk_method.unwrap_or(if self.is_v2() { TopkMethod::Greedy } else { TopkMethod::NoauxTc })
    }

    /// Whether the chosen experts' weights are scaled: V2's own code scales only what it has not normalised.
    pub fn scales_weights(&self) -> bool {
        !(self.is_v2() && self.norm_topk_prob && self.num_experts_per_tok > 1)
    }

    /// (groups of experts, groups that stay in the choice).
    pub fn groups(&self) -> (usize, usize) {
        match self.selection() {
            TopkMethod::Greedy => (1, 1),
            _ => (self.n_group.unwrap_or(1), self.topk_group.unwrap_or(1)),
        }
    }

    pub fn shared_experts(&self) -> usize {
        self.n_shared_experts.unwrap_or(0)
    }

    /// Multi-token-prediction modules, in either spelling.
    pub fn mtp_layers(&self) -> usize {
        self.num_nextn_predict_layers.or(self.num_mtp_layers).unwrap_or(0)
    }

    /// Base of the rotary frequencies.
    pub fn theta(&self) -> f64 {
        let inside = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        inside.or(self.rope_theta).unwrap_or(1e4)
    }

    pub fn yarn(&self) -> Option<Yarn> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())?.yarn()
    }

    pub fn rope_layout(&self) -> RopeLayout {
        if self.rope_interleave.unwrap_or(true) { RopeLayout::Interleaved } else { RopeLayout::HalfSplit }
    }

    /// The factor on q . k before the softmax: (nope + p)^-1/2, times YaRN's.
    pub fn softmax_scale(&self) -> f64 {
        (self.qk_head_dim() as f64).powf(-0.5) * self.yarn().map_or(1.0, |yarn| yarn.softmax_factor())
    }

    /// The eps of the query's and the latent's norm.
    pub fn latent_eps(&self) -> f64 {
        self.latent_rms_norm_eps.unwrap_or(1e-6)
    }

    /// Width of a query or key: the part without position and the rotated part.
    pub fn qk_head_dim(&self) -> usize {
        self.qk_nope_head_dim + self.qk_rope_head_dim
    }
}
