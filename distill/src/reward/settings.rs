//! The `[reward]` section of a recipe.

use super::advantage::Normalise;
use crate::Error;
use crate::objective::{ObjectiveSettings, Term};
use retort_datagen::verify::Format;
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};

/// How a model learns from reward. What TRL and verl call these settings stands in brackets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSettings {
    /// Completions of one problem that are held against each other (`num_generations`, `rollout.n`).
    pub group_size: usize,
    /// Updates that learn from the same rollouts (`num_iterations`, `ppo_epochs`; mu of the paper). In all but the first
    /// the weights have moved on: rollouts are at most `iterations - 1` updates old.
    #[serde(default = "one")]
    pub iterations: u64,
    /// How many times its own number of groups a batch may draw in place of groups whose rewards are equal, which say
    /// nothing (DAPO's dynamic sampling; `max_num_gen_batches - 1`); what is still silent then is left out.
    #[serde(default)]
    pub redraws: u64,
    /// How far a token's ratio may fall (`epsilon`, `clip_ratio_low`); it matters from the second iteration on.
    #[serde(default = "low")]
    pub clip_low: f64,
    /// How far it may rise (`epsilon_high`, `clip_ratio_high`); DAPO found 0.28 to keep the entropy up.
    #[serde(default = "low")]
    pub clip_high: f64,
    /// Weight of the KL to the model as it was at the start (`beta`, `kl_loss_coef`); 0 holds it to nothing.
    #[serde(default)]
    pub kl_weight: f64,
    /// How rewards become weights of tokens (`loss_type` and `scale_rewards`).
    #[serde(default)]
    pub normalise: Normalise,
    /// What the parts of the reward count (`reward_weights`).
    #[serde(default)]
    pub weights: Weights,
    /// What a well-formed turn is like; it must also have ended by itself.
    #[serde(default = "thinking")]
    pub format: Format,
    /// The last so many tokens before the limit cost up to the length's weight (`overlong_buffer.len`; DAPO, equation 13).
    #[serde(default)]
    pub overlong_buffer: usize,
}

/// Factors of a reward's parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Of 1 for a right answer.
    pub accuracy: f64,
    /// Of 1 for a well-formed turn.
    pub format: f64,
    /// Of up to -1 for a turn that is too long (`overlong_buffer.penalty_factor`).
    pub length: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { accuracy: 1.0, format: 0.0, length: 0.0 }
    }
}

fn one() -> u64 {
    1
}

fn low() -> f64 {
    0.2
}

fn thinking() -> Format {
    Format { thinking: true, ..Format::default() }
}

/// More updates than this learn from noise: the ratio has left its bounds for most tokens.
const MOST_ITERATIONS: u64 = 16;

/// A model that is never or always right would go on drawing.
const MOST_REDRAWS: u64 = 64;

