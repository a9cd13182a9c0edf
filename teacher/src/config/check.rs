//! What a `config.json` may say. A setting that this runtime does not follow is refused by name, never ignored.

use super::{Config, RopeScaling, Scoring, TopkMethod};
use retort_model::Error;
use retort_model::config_keys::{MOST_LAYERS, check_rest, check_sizes, check_storage};
use serde_json::{Value, json};
use std::path::Path;

/// What a file of V3's kind must say itself: readers differ in what they take silence for.
const NEEDED: [&str; 4] = ["n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor"];

/// Refuses a file that leaves out what it must say.
pub(super) fn check_present(json: &str, path: &Path) -> Result<(), Error> {
    let given: serde_json::Map<String, Value> = retort_model::files::parse_json(json, path)?;
    match NEEDED.into_iter().find(|key| !given.contains_key(*key)) {
        Some(key) => Err(Error::MissingField { field: key, path: path.into() }),
        None => Ok(()),
    }
}

impl Config {
    /// Refuses what is not supported and what contradicts itself.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse =
            |field: &str, value: String| Err(Error::Unsupported { field: field.into(), value, path: path.into() });
        if !matches!(self.model_type.as_str(), "deepseek_v2" | "deepseek_v3" | "kimi_k2") {
            return refuse("model_type", self.model_type.clone());
        }
        let family = if self.model_type == "deepseek_v2" { "DeepseekV2ForCausalLM" } else { "DeepseekV3ForCausalLM" };
        if let Some(other) = self.architectures.iter().find(|name| *name != family) {
            return refuse("architectures", other.clone());
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone());
        }
        if self.attention_bias {
            return refuse("attention_bias", "true".into());
        }
        // The bias of `noaux_tc` is made for scores between 0 and 1 that do not compete; nothing else is published.
        if (self.scoring() == Scoring::Sigmoid) != (self.selection() == TopkMethod::NoauxTc) {
            let [method, scoring] = [json!(self.selection()), json!(self.scoring())];
            return refuse("topk_method", format!("{method} beside \"scoring_func\": {scoring}"));
        }
        for (field, scaling) in [("rope_scaling", &self.rope_scaling), ("rope_parameters", &self.rope_parameters)] {
            if let Some(scaling) = scaling {
                check_rope(scaling).or_else(|(key, value)| refuse(&format!("{field}.{key}"), value))?;
                if let Some(inner) = scaling.rope_theta.filter(|inner| *inner != self.theta()) {
                    return refuse(&format!("{field}.rope_theta"), format!("{inner} beside {}", self.theta()));
                }
            }
        }
        if let Some(outer) = self.rope_theta.filter(|outer| *outer != self.theta()) {
            return refuse("rope_theta", format!("{outer} beside {}", self.theta()));
        }
        if let (Some(scaling), Some(parameters)) = (&self.rope_scaling, &self.rope_parameters)
            && scaling.yarn() != parameters.yarn()
        {
            return refuse("rope_scaling", "another one than `rope_parameters`".into());
        }
        self.check_numbers().or_else(|(field, value)| refuse(field, value))?;
        let fixed = [
            ("num_key_value_heads", Some(Value::from(self.num_attention_heads))),
            ("qk_head_dim", Some(Value::from(self.qk_head_dim()))),
            // transformers writes the rotary width here, or others hidden_size / heads or a head's; none is read.
            ("head_dim", self.rest.get("head_dim").filter(|value| !self.is_a_head_dim(value)).map(|_| Value::Null)),
            ("mlp_bias", Some(Value::from(false))),
        ];
        check_rest(&self.rest, &fixed).or_else(|(field, value)| refuse(&field, value))?;
        let packed = self.quantization_config.as_ref();
        check_storage(&self.rest, packed).or_else(|(field, value)| refuse(&field, value))?;
        Ok(())
    }

    fn is_a_head_dim(&self, value: &Value) -> bool {
        let known = [
            self.qk_rope_head_dim,
            self.qk_nope_head_dim,
            self.qk_head_dim(),
            self.v_head_dim,
            self.hidden_size / self.num_attention_heads.max(1),
        ];
        value.as_u64().is_some_and(|value| known.contains(&(value as usize)))
    }

    fn check_numbers(&self) -> Result<(), (&'static str, String)> {
        let (groups, kept) = self.groups();
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("moe_intermediate_size", self.moe_intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("q_lora_rank", self.q_lora_rank.unwrap_or(1)),
            ("kv_lora_rank", self.kv_lora_rank),
            ("qk_nope_head_dim", self.qk_nope_head_dim),
            ("qk_rope_head_dim", self.qk_rope_head_dim),
            ("v_head_dim", self.v_head_dim),
            ("n_routed_experts", self.n_routed_experts),
            ("n_shared_experts", self.shared_experts().max(1)),
            ("n_group", groups),
            ("moe_layer_freq", self.moe_layer_freq),
            ("num_experts_per_tok", self.num_experts_per_tok),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        for (field, eps) in [("rms_norm_eps", self.rms_norm_eps), ("latent_rms_norm_eps", self.latent_eps())] {
            if !(eps.is_finite() && eps >= 0.0) {
                return Err((field, eps.to_string()));
            }
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(self.theta()) {
            return Err(("rope_theta", self.theta().to_string()));
        }
        if let Some(yarn) = self.yarn() {
            let numbers = [
                ("rope_scaling.factor", yarn.factor),
                ("rope_scaling.beta_fast", yarn.beta_fast),
                ("rope_scaling.beta_slow", yarn.beta_slow),
                ("rope_scaling.original_max_position_embeddings", yarn.original_max_position_embeddings as f64),
            ];
            if let Some((field, value)) = numbers.into_iter().find(|&(_, value)| !positive(value)) {
                return Err((field, value.to_string()));
            }
        }
        if !self.qk_rope_head_dim.is_multiple_of(2) {
            return Err(("qk_rope_head_dim", self.qk_rope_head_dim.to_string()));
        }
        let experts = self.n_routed_experts;
        if !experts.is_multiple_of(groups) {
            return Err(("n_group", format!("{groups} with {experts} experts")));
        }
        if kept == 0 || kept > groups {
            return Err(("topk_group", format!("{kept} of {groups} groups")));
        }
        let selectable = experts / groups * kept.min(groups);
        if self.num_experts_per_tok > selectable {
            return Err(("num_experts_per_tok", format!("{} of {selectable} selectable", self.num_experts_per_tok)));
        }
        if self.num_hidden_layers > MOST_LAYERS {
            return Err(("num_hidden_layers", self.num_hidden_layers.to_string()));
        }
        let modules =
            [("num_nextn_predict_layers", self.num_nextn_predict_layers), ("num_mtp_layers", self.num_mtp_layers)];
        for (field, count) in modules {
            match count {
                Some(count) if count > 1 => return Err((field, count.to_string())),
                Some(count) if count != self.mtp_layers() => {
                    return Err((field, format!("{count} beside {}", self.mtp_layers())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The error is the key and its value.
fn check_rope(scaling: &RopeScaling) -> Result<(), (&'static str, String)> {
    if let (Some(kind), Some(other)) = (&scaling.rope_type, &scaling.kind)
        && kind != other
    {
        return Err(("type", format!("`{other}` beside `rope_type` `{kind}`")));
    }
    if let Some(factor) = scaling.attention_factor {
        return Err(("attention_factor", factor.to_string()));
    }
    if scaling.truncate == Some(false) {
        return Err(("truncate", "false".into()));
    }
    if let Some(share) = scaling.partial_rotary_factor.filter(|share| *share != 1.0) {
        return Err(("partial_rotary_factor", share.to_string()));
    }
    match scaling.kind() {
        "default" => match scaling.scales() {
            Some(key) => Err((key, "without `type` `yarn`".into())),
            None => Ok(()),
        },
        "yarn" if scaling.yarn().is_some() => Ok(()),
        "yarn" => Err(("type", "`yarn` without `factor` and `original_max_position_embeddings`".into())),
        other => Err(("type", format!("`{other}`"))),
    }
}
