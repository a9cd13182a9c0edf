//! Pretraining data: the gym's training side as chats, with worked solutions or with the answers alone.

use crate::Error;
use crate::chat::Chat;
use crate::data::{Example, Served, Stream};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_datagen::gym::{Exercise, Family, Level, Split, exercise};
use retort_model::chat::ChatTemplate;
use retort_model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What stands after the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solutions {
    /// A worked solution in one of the gym's styles, then the answer.
    Worked,
    /// The answer alone.
    Answers,
}

/// A mixture of gym exercises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GymMixture {
    pub solutions: Solutions,
    /// Exercises per optimiser step.
    pub per_step: usize,
    /// Relative weights of levels 1, 2 and 3.
    pub level_weights: [u32; 3],
    /// Relative weights of families by name; 1 for those not named.
    #[serde(default)]
    pub family_weights: std::collections::BTreeMap<String, u32>,
    /// Whether the question is predicted too, as in plain language modelling.
    #[serde(default)]
    pub learn_questions: bool,
}

/// The training side of the gym as an endless stream; exercise `i` of the run is always the same.
pub struct GymStream<'a> {
    mixture: GymMixture,
    seed: u64,
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    eos: u32,
    /// Each (family, level) with its weight.
    cells: Vec<(Family, Level, u64)>,
}

impl<'a> GymStream<'a> {
    pub fn new(
        mixture: GymMixture,
        seed: u64,
        tokenizer: &'a Tokenizer,
        template: &'a ChatTemplate,
        eos: u32,
    ) -> Result<Self, Error> {
        let unknown = mixture.family_weights.keys().find(|name| Family::parse(name).is_none());
        if let Some(name) = unknown {
            let allowed = "arithmetic, equations, word_problems, countdown or modular";
            return Err(Error::Setting { field: "family_weights", value: name.clone(), allowed });
        }
        let mut cells = Vec::new();
        for family in Family::ALL {
            let family_weight = mixture.family_weights.get(family.as_str()).copied().unwrap_or(1);
            for (level, &level_weight) in Level::ALL.into_iter().zip(&mixture.level_weights) {
                cells.push((family, level, u64::from(family_weight) * u64::from(level_weight)));
            }
        }
        // 15 products of two u32 cannot all be near the largest u64: more than the weights of a mixture are refused.
        let total = cells.iter().try_fold(0u64, |total, cell| total.checked_add(cell.2));
        if total.is_none_or(|total| total == 0) || mixture.per_step == 0 {
            return Err(Error::Setting {
                field: "gym",
                value: "the weights or `per_step`".into(),
                allowed: "some weight, not above 4 billion each, and `per_step` above 0",
            });
        }
        Ok(Self { mixture, seed, tokenizer, template, eos, cells })
    }

    fn exercise(&self, index: u64) -> Exercise {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let total: u64 = self.cells.iter().map(|cell| cell.2).sum();
        let mut left = rng.next_u64() % total;
        let mut cells = self.cells.iter();
        let (family, level) = loop {
            // The weights sum to `total`, so this ends before the cells do.
            let &(family, level, weight) = cells.next().unwrap_or(&self.cells[0]);
            if left < weight {
                break (family, level);
            }
            left -= weight;
        };
        exercise(family, level, Split::Train, self.seed, index)
    }

    fn example(&self, exercise: &Exercise) -> Result<Example, Error> {
        let reasoning = match self.mixture.solutions {
            Solutions::Worked => exercise.worked(exercise.style()),
            Solutions::Answers => String::new(),
        };
        let chat = Chat { tokenizer: self.tokenizer, template: self.template, eos: self.eos };
        let mut example = chat.example(&exercise.problem.problem, &reasoning, &exercise.response())?;
        if self.mixture.learn_questions {
            example.loss_from = 1;
        }
        Ok(example)
    }
}

impl Stream for GymStream<'_> {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        let first = step * self.mixture.per_step as u64;
        let indices = first..first + self.mixture.per_step as u64;
        Ok(indices.map(|index| self.example(&self.exercise(index))).collect::<Result<Vec<_>, _>>()?.into())
    }

    fn fingerprint(&self) -> String {
        let mixture = serde_json::to_string(&self.mixture).unwrap_or_default();
        let vocabulary = self.tokenizer.to_json().unwrap_or_default();
        blake3::hash(format!("{mixture} seed {} {vocabulary}", self.seed).as_bytes()).to_hex()[..16].to_string()
    }
}