impl RewardSettings {
    /// Refuses settings out of range, and completions drawn from another distribution than the one that is trained.
    pub fn check(&self, sampling: &Sampling) -> Result<(), Error> {
        let bad = |field, value: String, allowed| Err(Error::Setting { field, value, allowed });
        if self.group_size < 2 {
            return bad(
                "reward.group_size",
                self.group_size.to_string(),
                "at least 2: one has no other to be held against",
            );
        }
        if !(1..=MOST_ITERATIONS).contains(&self.iterations) {
            return bad("reward.iterations", self.iterations.to_string(), "from 1 to 16");
        }
        if self.redraws > MOST_REDRAWS {
            return bad("reward.redraws", self.redraws.to_string(), "from 0 to 64");
        }
        let Weights { accuracy, format, length } = self.weights;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        for (field, value, fine, allowed) in [
            ("reward.clip_low", self.clip_low, (0.0..1.0).contains(&self.clip_low), "from 0 to below 1"),
            ("reward.clip_high", self.clip_high, not_negative(self.clip_high), "0 or more"),
            ("reward.kl_weight", self.kl_weight, not_negative(self.kl_weight), "0 or more"),
            ("reward.weights.accuracy", accuracy, not_negative(accuracy), "0 or more"),
            ("reward.weights.format", format, not_negative(format), "0 or more"),
            ("reward.weights.length", length, not_negative(length), "0 or more"),
            ("reward.weights", accuracy + format, positive(accuracy + format), "something that can be earned"),
        ] {
            if !fine {
                return bad(field, value.to_string(), allowed);
            }
        }
        if self.overlong_buffer >= sampling.max_tokens {
            return bad("reward.overlong_buffer", self.overlong_buffer.to_string(), "below `max_tokens`");
        }
        if let Some((_, value, allowed)) = sampling.fault() {
            return bad("asking.sampling", value, allowed);
        }
        let own = Sampling {
            temperature: 1.0,
            top_p: 1.0,
            max_tokens: sampling.max_tokens,
            stop: sampling.stop.clone(),
            loop_repeats: sampling.loop_repeats,
            ..Sampling::default()
        };
        if *sampling != own {
            let found = serde_json::to_string(sampling).unwrap_or_default();
            let allowed = "temperature 1, top_p 1, and nothing that cuts, bends or forces: what is drawn must come from the \
                           distribution that is trained";
            return bad("asking.sampling", found, allowed);
        }
        Ok(())
    }

    /// What is minimised.
    pub fn objective(&self) -> ObjectiveSettings {
        let Self { clip_low, clip_high, kl_weight, .. } = *self;
        let mut terms = vec![Term::PolicyGradient { weight: 1.0, clip_low, clip_high }];
        if kl_weight > 0.0 {
            terms.push(Term::ReferenceKl { weight: kl_weight });
        }
        ObjectiveSettings { terms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_must_come_from_the_distribution_that_is_trained() {
        let settings: RewardSettings = serde_json::from_str(r#"{"group_size":4}"#).expect("settings");
        let plain = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 32, ..Sampling::default() };
        assert!(settings.check(&plain).is_ok());
        for other in [
            Sampling { temperature: 0.6, ..plain.clone() },
            Sampling { top_p: 0.95, ..plain.clone() },
            Sampling { top_k: Some(5), ..plain.clone() },
            Sampling { min_p: 0.1, ..plain.clone() },
            Sampling { repetition_penalty: 1.1, ..plain.clone() },
            Sampling { thinking_budget: Some(8), ..plain.clone() },
            Sampling { logit_bias: [(3, 1.0)].into(), ..plain.clone() },
        ] {
            let refused = settings.check(&other).expect_err("another distribution").to_string();
            assert!(refused.contains("asking.sampling"), "{refused}");
        }
        let stopped = Sampling { stop: vec!["\n\n".into()], loop_repeats: Some(4), ..plain };
        assert!(settings.check(&stopped).is_ok(), "where a completion ends is no matter of its distribution");
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 32, ..Sampling::default() };
        for (json, field) in [
            (r#"{"group_size":1}"#, "reward.group_size"),
            (r#"{"group_size":2,"iterations":0}"#, "reward.iterations"),
            (r#"{"group_size":2,"redraws":65}"#, "reward.redraws"),
            (r#"{"group_size":2,"clip_low":1}"#, "reward.clip_low"),
            (r#"{"group_size":2,"clip_high":-0.1}"#, "reward.clip_high"),
            (r#"{"group_size":2,"kl_weight":-1}"#, "reward.kl_weight"),
            (r#"{"group_size":2,"weights":{"accuracy":0}}"#, "reward.weights"),
            (r#"{"group_size":2,"overlong_buffer":32}"#, "reward.overlong_buffer"),
        ] {
            let settings: RewardSettings = serde_json::from_str(json).expect("settings");
            let refused = settings.check(&sampling).expect_err("out of range").to_string();
            assert!(refused.contains(&format!("`{field}`")), "{json}: {refused}");
        }
    }
}
