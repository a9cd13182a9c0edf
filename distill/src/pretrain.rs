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

#[cfg(test)]
mod tests {
    use super::*;
    use retort_model::house;

    fn mixture(solutions: &str, thinking: f64) -> GymMixture {
        let json = format!(
            r#"{{"solutions":{solutions},"thinking":{thinking},"per_step":50,"level_weights":[1,1,0],
                 "family_weights":{{"countdown":0,"equations":0,"word_problems":0}}}}"#
        );
        serde_json::from_str(&json).expect("a mixture")
    }

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(&["2+2=4".to_string(), "\\boxed{4}".into()], 300, &house::SPECIAL_TOKENS).expect("trains")
    }

    /// How many of 250 exercises of a mixture are answers alone, in a thinking block, in the open; and how many are wrong.
    fn kinds(mixture: GymMixture) -> Result<[usize; 4], Error> {
        let tokenizer = tokenizer();
        let template = house::folder("{}".into(), &tokenizer, mixture.always_thinks())?.template()?;
        let eos = tokenizer.id(house::SPECIAL_TOKENS[1]).expect("a special token");
        let stream = GymStream::new(mixture, 3, &tokenizer, &template, eos)?;
        // The right answers, from a stream of answers alone: its exercises are the same.
        let answers =
            GymMixture { solutions: Solutions { answers: 1, ..Solutions::default() }, ..stream.mixture.clone() };
        let plain = GymStream::new(answers, 3, &tokenizer, &template, eos)?;
        let mut found = [0; 4];
        for index in 0..250 {
            let said = |stream: &GymStream| -> Result<String, Error> {
                let example = stream.example(index)?;
                Ok(tokenizer.decode(&example.tokens[example.loss_from..example.tokens.len() - 1])?)
            };
            let (text, answer) = (said(&stream)?, said(&plain)?);
            let kind = if text.contains("</think>") { 1 } else { usize::from(text.contains('\n')) * 2 };
            found[kind] += 1;
            found[3] += usize::from(!text.ends_with(answer.trim()));
        }
        Ok(found)
    }

    #[test]
    fn what_is_read_is_mixed_as_the_weights_say() -> Result<(), Error> {
        // Four standard deviations of a share of 250 are 13 points at most.
        let near = |found: usize, expected: usize| found.abs_diff(expected) < 32;
        let [bare, thought, open, wrong] = kinds(mixture(r#"{"worked":2,"careless":1,"answers":2}"#, 0.25))?;
        assert!(
            near(bare, 100) && near(thought, 37) && near(open, 113) && near(wrong, 50),
            "{bare} {thought} {open} {wrong}"
        );
        assert_eq!(kinds(mixture(r#"{"worked":1}"#, 1.0))?, [0, 250, 0, 0]);
        assert_eq!(kinds(mixture(r#"{"answers":1}"#, 1.0))?, [250, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn mixtures_of_nothing_are_refused_by_name() {
        let tokenizer = tokenizer();
        let template =
            house::folder("{}".into(), &tokenizer, true).and_then(|files| files.template()).expect("template");
        for (mixture, field) in
            [(mixture("{}", 1.0), "gym.solutions"), (mixture(r#"{"worked":1}"#, 1.5), "gym.thinking")]
        {
            let refused = GymStream::new(mixture, 3, &tokenizer, &template, 0).err().map(|error| error.to_string());
            assert!(refused.as_ref().is_some_and(|error| error.contains(field)), "{refused:?}");
        }
    }
}
