//! The recipe by which problems are read and asked; `datagen run` and `evals run` share it.

use crate::args::Asking;
use crate::{open, recipe};
use anyhow::{Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::prompt::Prompt;
use retort_datagen::run::{BOXED_SUFFIX, Plan};
use retort_datagen::sources::{Columns, Reading, Selection};
use retort_datagen::store::DEFAULT_ROWS_PER_SHARD;
use retort_datagen::verify::Rule;
use retort_model::capture::Capture;
use retort_model::sampling::Sampling;
use retort_teacher::endpoint::Settings;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::Path;

/// How problems are asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskingRecipe {
    /// Samples per problem.
    pub n: u32,
    pub seed: u64,
    pub sampling: Sampling,
    /// Right samples after which a problem has enough; without it every problem gets `n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u32>,
    /// Which turns are right: `"math"`, `"choice"`, `{ regex = '...' }`, `{ all = ["math", { format = { ... } }] }`;
    /// without it, what the problem's domain asks for.
    #[serde(skip_serializing_if = "Rule::is_default")]
    pub verify: Rule,
    /// What to store of the teacher's distribution: `capture.top_k = 32`, `capture.draws = 50` or `capture = "sampled"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Appended to every problem; without it, R1's directive for files and nothing for the gym.
    pub prompt_suffix: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub prompt: PromptRecipe,
    /// Where question, answer and labels stand in a row.
    #[serde(skip_serializing_if = "is_default")]
    pub problems: Columns,
    /// Rows that share a file of the dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_shard: Option<NonZeroU32>,
    /// How an endpoint is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Settings>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The section `[prompt]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptRecipe {
    /// Settings under a name, in place of those below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// A Jinja template over the columns of a row that makes the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Whether answers begin inside a thinking block, whatever the model's template does.
    pub think: bool,
}

/// Ways of asking that a model's authors recommend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// DeepSeek-R1's (README, "Usage Recommendations"): nothing from the system, the directive to box the answer at the
    /// end of what the user says, and an answer that begins with `<think>`.
    R1,
}

impl Default for AskingRecipe {
    fn default() -> Self {
        Self {
            n: 1,
            seed: 0,
            sampling: Sampling::default(),
            quota: None,
            verify: Rule::default(),
            capture: None,
            prompt_suffix: None,
            prompt: PromptRecipe::default(),
            problems: Columns::default(),
            rows_per_shard: None,
            endpoint: None,
        }
    }
}

impl AskingRecipe {
    /// The recipe file, `--set`, then the flags.
    pub fn read(asking: &Asking) -> Result<Self> {
        Self::default().changed(asking)
    }

    /// This recipe with what the recipe file, `--set` and the flags say in place of its own settings.
    pub fn changed(&self, asking: &Asking) -> Result<Self> {
        // One verifier takes the place of another; their settings do not mix.
        let base = Self { verify: Rule::default(), ..self.clone() };
        let mut recipe: Self = recipe::over(&base, asking.recipe.as_deref(), &asking.set)?;
        if recipe.verify.is_default() {
            recipe.verify = self.verify.clone();
        }
        // A schema lies beside the recipe that names it.
        let base = asking.recipe.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        recipe.verify = recipe.verify.with_files(base).map_err(retort_datagen::Error::from)?;
        recipe.n = asking.n.unwrap_or(recipe.n);
        recipe.seed = asking.seed.unwrap_or(recipe.seed);
        Ok(recipe)
    }

    /// The first problems of `source`, of the gym those of the side `split` that `seed` draws.
    pub fn problems(
        &self,
        source: &str,
        split: Split,
        seed: u64,
        selection: Selection,
        limit: Option<usize>,
    ) -> Result<Vec<Problem>> {
        let template = self.prompt.template.clone();
        let reading = Reading { selection, columns: self.problems.clone(), template };
        open::problems(source, split, seed, &reading, limit)
    }

    /// The plan for problems from `source`.
    pub fn plan(&self, source: &str) -> Result<Plan> {
        let (prompt, prompt_suffix) = self.prompt(source)?;
        let rows_per_shard = self.rows_per_shard.map_or(DEFAULT_ROWS_PER_SHARD, NonZeroU32::get);
        Ok(Plan {
            n: self.n,
            sampling: self.sampling.clone(),
            quota: self.quota,
            verify: self.verify.clone(),
            capture: self.capture,
            seed: self.seed,
            prompt_suffix,
            prompt,
            rows_per_shard,
            ..Plan::default()
        })
    }

    /// How problems from `source` are put, and what follows them.
    fn prompt(&self, source: &str) -> Result<(Prompt, String)> {
        let PromptRecipe { preset, template, system, think } = self.prompt.clone();
        if preset == Some(Preset::R1) {
            if template.is_some() || system.is_some() || think || self.prompt_suffix.is_some() {
                bail!("`prompt.preset` stands for the other settings of prompts: leave them out, or the preset");
            }
            return Ok((Prompt { think: true, ..Prompt::default() }, BOXED_SUFFIX.into()));
        }
        let default = if open::is_gym(source) { "" } else { BOXED_SUFFIX };
        let suffix = self.prompt_suffix.clone().unwrap_or_else(|| default.into());
        Ok((Prompt { template, system, think }, suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> AskingRecipe {
        recipe::parse(text, &[]).expect("a recipe")
    }

    #[test]
    fn a_preset_is_what_its_authors_recommend_and_nothing_beside_it() -> Result<()> {
        let plan = recipe("prompt.preset = 'r1'").plan("gym")?;
        assert_eq!(plan.prompt, Prompt { think: true, ..Prompt::default() });
        assert_eq!(plan.prompt_suffix, BOXED_SUFFIX);
        for other in ["prompt.system = 's'", "prompt.think = true", "prompt_suffix = ''"] {
            assert!(recipe(&format!("{other}\nprompt.preset = 'r1'")).plan("gym").is_err(), "{other}");
        }
        Ok(())
    }

    #[test]
    fn a_template_makes_the_question_and_a_suffix_follows_it() -> Result<()> {
        let plan = recipe("prompt.template = '{{ question }}'").plan("a.jsonl")?;
        assert_eq!(plan.prompt_suffix, BOXED_SUFFIX);
        assert_eq!(plan.prompt.template.as_deref(), Some("{{ question }}"));
        assert_eq!(recipe("prompt_suffix = 'Box it.'").plan("a.jsonl")?.prompt_suffix, "Box it.");
        Ok(())
    }
}
