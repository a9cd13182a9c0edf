//! On-policy distillation (GKD, Agarwal et al., arXiv 2306.13649): the student writes, the teacher judges every token of it.
//!
//! A share of each step's examples are completions that the student draws itself, as its weights stand at that step; the
//! rest come from the dataset. The divergence is then taken on these sequences like on any other; what the student draws is
//! data, no gradient flows through the drawing (GKD, equation 3). With `reverse_kl` and all the teacher's outcomes this is
//! MiniLLM's single-step objective without its variance; with a teacher that tells only the probability of what was
//! written, `sampled_reverse_kl` estimates it. A step's draws follow from the seed, the step and the weights, so a resumed
//! run continues as the uninterrupted one would.

use crate::Error;
use crate::data::{Epochs, Example, Served, Stream};
use crate::flops::Written;
use crate::translation::Translator;
use crate::writing::written;
use retort_model::generate::{Generate, Message, Request};
use retort_model::observe::Silent;
use retort_model::sampling::{NoiseKey, Sampling};
use serde::{Deserialize, Serialize};

/// How the student's own completions come about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnPolicySettings {
    /// Share of a step's examples that the student writes itself; GKD's lambda.
    pub share: f64,
    /// Temperature 1 and no cut draws from the student's own distribution, which the estimates take for granted.
    pub sampling: Sampling,
}

impl OnPolicySettings {
    /// Refuses settings out of range.
    pub fn check(&self) -> Result<(), Error> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            let allowed = "above 0 and at most 1";
            return Err(Error::Setting { field: "on_policy.share", value: self.share.to_string(), allowed });
        }
        if self.sampling.thinking_budget.is_some() {
            let (value, allowed) = ("a number".into(), "unset: what it forces is not the student's");
            return Err(Error::Setting { field: "on_policy.sampling.thinking_budget", value, allowed });
        }
        match self.sampling.fault() {
            Some((_, value, allowed)) => Err(Error::Setting { field: "on_policy.sampling", value, allowed }),
            None => Ok(()),
        }
    }
}

/// Examples that the student writes while it is trained.
pub struct OnPolicy<'a> {
    settings: OnPolicySettings,
    /// The student.
    writer: &'a dyn Generate,
    /// Numbers of `questions` in the order of each epoch, as examples of one token.
    order: Epochs,
    questions: Vec<String>,
    dataset: Option<Epochs>,
    translator: Option<&'a Translator<'a>>,
    opening: Vec<u32>,
    seed: u64,
}

impl<'a> OnPolicy<'a> {
    /// `per_step` examples a step: completions of `questions` by `writer`, and for the rest examples of `dataset`.
    pub fn new(
        settings: OnPolicySettings,
        writer: &'a dyn Generate,
        questions: Vec<String>,
        dataset: Vec<Example>,
        per_step: usize,
        seed: u64,
        translator: Option<&'a Translator<'a>>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let own = ((per_step as f64 * settings.share).round() as usize).clamp(1, per_step.max(1));
        let numbers = (0..questions.len() as u32).map(|at| Example::new(vec![at], 0)).collect();
        let given = per_step.saturating_sub(own);
        let dataset = (given > 0).then(|| Epochs::new(dataset, given, seed));
        let (order, opening) = (Epochs::new(numbers, own, seed), vec![]);
        Ok(Self { settings, writer, order, questions, dataset, translator, opening, seed })
    }

    /// Lets the student write behind `opening`, the tokens that open a thinking block, where its own prompt has none and
    /// the teacher's has: the teacher has nothing to say of a turn that it would never have begun.
    pub fn opened(self, opening: Vec<u32>) -> Self {
        Self { opening, ..self }
    }
}

impl Stream for OnPolicy<'_> {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        let chosen = self.order.examples(step)?;
        let opened = (!self.opening.is_empty()).then(Message::opened_thinking);
        let questions: Vec<&str> = chosen.iter().map(|number| &*self.questions[number.tokens[0] as usize]).collect();
        let requests = questions.iter().enumerate().map(|(at, question)| Request {
            id: at as u64,
            messages: [Message::user(*question)].into_iter().chain(opened.clone()).collect(),
            sampling: self.settings.sampling.clone(),
            capture: None,
            noise: NoiseKey::new(self.seed, &format!("step {step}"), at as u32),
        });
        let written = written(self.writer, requests.collect(), &Silent)?;
        let (mut examples, mut lengths) = (Vec::with_capacity(questions.len()), Vec::new());
        for (question, completion) in questions.into_iter().zip(written) {
            // A prompt that fills the context has no completion.
            let Some(completion) = completion.filter(|completion| !completion.token_ids.is_empty()) else { continue };
            let prompt = completion.prompt_token_ids.len();
            lengths.push(Written { prompt, completion: completion.token_ids.len() });
            let opening = self.opening.len();
            let tokens = [completion.prompt_token_ids, completion.token_ids].concat();
            let example = Example { opening, ..Example::new(tokens, prompt.saturating_sub(opening)) };
            examples.push(match self.translator {
                Some(translator) => translator.translate(question, example)?,
                None => example,
            });
        }
        if let Some(dataset) = &self.dataset {
            examples.extend(dataset.examples(step)?);
        }
        if examples.is_empty() {
            return Err(Error::EmptyStep { step });
        }
        Ok(Served { examples, written: lengths })
    }

    fn fingerprint(&self) -> String {
        let settings = serde_json::to_string(&self.settings).unwrap_or_default();
        let dataset = self.dataset.as_ref().map(Stream::fingerprint).unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        let (seed, order, opening) = (self.seed, self.order.fingerprint(), &self.opening);
        hasher.update(format!("{settings} seed {seed} {order} {dataset} {opening:?}").as_bytes());
        for question in &self.questions {
            hasher.update(&(question.len() as u64).to_le_bytes()).update(question.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_string()
    }
}
