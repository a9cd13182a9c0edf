//! Drawing the next token: how a recipe says it, and the steps in their fixed order.
//!
//! The steps, in the order in which they are taken (that of vLLM):
//!
//! 1. `logit_bias` is added to the logits of the tokens it names.
//! 2. `repetition_penalty` r: the logit of every token that the prompt or the completion already holds is divided by r
//!    where it is positive and multiplied by r where it is negative (CTRL, arXiv 1909.05858, section 4.1).
//! 3. `temperature`: logits are divided by it; at 0 the largest is taken and no step follows.
//! 4. `min_p`: tokens less likely than `min_p` times the likeliest one fall away (arXiv 2407.01082).
//! 5. `top_k`: all but the k likeliest fall away.
//! 6. `top_p`: of what is left, renormalised, the smallest set of likeliest tokens stays whose probabilities sum to at
//!    least this (nucleus, arXiv 1904.09751).
//! 7. One uniform number picks a token of what is left. Ties go to the lower id throughout.
//!
//! The noise for a token is a function of (run seed, problem, sample, position) alone, so what is drawn does not
//! depend on batch size, order, thread count or resume.

mod draw;
mod noise;
mod select;

pub use draw::{Sampler, greedy};
pub use noise::NoiseKey;
pub use select::top_k;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a completion is drawn and where it ends.
///
/// A setting that is left alone is not written down, so that a record made before it existed reads as one made since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f64,
    /// Keeps the smallest set of tokens whose probabilities sum to at least this; 1 keeps all.
    pub top_p: f64,
    /// Tokens of a completion at most.
    pub max_tokens: usize,
    /// Keeps this many of the likeliest tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Keeps tokens at least this likely, relative to the likeliest; 0 keeps all.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_p: f64,
    /// Above 1 makes tokens less likely that are there already, in the prompt or the completion; 1 does nothing.
    #[serde(skip_serializing_if = "is_one")]
    pub repetition_penalty: f64,
    /// A completion ends before the first of these texts, which is not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A completion that is still thinking after this many tokens is not left to think on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<usize>,
    /// What happens to it then.
    #[serde(skip_serializing_if = "AtBudget::is_default")]
    pub at_budget: AtBudget,
    /// Ends a completion that has written the same 8 to 1024 tokens this many times, back to back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loop_repeats: Option<usize>,
    /// Added to the logits of tokens by their id: -100 bans, 100 all but forces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "biases")]
    pub logit_bias: BTreeMap<u32, f64>,
}

/// What happens to a completion whose thinking has used up its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtBudget {
    /// `</think>` is written for it and it goes on with its answer; which tokens were written so is recorded.
    #[default]
    Close,
    /// It ends there, unfinished.
    End,
}

impl AtBudget {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// TOML's keys are texts, and so are JSON's.
fn biases<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u32, f64>, D::Error> {
    let named = BTreeMap::<String, f64>::deserialize(deserializer)?;
    let id = |name: String| {
        name.parse().map_err(|_| serde::de::Error::custom(format!("`{name}` in `logit_bias` is no token id")))
    };
    named.into_iter().map(|(name, bias)| Ok((id(name)?, bias))).collect()
}

impl Default for Sampling {
    /// What the DeepSeek-R1 model card recommends.
    fn default() -> Self {
        Self {
            temperature: 0.6,
            top_p: 0.95,
            max_tokens: 512,
            top_k: None,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: vec![],
            thinking_budget: None,
            at_budget: AtBudget::Close,
            loop_repeats: None,
            logit_bias: BTreeMap::new(),
        }
    }
}

impl Sampling {
    /// The first setting that is out of range: its name, what was found, what is expected.
    pub fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let Self { temperature, top_p, max_tokens, min_p, repetition_penalty, .. } = *self;
        let number = |name, value: f64, fits: bool, expected| (!fits).then(|| (name, value.to_string(), expected));
        let count = |name, value: Option<usize>, least: usize, expected| {
            let value = value.filter(|&value| value < least)?;
            Some((name, value.to_string(), expected))
        };
        number("temperature", temperature, temperature.is_finite() && temperature >= 0.0, "0 or more")
            .or_else(|| number("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"))
            .or_else(|| count("max_tokens", Some(max_tokens), 1, "at least 1"))
            .or_else(|| count("top_k", self.top_k, 1, "at least 1"))
            .or_else(|| number("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1"))
            .or_else(|| {
                let fits = repetition_penalty.is_finite() && repetition_penalty > 0.0;
                number("repetition_penalty", repetition_penalty, fits, "above 0; 1 does nothing")
            })
            .or_else(|| {
                let empty = self.stop.iter().any(String::is_empty);
                empty.then(|| ("stop", "an empty text".into(), "texts of at least one character"))
            })
            .or_else(|| {
                let unused = self.at_budget != AtBudget::Close && self.thinking_budget.is_none();
                unused.then(|| ("at_budget", "set".into(), "a `thinking_budget` beside it"))
            })
            .or_else(|| count("thinking_budget", self.thinking_budget, 1, "at least 1"))
            .or_else(|| count("loop_repeats", self.loop_repeats, 2, "at least 2"))
            .or_else(|| {
                let mut beyond = self.logit_bias.iter().filter(|(_, bias)| !(-100.0..=100.0).contains(*bias));
                let (id, bias) = beyond.next()?;
                Some(("logit_bias", format!("{bias} for token {id}"), "from -100 to 100"))
            })
    }

