//! `adapter_config.json`. A setting that this runtime does not follow is refused by name, never ignored.

use crate::Config;
use retort_model::Error;
use retort_model::inventory::Part;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// The settings of an adapter. Field names are PEFT's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    pub peft_type: String,
    #[serde(default)]
    pub task_type: Option<String>,
    /// The folder or hub name of the model that the adapter belongs to.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    pub r: usize,
    pub lora_alpha: f64,
    pub target_modules: Targets,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default = "none")]
    pub bias: String,
    /// Everything else in the file: kept, and checked to be without effect here.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Which projections an adapter changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// Modules by the end of their name.
    Named(Vec<String>),
    /// `all-linear`: every projection but the head.
    All(String),
}

/// What a recipe says of an adapter to be trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    pub rank: usize,
    pub alpha: f64,
    #[serde(default = "all_linear")]
    pub target_modules: Targets,
    #[serde(default)]
    pub use_rslora: bool,
}

fn none() -> String {
    "none".into()
}

fn all_linear() -> Targets {
    Targets::All("all-linear".into())
}

/// PEFT's keys that change nothing about what an adapter computes, or only how it is trained or first drawn.
const WITHOUT_EFFECT: [&str; 9] = [
    "auto_mapping",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

impl LoraConfig {
    /// A fresh adapter for the model that is found under `base`.
    pub fn new(settings: &LoraSettings, base: &str) -> Self {
        let rest = [("fan_in_fan_out", false.into()), ("inference_mode", true.into()), ("lora_dropout", 0.0.into())];
        Self {
            peft_type: "LORA".into(),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: Some(base.into()),
            r: settings.rank,
            lora_alpha: settings.alpha,
            target_modules: settings.target_modules.clone(),
            use_rslora: settings.use_rslora,
            bias: none(),
            rest: rest.map(|(key, value): (&str, Value)| (key.to_string(), value)).into(),
        }
    }

    /// s: alpha / r, or alpha / sqrt(r).
    pub fn scale(&self) -> f64 {
        self.lora_alpha / if self.use_rslora { (self.r as f64).sqrt() } else { self.r as f64 }
    }

    /// Whether the projection with this full name is changed.
    pub fn adapts(&self, module: &str) -> bool {
        let is_projection = module.ends_with("_proj");
        match &self.target_modules {
            Targets::All(_) => is_projection,
            Targets::Named(names) => {
                is_projection && names.iter().any(|name| module == name || module.ends_with(&format!(".{name}")))
            }
        }
    }

    /// The adapter's tensors, without PEFT's prefix.
    pub fn parts(&self, model: &Config) -> Vec<Part> {
        let mut parts = Vec::new();
        for part in model.parts() {
            if let (Some(module), &[o, i]) = (part.name.strip_suffix(".weight"), part.shape.as_slice())
                && self.adapts(module)
            {
                parts.push(Part::one(format!("{module}.lora_A.weight"), &[self.r, i]));
                parts.push(Part::one(format!("{module}.lora_B.weight"), &[o, self.r]));
            }
        }
        parts
    }

    /// Ranks that an adapter of `model` may have: more than its width would be no low rank.
    pub fn ranks(model: &Config) -> RangeInclusive<usize> {
        1..=model.hidden_size.max(model.intermediate_size)
    }

    /// Refuses what is not supported, and targets that `model` does not have.
    pub fn check(&self, model: &Config, path: &Path) -> Result<(), Error> {
        let refuse =
            |field: &str, value: String| Err(Error::Unsupported { field: field.into(), value, path: path.into() });
        if self.peft_type != "LORA" {
            return refuse("peft_type", self.peft_type.clone());
        }
        if self.bias != "none" {
            return refuse("bias", self.bias.clone());
        }
        if !Self::ranks(model).contains(&self.r) {
            return refuse("r", self.r.to_string());
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return refuse("lora_alpha", self.lora_alpha.to_string());
        }
        match &self.target_modules {
            Targets::All(word) if word != "all-linear" => return refuse("target_modules", word.clone()),
            Targets::Named(names) => {
                let alone = |name: &String| Self { target_modules: Targets::Named(vec![name.clone()]), ..self.clone() };
                if let Some(name) = names.iter().find(|name| alone(name).parts(model).is_empty()) {
                    return refuse("target_modules", name.clone());
                }
                if names.is_empty() {
                    return refuse("target_modules", "[]".into());
                }
            }
            Targets::All(_) => {}
        }
        match self.rest.iter().find(|(key, value)| !is_harmless(key, value)) {
            Some((key, value)) => refuse(key, value.to_string()),
            None => Ok(()),
        }
    }
}

/// Switches that are off pass, and so do first values that leave the base as it is.
fn is_harmless(key: &str, value: &Value) -> bool {
    let off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let plain_start = key == "init_lora_weights" && (value == true || value == "gaussian");
    off || plain_start || WITHOUT_EFFECT.contains(&key)
}
