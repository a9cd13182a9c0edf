//! Multiple choice by likelihood: which of the options a model finds likeliest after the question.
//!
//! Definitions are lm-evaluation-harness's (`lm_eval/api/task.py`, `lm_eval/api/model.py`): the log-likelihood of an option
//! is the sum of log p over its tokens after the context; `acc` takes the largest, `acc_norm` the largest per character of
//! the option; the first of equal ones wins. All options of a question, and many questions, go to the model in one call.
//! A figure depends on the model and its own question alone, however many are asked together.

mod encode;
mod samples;
mod store;

#[cfg(test)]
mod tests;

pub use encode::{Pair, encode_pair};
pub use samples::samples;
pub use store::{FILE, Identity, read};

use crate::Error;
use crate::definition::ChoiceMetric;
use crate::items::{Choices, Item};
use retort_datagen::problem::Problem;
use retort_model::generate::JobError;
use retort_model::observe::Observer;
use retort_model::score::{Branches, Given, Rows, Score, Want};
use retort_model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use store::Store;

/// Questions whose results become durable together.
pub const BATCH: usize = 64;

/// What a model made of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The place of the question in its benchmark.
    pub place: usize,
    #[serde(flatten)]
    pub problem: Problem,
    pub choices: Vec<String>,
    /// The place of the right one.
    pub gold: usize,
    /// Natural logarithms, one for each choice.
    pub log_likelihoods: Vec<f32>,
    /// Whether the model, always taking its likeliest token, would have written the choice.
    pub greedy: Vec<bool>,
    pub context_tokens: usize,
    /// Tokens of each choice.
    pub choice_tokens: Vec<usize>,
}

impl Answer {
    /// The place of the choice that the model is taken to make.
    pub fn chosen(&self, metric: ChoiceMetric) -> usize {
        let score = |(text, &sum): (&String, &f32)| match metric {
            ChoiceMetric::Acc => f64::from(sum),
            ChoiceMetric::AccNorm => f64::from(sum) / text.chars().count() as f64,
        };
        let scores = self.choices.iter().zip(&self.log_likelihoods).map(score);
        let best = scores.enumerate().fold(
            (0, f64::NEG_INFINITY),
            |best, (place, score)| {
                if score > best.1 { (place, score) } else { best }
            },
        );
        best.0
    }

    pub fn is_right(&self, metric: ChoiceMetric) -> bool {
        self.chosen(metric) == self.gold
    }
}

/// A model with the tokenizer that it is asked through.
pub struct Asked<'a> {
    pub model: &'a dyn Score,
    pub tokenizer: &'a Tokenizer,
    /// Put before every context.
    pub bos: Option<u32>,
    /// Between a context and a choice.
    pub delimiter: &'a str,
}

/// Asks the model about every question that the folder `dir` holds no answer to yet, `batch` at a time, and gives back
/// all answers, in the order of the questions; `None` where the observer stopped it. The same call continues.
pub fn run(
    asked: &Asked<'_>,
    items: &[Item],
    identity: &Identity,
    dir: &Path,
    batch: usize,
    observer: &dyn Observer,
) -> Result<Option<Vec<Answer>>, Error> {
    let mut store = Store::open(dir, identity)?;
    if !store.answers().is_empty() {
        observer.remark(&format!("{} of {} answers are stored already", store.answers().len(), items.len()));
    }
    observer.started("questions", Some(items.len() as u64), "questions");
    let places: Vec<usize> = (store.answers().len()..items.len()).collect();
    for places in places.chunks(batch.max(1)) {
        if observer.cancelled() {
            return Ok(None);
        }
        store.append(asked.answer(items, places)?)?;
        observer.advanced(store.answers().len() as u64, "");
    }
    observer.finished(&format!("{} questions", items.len()));
    Ok(Some(store.into_answers()))
}

/// What is asked about one question.
struct Query<'i> {
    place: usize,
    item: &'i Item,
    choices: &'i Choices,
    pairs: Vec<Pair>,
}

impl Query<'_> {
    /// Whether one row of logits, that after the context, tells of every choice.
    fn is_one_row(&self) -> bool {
        let first = &self.pairs[0].context;
        self.pairs.iter().all(|pair| pair.continuation.len() == 1 && pair.context == *first)
    }

    /// The contexts, each with the choices that follow it, in their order.
    fn branches(&self) -> Vec<Behind<'_>> {
        let alike = self.pairs.chunk_by(|one, other| one.context == other.context);
        alike
            .map(|pairs| (pairs[0].context.as_slice(), pairs.iter().map(|pair| pair.continuation.as_slice()).collect()))
            .collect()
    }
}

/// A context and the choices behind it.
type Behind<'q> = (&'q [u32], Vec<&'q [u32]>);

/// Log-likelihood, and whether every token was the likeliest.
type Figure = (f64, bool);

