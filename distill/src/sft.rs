//! Supervised fine-tuning on traces: kept rows become examples whose loss covers the completion alone.

use crate::Error;
use crate::chat::Chat;
use crate::data::{Captured, Example};
use crate::translation::Translator;
use retort_datagen::sample::Sample;
use retort_kernels::losses::SparseRows;
use retort_model::capture::Targets;
use retort_model::chat::{THINK, Thought, split_thinking};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What a student learns from a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Reasoning and answer: distillation.
    #[default]
    Trace,
    /// The answer alone: what a control learns from the same problems.
    Answer,
}

/// What became of the rows of a dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub rows: usize,
    /// Rows that the dataset itself marks as dropped.
    pub not_kept: usize,
    /// Kept rows that are longer than the student's context, and their tokens. None is cut to fit.
    pub too_long: usize,
    pub too_long_tokens: usize,
    /// Kept rows whose token ids are another text in the student's vocabulary.
    pub other_tokens: usize,
    /// Kept rows with tokens that were forced, not drawn, which cannot be told from the others in the student's tokens.
    pub forced: usize,
    /// Kept rows that were written after another prompt than the student's template renders.
    pub other_prompt: usize,
    pub examples: usize,
    /// Tokens that carry loss.
    pub target_tokens: usize,
    pub tokens: usize,
    /// Tokens of the longest example.
    pub longest: usize,
}

/// How rows become examples.
pub struct Reading<'a> {
    pub target: Target,
    /// The student's own tokenizer and template.
    pub chat: Chat<'a>,
    /// Brings examples into the tokens of a teacher that has others.
    pub translator: Option<&'a Translator<'a>>,
    /// Whether traces that were written in other tokens than the student's may be learnt from as text.
    pub retokenise: bool,
    /// The opening of a thinking block, where a teacher that is asked has it in its prompt and the student has not.
    pub opening: &'a [u32],
    /// Whether the targets that were captured with the traces are learnt from: then tokens are those that were written.
    pub captured: bool,
    /// The longest example that the student, and a teacher with the same tokens, can read.
    pub context: usize,
}

/// Of so many rows one may fail to decode to its text before the tokens count as another vocabulary's.
const ONE_IN: usize = 100;

impl Reading<'_> {
    /// Training examples from the kept rows of `dataset`, the same rows in the same order for every target.
    pub fn examples(&self, samples: &[Sample], dataset: &Path) -> Result<(Vec<Example>, Audit), Error> {
        let mut audit = Audit { rows: samples.len(), ..Audit::default() };
        let mut examples = Vec::new();
        for sample in samples {
            if !sample.kept {
                audit.not_kept += 1;
                continue;
            }
            let mut trace = self.chat.example(&sample.problem, &sample.reasoning, &sample.response)?;
            if let Some(targets) = sample.targets.as_ref().filter(|_| self.captured) {
                let opener = self.missing_opener(sample)?;
                trace.tokens.truncate(trace.loss_from);
                trace.tokens.extend(opener.iter().chain(&sample.token_ids));
                trace.captured = Some(Arc::new(captured(targets, opener.len())));
                trace.opening = opener.len();
            } else if trace.tokens[trace.loss_from..].starts_with(self.opening) {
                trace.opening = self.opening.len();
            }
            audit.other_tokens += usize::from(!self.reads_as_written(sample)?);
            let prompt = &sample.prompt_token_ids;
            audit.other_prompt += usize::from(!prompt.is_empty() && prompt[..] != trace.tokens[..trace.loss_from]);
            if trace.tokens.len() > self.context {
                audit.too_long += 1;
                audit.too_long_tokens += trace.tokens.len();
                continue;
            }
            let example = match self.target {
                Target::Trace => match forced_places(sample, &trace) {
                    Some(given) => Example { given, ..trace },
                    None => {
                        audit.forced += 1;
                        continue;
                    }
                },
                Target::Answer => self.chat.example(&sample.problem, "", &sample.response)?,
            };
            audit.tokens += example.tokens.len();
            audit.target_tokens += example.targets();
            audit.longest = audit.longest.max(example.tokens.len());
            examples.push(match self.translator {
                Some(translator) => translator.translate(&sample.problem, example)?,
                None => example,
            });
        }
        audit.examples = examples.len();
        let kept = audit.rows - audit.not_kept;
        if !self.retokenise && audit.other_tokens * ONE_IN > kept {
            return Err(Error::OtherTokens { path: dataset.into(), rows: audit.other_tokens, of: kept });
        }
        if examples.is_empty() {
            let reason = format!(
                "{} rows, {} not kept, {} longer than the context, {} with forced tokens",
                audit.rows, audit.not_kept, audit.too_long, audit.forced
            );
            return Err(Error::NoTraces { path: dataset.into(), reason });
        }
        Ok((examples, audit))
    }

    /// The tokens that open a thinking block which the teacher's prompt opened and the student's does not.
    fn missing_opener(&self, sample: &Sample) -> Result<Vec<u32>, Error> {
        let text = self.chat.tokenizer.decode(&sample.token_ids)?;
        if self.chat.opens(&sample.problem)? || sample.reasoning.is_empty() || text.trim_start().starts_with(THINK.0) {
            return Ok(vec![]);
        }
        self.chat.opening()
    }

    /// Whether the tokens that the teacher wrote are the row's text in the student's vocabulary too.
    fn reads_as_written(&self, sample: &Sample) -> Result<bool, Error> {
        let ended = usize::from(sample.finish_reason == "stop" && !sample.token_ids.is_empty());
        let written = &sample.token_ids[..sample.token_ids.len() - ended];
        let text = self.chat.tokenizer.decode(written)?;
        let same = |thought: Thought| thought.reasoning == sample.reasoning && thought.response == sample.response;
        // The tokens of a stop string are no part of the text.
        let untold = sample.token_ids.is_empty() || sample.finish_reason == "stop_string";
        Ok(untold || same(split_thinking(&text, false)) || same(split_thinking(&text, true)))
    }
}

