//! Figures that a benchmark defines beside pass@1: lm-evaluation-harness's `exact_match` by filter, `acc` and `acc_norm`.
//!
//! As there, `exact_match` looks at what was written, however it ended: a sample that the token limit cut off after its
//! answer counts here, while its verdict is `truncated`.

use crate::Error;
use crate::definition::{ChoiceMetric, Filter};
use crate::likelihood::Answer;
use crate::statistics::mean_and_error;
use retort_datagen::sample::Sample;
use retort_datagen::verify::ExactMatch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean over questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `exact_match`.
    pub metric: String,
    /// Such as `strict-match`; `none` where answers are not filtered.
    pub filter: String,
    pub value: f64,
    /// Standard error over questions; `None` for a single one.
    pub standard_error: Option<f64>,
}

impl Metric {
    fn over(metric: &str, filter: &str, scores: &[f64]) -> Self {
        let (value, standard_error) = mean_and_error(scores);
        Self { metric: metric.into(), filter: filter.into(), value, standard_error }
    }
}

/// What a filter found in a problem's samples, in their order, and the share that is the gold.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// What lm-evaluation-harness calls `filtered_resps`.
    pub found: Vec<String>,
    pub score: f64,
}

/// What stands in for an answer that was not found.
pub const INVALID: &str = "[invalid]";

/// `exact_match` on each problem, by uuid.
pub fn exact_match(filter: &Filter, samples: &[Sample]) -> Result<BTreeMap<String, Matched>, Error> {
    let matcher: ExactMatch = filter.filtered().compile().map_err(|error| Error::BadDefinition {
        origin: filter.name.clone(),
        field: "generation.filters".into(),
        reason: error.to_string(),
    })?;
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by_key(|sample| (&sample.uuid, sample.sample));
    let matched = |samples: &[&Sample]| {
        let found: Vec<String> =
            samples.iter().map(|sample| matcher.find(&sample.response).unwrap_or(INVALID).to_owned()).collect();
        let right = samples.iter().zip(&found).filter(|(sample, found)| matcher.is_same(&sample.answer, found)).count();
        (samples[0].uuid.clone(), Matched { score: right as f64 / found.len() as f64, found })
    };
    Ok(sorted.chunk_by(|a, b| a.uuid == b.uuid).map(matched).collect())
}

/// `exact_match` by each of the filters.
pub fn by_filter(filters: &[Filter], samples: &[Sample]) -> Result<Vec<Metric>, Error> {
    let metric = |filter: &Filter| {
        let scores: Vec<f64> = exact_match(filter, samples)?.into_values().map(|matched| matched.score).collect();
        Ok(Metric::over("exact_match", &filter.name, &scores))
    };
    filters.iter().map(metric).collect()
}

/// `acc` and `acc_norm`, as far as they are asked for.
pub fn by_choice(metrics: &[ChoiceMetric], answers: &[Answer]) -> Vec<Metric> {
    let metric = |metric: &ChoiceMetric| {
        let score = |answer: &Answer| f64::from(u8::from(answer.is_right(*metric)));
        Metric::over(metric.as_str(), "none", &answers.iter().map(score).collect::<Vec<_>>())
    };
    metrics.iter().map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(uuid: &str, number: u32, gold: &str, response: &str) -> Sample {
        let document = serde_json::json!({
            "run_id": "r", "uuid": uuid, "sample": number, "problem": "q", "answer": gold, "source": "", "domain": "",
            "difficulty": "", "messages": [], "reasoning": "", "response": response, "finish_reason": "length",
            "verdict": "truncated", "verdict_reason": "", "kept": false, "drop_reason": "", "prompt_tokens": 1,
            "completion_tokens": 1, "generator": "m", "seed": 0, "prompt_token_ids": [], "token_ids": [],
        });
        serde_json::from_value(document).expect("a sample")
    }

    #[test]
    fn exact_match_is_the_mean_over_problems_of_what_the_filter_finds() -> Result<(), Error> {
        let filter = Filter {
            name: "strict".into(),
            pattern: "#### ([0-9]+)".into(),
            select: 0,
            ignore: vec!["(?s).*#### ".into()],
            ignore_case: false,
            ignore_punctuation: false,
        };
        let samples = [
            sample("b", 0, "so\n#### 7", "#### 8, no, #### 7"),
            sample("a", 1, "#### 12", "12"),
            sample("a", 0, "#### 12", "is\n#### 12 and so on without an end"),
        ];
        let matched = exact_match(&filter, &samples)?;
        assert_eq!(matched["a"], Matched { found: vec!["12".into(), INVALID.into()], score: 0.5 });
        assert_eq!(matched["b"], Matched { found: vec!["8".into()], score: 0.0 });
        let metrics = by_filter(&[filter], &samples)?;
        assert_eq!((metrics[0].value, metrics[0].standard_error), (0.25, Some(0.25)));
        Ok(())
    }
}