impl Asked<'_> {
    fn answer(&self, items: &[Item], places: &[usize]) -> Result<Vec<Answer>, Error> {
        let queries = places.iter().map(|&place| self.query(&items[place], place)).collect::<Result<Vec<_>, _>>()?;
        let (one_row, several): (Vec<&Query<'_>>, Vec<&Query<'_>>) =
            queries.iter().partition(|query| query.is_one_row() && self.model.offer().full);
        let mut answers = self.by_one_row(&one_row)?;
        answers.extend(self.by_tokens(&several)?);
        answers.sort_by_key(|answer| answer.place);
        Ok(answers)
    }

    fn query<'i>(&self, item: &'i Item, place: usize) -> Result<Query<'i>, Error> {
        let Some(choices) = &item.choices else {
            return Err(Error::NoChoices { benchmark: item.problem.source.clone() });
        };
        let pair = |choice: &String| {
            let continuation = format!("{}{choice}", self.delimiter);
            let pair = encode_pair(self.tokenizer, self.bos, &item.problem.problem, &continuation)?;
            pair.fitting(self.model.context()).ok_or_else(|| Error::ChoiceTooLong {
                benchmark: item.problem.source.clone(),
                context: self.model.context(),
            })
        };
        Ok(Query { place, item, choices, pairs: choices.texts.iter().map(pair).collect::<Result<_, Error>>()? })
    }

    /// Questions whose choices are one token each: the context is read once.
    fn by_one_row(&self, queries: &[&Query<'_>]) -> Result<Vec<Answer>, Error> {
        let given = |query: &&Query<'_>| (query.pairs[0].context.clone(), query.pairs[0].continuation.clone());
        let sequences: Vec<(Vec<u32>, Vec<u32>)> = queries.iter().map(given).collect();
        let mut figures: Vec<Vec<Figure>> = vec![vec![]; queries.len()];
        self.score(&sequences, Want::Full, &mut |sequence, rows| {
            let Rows::Full(logits_nv) = rows else { return Ok(()) };
            for row in logits_nv.to_vec2::<f32>()? {
                let tokens = queries[sequence].pairs.iter().map(|pair| pair.continuation[0]);
                figures[sequence] = tokens.map(|token| figure(&row, token)).collect();
            }
            Ok(())
        })?;
        Ok(queries.iter().zip(figures).map(|(query, figures)| query.answered(&figures)).collect())
    }

    fn by_tokens(&self, queries: &[&Query<'_>]) -> Result<Vec<Answer>, Error> {
        if queries.is_empty() {
            return Ok(vec![]);
        }
        // Choices behind the same context are read behind one reading of it.
        let texts: Vec<Behind<'_>> = queries.iter().flat_map(|query| query.branches()).collect();
        let branches: Vec<Branches<'_>> = texts.iter().map(|(prompt, texts)| Branches { prompt, texts }).collect();
        let choices = queries.iter().map(|query| query.pairs.len()).sum();
        let mut figures: Vec<Figure> = vec![(0.0, true); choices];
        self.model.score_branches(&branches, Want::TopK(1), &mut |chunk| {
            let Rows::TopK(rows) = chunk.rows else { return Ok(()) };
            let (sum, greedy) = &mut figures[chunk.sequence];
            *sum += rows.sampled.iter().map(|&logprob| f64::from(logprob)).sum::<f64>();
            // The token that came is the likeliest where it is as likely as the likeliest.
            *greedy &= rows.sampled.iter().zip(&rows.logprobs).all(|(came, likeliest)| came >= likeliest);
            Ok(())
        })?;
        let mut figures = figures.as_slice();
        let answered = |query: &&Query<'_>| {
            let (own, rest) = figures.split_at(query.pairs.len());
            figures = rest;
            query.answered(own)
        };
        Ok(queries.iter().map(answered).collect())
    }

    fn score(
        &self,
        sequences: &[(Vec<u32>, Vec<u32>)],
        want: Want,
        take: &mut dyn FnMut(usize, Rows) -> Result<(), JobError>,
    ) -> Result<(), Error> {
        if sequences.is_empty() {
            return Ok(());
        }
        let given: Vec<Given<'_>> = sequences.iter().map(|(prompt, text)| Given { prompt, text }).collect();
        Ok(self.model.score(&given, want, &mut |chunk| take(chunk.sequence, chunk.rows))?)
    }
}

/// log softmax of a row at one token, and whether no other has more.
fn figure(logits_v: &[f32], token: u32) -> Figure {
    let most = logits_v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits_v.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    let logit = logits_v[token as usize];
    (f64::from(logit - most) - sum.ln(), logit >= most)
}

impl Query<'_> {
    fn answered(&self, figures: &[Figure]) -> Answer {
        Answer {
            place: self.place,
            problem: self.item.problem.clone(),
            choices: self.choices.texts.clone(),
            gold: self.choices.gold,
            // JSON has no infinity; what is impossible is as unlikely as can be.
            log_likelihoods: figures.iter().map(|(sum, _)| sum.max(f64::from(f32::MIN)) as f32).collect(),
            greedy: figures.iter().map(|(_, greedy)| *greedy).collect(),
            context_tokens: self.pairs[0].context.len(),
            choice_tokens: self.pairs.iter().map(|pair| pair.continuation.len()).collect(),
        }
    }
}