/// Where in a trace the tokens stand that were forced; `None` where its tokens are not those that were written.
fn forced_places(sample: &Sample, trace: &Example) -> Option<Vec<usize>> {
    if sample.forced.is_empty() {
        return Some(vec![]);
    }
    let completion = trace.tokens.get(trace.loss_from..)?;
    // A student's template may open the thinking block where the teacher's prompt did.
    let before =
        (0..completion.len()).take(MOST_OPENING).find(|&at| completion[at..].starts_with(&sample.token_ids))?;
    Some(sample.forced.iter().map(|place| trace.loss_from + before + *place as usize).collect())
}

/// No opening of a thinking block has more tokens.
const MOST_OPENING: usize = 8;

/// A trace's captured targets, row by row, behind `before` tokens of which nothing was captured.
fn captured(targets: &Targets, before: usize) -> Captured {
    let ends = targets.widths.iter().scan(0, |end, &width| {
        *end += width as usize;
        Some(*end)
    });
    let offsets = std::iter::repeat_n(0, before + 1).chain(ends).collect();
    let rows = SparseRows { offsets, ids: targets.ids.clone(), log_probs: targets.logprobs.clone() };
    Captured { rows, counts: (!targets.counts.is_empty()).then(|| targets.counts.clone()) }
}

/// Splits off a share of the problems for validation; all samples of a problem go to the same side.
///
/// With a share above 0 at least one problem with a kept sample is split off, if there are two.
pub fn split(samples: Vec<Sample>, share: f64) -> (Vec<Sample>, Vec<Sample>) {
    let place = |sample: &Sample| {
        let hash = blake3::derive_key("retort validation split v1", sample.uuid.as_bytes());
        f64::from(u16::from_le_bytes([hash[0], hash[1]])) / 65536.0
    };
    let mut places: Vec<f64> = samples.iter().filter(|sample| sample.kept).map(place).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let lowest = match places[..] {
        [lowest, _, ..] if share > 0.0 => lowest,
        _ => f64::NEG_INFINITY,
    };
    samples.into_iter().partition(|sample| place(sample) >= share && place(sample) > lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forced_tokens_are_found_behind_an_opening_or_not_at_all() {
        let document = serde_json::json!({
            "run_id": "r", "uuid": "u", "sample": 0, "problem": "q", "answer": "1", "source": "", "domain": "",
            "difficulty": "", "messages": [], "reasoning": "", "response": "", "finish_reason": "stop",
            "verdict": "right", "verdict_reason": "", "kept": true, "drop_reason": "", "prompt_tokens": 1,
            "completion_tokens": 4, "generator": "m", "seed": 0, "prompt_token_ids": [], "token_ids": [7, 8, 9, 2],
            "forced": [1, 2],
        });
        let mut sample: Sample = serde_json::from_value(document).expect("a sample");
        let places = |sample: &Sample, tokens: &[u32]| forced_places(sample, &Example::new(tokens.to_vec(), 2));
        assert_eq!(places(&sample, &[1, 1, 7, 8, 9, 2]), Some(vec![3, 4]));
        assert_eq!(places(&sample, &[1, 1, 5, 7, 8, 9, 2]), Some(vec![4, 5]));
        assert_eq!(places(&sample, &[1, 1, 7, 8, 3, 2]), None);
        sample.forced.clear();
        assert_eq!(places(&sample, &[1, 1, 3]), Some(vec![]));
    }
}
