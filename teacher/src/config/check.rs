//! What a `config.json` may say. A setting that this runtime does not follow is refused by name, never ignored.

use super::{Config, RopeScaling, Scoring, TopkMethod};
use retort_model::Error;
use serde_json::Value;
use std::path::Path;

/// Keys that change nothing about a forward pass: training, bookkeeping, other programs' switches.
const WITHOUT_EFFECT: [&str; 21] = [
    "_name_or_path",
    "attention_dropout",
    "auto_map",
    "aux_loss_alpha",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "ep_size",
    "head_dim",
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

impl Config {
    /// Refuses what is not supported and what contradicts itself.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse =
            |field: &str, value: String| Err(Error::Unsupported { field: field.into(), value, path: path.into() });
        if !matches!(self.model_type.as_str(), "deepseek_v2" | "deepseek_v3" | "kimi_k2") {
            return refuse("model_type", self.model_type.clone());
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone());
        }
        if self.attention_bias {
            return refuse("attention_bias", "true".into());
        }
        // The bias of `noaux_tc` is made for scores between 0 and 1 that do not compete; nothing else is published.
        if (self.scoring() == Scoring::Sigmoid) != (self.selection() == TopkMethod::NoauxTc) {
            return refuse("topk_method", format!("{:?} with {:?} scores", self.selection(), self.scoring()));
        }
        for (field, scaling) in [("rope_scaling", &self.rope_scaling), ("rope_parameters", &self.rope_parameters)] {
            if let Some(scaling) = scaling {
                check_rope(scaling).or_else(|value| refuse(field, value))?;
            }
        }
        self.check_sizes().or_else(|(field, value)| refuse(field, value))?;
        for (field, value) in &self.rest {
            let expected = match field.as_str() {
                "num_key_value_heads" => Some(Value::from(self.num_attention_heads)),
                "qk_head_dim" => Some(Value::from(self.qk_head_dim())),
                "mlp_bias" => Some(Value::from(false)),
                known if WITHOUT_EFFECT.contains(&known) => None,
                _ => return refuse(field, value.to_string()),
            };
            if expected.is_some_and(|expected| *value != expected && !value.is_null()) {
                return refuse(field, value.to_string());
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), (&'static str, String)> {
        let (groups, kept) = self.groups();
        let zero = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("q_lora_rank", self.q_lora_rank.unwrap_or(1)),
            ("kv_lora_rank", self.kv_lora_rank),
            ("v_head_dim", self.v_head_dim),
            ("n_routed_experts", self.n_routed_experts),
            ("n_group", groups),
            ("moe_layer_freq", self.moe_layer_freq),
            ("num_experts_per_tok", self.num_experts_per_tok),
        ];
        if let Some((field, _)) = zero.into_iter().find(|&(_, value)| value == 0) {
            return Err((field, "0".into()));
        }
        if self.qk_rope_head_dim == 0 || !self.qk_rope_head_dim.is_multiple_of(2) {
            return Err(("qk_rope_head_dim", self.qk_rope_head_dim.to_string()));
        }
        let experts = self.n_routed_experts;
        if !experts.is_multiple_of(groups) {
            return Err(("n_group", format!("{groups} with {experts} experts")));
        }
        let selectable = experts / groups * kept.min(groups);
        if self.num_experts_per_tok > selectable {
            return Err(("num_experts_per_tok", format!("{} of {selectable} selectable", self.num_experts_per_tok)));
        }
        if self.num_nextn_predict_layers > 1 {
            return Err(("num_nextn_predict_layers", self.num_nextn_predict_layers.to_string()));
        }
        Ok(())
    }
}

fn check_rope(scaling: &RopeScaling) -> Result<(), String> {
    match scaling.kind() {
        "default" => Ok(()),
        "yarn" if scaling.yarn.is_some() => Ok(()),
        "yarn" => Err("`yarn` without `factor` and `original_max_position_embeddings`".into()),
        other => Err(format!("type `{other}`")),
    }
}