    /// The same, and what does not fit a model with `vocabulary` tokens.
    pub fn fault_for(&self, vocabulary: usize) -> Option<(&'static str, String, &'static str)> {
        let unknown = || self.logit_bias.keys().find(|&&id| id as usize >= vocabulary);
        self.fault().or_else(|| {
            unknown().map(|id| ("logit_bias", format!("for token {id}"), "ids of the model's own vocabulary"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let with = |change: fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            sampling.fault().map(|(name, ..)| name)
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|s| s.temperature = -0.1), Some("temperature"));
        assert_eq!(with(|s| s.temperature = f64::INFINITY), Some("temperature"));
        assert_eq!(with(|s| s.top_p = f64::NAN), Some("top_p"));
        assert_eq!(with(|s| s.max_tokens = 0), Some("max_tokens"));
        assert_eq!(with(|s| s.top_k = Some(0)), Some("top_k"));
        assert_eq!(with(|s| s.min_p = 1.1), Some("min_p"));
        assert_eq!(with(|s| s.repetition_penalty = 0.0), Some("repetition_penalty"));
        assert_eq!(with(|s| s.stop = vec!["a".into(), String::new()]), Some("stop"));
        assert_eq!(with(|s| s.at_budget = AtBudget::End), Some("at_budget"));
        assert_eq!(with(|s| s.loop_repeats = Some(1)), Some("loop_repeats"));
        assert_eq!(with(|s| s.logit_bias = [(3, -101.0)].into()), Some("logit_bias"));
        let biased = Sampling { logit_bias: [(50, 1.0)].into(), ..Sampling::default() };
        assert_eq!((biased.fault(), biased.fault_for(51)), (None, None));
        assert!(biased.fault_for(50).is_some());
    }

    #[test]
    fn a_record_names_what_was_set_and_reads_back() {
        let json = |sampling: &Sampling| serde_json::to_string(sampling).expect("numbers and texts");
        let plain = Sampling::default();
        assert_eq!(json(&plain), r#"{"temperature":0.6,"top_p":0.95,"max_tokens":512}"#);
        let full = Sampling {
            top_k: Some(20),
            min_p: 0.05,
            repetition_penalty: 1.1,
            stop: vec!["\n\n".into()],
            thinking_budget: Some(100),
            at_budget: AtBudget::End,
            loop_repeats: Some(4),
            logit_bias: [(7, -100.0), (11, 2.5)].into(),
            ..plain.clone()
        };
        for sampling in [plain, full] {
            assert_eq!(serde_json::from_str::<Sampling>(&json(&sampling)).expect("reads"), sampling);
        }
        assert!(serde_json::from_str::<Sampling>(r#"{"logit_bias":{"a":1}}"#).is_err());
        assert!(serde_json::from_str::<Sampling>(r#"{"min-p":0.1}"#).is_err());
    }
}
