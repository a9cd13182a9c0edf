//! Pretraining data: the gym's training side as chats, with solutions, sound or careless, or with the answers alone.

use crate::Error;
use crate::chat::Chat;
use crate::data::{Example, Served, Stream};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_datagen::gym::{Family, Level, Split, boxed, exercise};
use retort_model::chat::ChatTemplate;
use retort_model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// Relative weights of what stands after a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Solutions {
    /// A worked solution in one of the gym's styles, then the answer.
    pub worked: u32,
    /// A solution in which a step went wrong without being noticed, then its wrong answer.
    pub careless: u32,
    /// The answer alone.
    pub answers: u32,
}

/// A mixture of gym exercises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GymMixture {
    pub solutions: Solutions,
    /// Share of the solutions that stand in a thinking block; the others stand before the answer as they are.
    #[serde(default = "all")]
    pub thinking: f64,
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

fn all() -> f64 {
    1.0
}

impl GymMixture {
    /// Whether everything that is read here begins with a thinking block, so that prompts may open it.
    pub fn always_thinks(&self) -> bool {
        self.solutions.answers == 0 && self.thinking == 1.0
    }
}

/// The training side of the gym as an endless stream; exercise `i` of the run is always the same.
pub struct GymStream<'a> {
    mixture: GymMixture,
    seed: u64,
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    eos: u32,
    /// Each (family, level) with its weight.
    cells: Vec<((Family, Level), u64)>,
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
                cells.push(((family, level), u64::from(family_weight) * u64::from(level_weight)));
            }
        }
        if !(0.0..=1.0).contains(&mixture.thinking) {
            let value = mixture.thinking.to_string();
            return Err(Error::Setting { field: "gym.thinking", value, allowed: "from 0 to 1" });
        }
        let Solutions { worked, careless, answers } = mixture.solutions;
        if worked == 0 && careless == 0 && answers == 0 {
            let value = "nothing".into();
            let allowed = "some weight of `worked`, `careless` or `answers`";
            return Err(Error::Setting { field: "gym.solutions", value, allowed });
        }
        // 15 products of two u32 cannot all be near the largest u64: more than the weights of a mixture are refused.
        let total = cells.iter().try_fold(0u64, |total, cell| total.checked_add(cell.1));
        if total.is_none_or(|total| total == 0) || mixture.per_step == 0 {
            return Err(Error::Setting {
                field: "gym",
                value: "the weights or `per_step`".into(),
                allowed: "some weight, not above 4 billion each, and `per_step` above 0",
            });
        }
        Ok(Self { mixture, seed, tokenizer, template, eos, cells })
    }

    /// Exercise `index` of the run, as it is read.
    fn example(&self, index: u64) -> Result<Example, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let (family, level) = weighted(&self.cells, &mut rng);
        let exercise = exercise(family, level, Split::Train, self.seed, index);
        let Solutions { worked, careless, answers } = self.mixture.solutions;
        let ways = [(Way::Worked, worked), (Way::Careless, careless), (Way::Answer, answers)];
        let (solution, answer) = match weighted(&ways.map(|(way, weight)| (way, weight.into())), &mut rng) {
            Way::Worked => (exercise.worked(exercise.style()), exercise.response()),
            Way::Careless => {
                let (solution, answer) = exercise.careless();
                (solution, boxed(&answer))
            }
            Way::Answer => (String::new(), exercise.response()),
        };
        let is_thought = (rng.next_u32() as f64) < self.mixture.thinking * 2f64.powi(32);
        let (reasoning, response) = match is_thought || solution.is_empty() {
            true => (solution, answer),
            false => (String::new(), format!("{solution}\n\n{answer}")),
        };
        let chat = Chat { tokenizer: self.tokenizer, template: self.template, eos: self.eos };
        let mut example = chat.example(&exercise.problem.problem, &reasoning, &response)?;
        if self.mixture.learn_questions {
            example.loss_from = 1;
        }
        Ok(example)
    }
}

/// What stands after one question.
#[derive(Debug, Clone, Copy)]
enum Way {
    Worked,
    Careless,
    Answer,
}

/// One of the choices, as likely as its weight; they sum to more than 0.
fn weighted<T: Copy>(choices: &[(T, u64)], rng: &mut ChaCha8Rng) -> T {
    let total: u64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.next_u64() % total;
    let mut rest = choices.iter();
    loop {
        // The weights sum to `total`, so this ends before the choices do.
        let &(choice, weight) = rest.next().unwrap_or(&choices[0]);
        if left < weight {
            return choice;
        }
        left -= weight;
    }
}

impl Stream for GymStream<'_> {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        let first = step * self.mixture.per_step as u64;
        let indices = first..first + self.mixture.per_step as u64;
        Ok(indices.map(|index| self.example(index)).collect::<Result<Vec<_>, _>>()?.into())
    }

    fn fingerprint(&self) -> String {
        let mixture = serde_json::to_string(&self.mixture).unwrap_or_default();
        let vocabulary = self.tokenizer.to_json().unwrap_or_default();
        blake3::hash(format!("{mixture} seed {} {vocabulary}", self.seed).as_bytes()).to_hex()[..16].to_string()
    }
}
