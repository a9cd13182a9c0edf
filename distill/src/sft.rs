//! Supervised fine-tuning on traces: kept rows become examples whose loss covers the completion alone.

use crate::Error;
use crate::chat::Chat;
use crate::data::Example;
use crate::translation::Translator;
use retort_datagen::sample::Sample;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a student learns from a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Reasoning and answer: distillation.
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
    /// Kept rows that are longer than the student's context.
    pub too_long: usize,
    pub examples: usize,
    /// Tokens that carry loss.
    pub target_tokens: usize,
    pub tokens: usize,
}

/// Training examples from the kept rows of a dataset, the same rows in the same order for every target.
///
/// Text is tokenised with the student's own tokenizer and template, and brought into a teacher's tokens by `translator`.
/// `context` is the student's context length.
pub fn examples(
    samples: &[Sample],
    target: Target,
    chat: &Chat,
    translator: Option<&Translator>,
    context: usize,
    dataset: &Path,
) -> Result<(Vec<Example>, Audit), Error> {
    let mut audit = Audit { rows: samples.len(), ..Audit::default() };
    let mut examples = Vec::new();
    for sample in samples {
        if !sample.kept {
            audit.not_kept += 1;
            continue;
        }
        let trace = chat.example(&sample.problem, &sample.reasoning, &sample.response)?;
        if trace.tokens.len() > context {
            audit.too_long += 1;
            continue;
        }
        let example = match target {
            Target::Trace => trace,
            Target::Answer => chat.example(&sample.problem, "", &sample.response)?,
        };
        audit.tokens += example.tokens.len();
        audit.target_tokens += example.targets();
        examples.push(match translator {
            Some(translator) => translator.translate(&sample.problem, example)?,
            None => example,
        });
    }
    audit.examples = examples.len();
    if examples.is_empty() {
        let reason =
            format!("{} rows, {} not kept, {} longer than the context", audit.rows, audit.not_kept, audit.too_long);
        return Err(Error::NoTraces { path: dataset.into(), reason });
    }
    Ok((examples, audit))
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
