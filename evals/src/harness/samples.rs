//! One line for each question and filter, with what was asked, what came and what it is worth.

use super::{Finished, Outcome, sha256};
use crate::Error;
use crate::items::Item;
use crate::likelihood::Answer;
use crate::metrics::exact_match;
use retort_datagen::sample::{Sample, Verdict};
use retort_datagen::verify::extract_answer;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The scores of a line, by metric.
type Scores = Vec<(String, f64)>;

impl Finished<'_> {
    pub(super) fn lines(&self) -> Result<Vec<Value>, Error> {
        match self.outcome {
            Outcome::Chosen(answers) => Ok(self.chosen(answers)),
            Outcome::Written { samples, .. } => self.written(samples),
        }
    }

    fn chosen(&self, answers: &[Answer]) -> Vec<Value> {
        let metrics = self.definition.log_likelihood.iter().flat_map(|scored| &scored.metrics);
        let delimiter = &self.definition.question.delimiter;
        let line = |(item, answer): (&Item, &Answer)| {
            let arguments = answer.choices.iter().map(|choice| json!(format!("{delimiter}{choice}"))).collect();
            let told = |(sum, greedy): (&f32, &bool)| {
                // Texts, and as Python writes them.
                json!([format!("{sum:?}"), if *greedy { "True" } else { "False" }])
            };
            let told: Vec<Value> = answer.log_likelihoods.iter().zip(&answer.greedy).map(told).collect();
            let responses = told.iter().map(|told| json!([told])).collect();
            let scores = metrics.clone().map(|metric| {
                let right = answer.is_right(*metric);
                (metric.as_str().to_owned(), f64::from(u8::from(right)))
            });
            let line = Line {
                place: answer.place,
                item,
                context: &item.problem.problem,
                target: &answer.gold.to_string(),
                arguments,
                responses,
                found: told,
                filter: "none",
                scores: scores.collect(),
            };
            line.into_value()
        };
        self.items.items.iter().zip(answers).map(line).collect()
    }

    fn written(&self, samples: &[Sample]) -> Result<Vec<Value>, Error> {
        let mut by_problem: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            by_problem.entry(&sample.uuid).or_default().push(sample);
        }
        by_problem.values_mut().for_each(|samples| samples.sort_by_key(|sample| sample.sample));
        let asked = || {
            let items = self.items.items.iter().enumerate();
            items.filter_map(|(place, item)| Some((place, item, by_problem.get(item.problem.uuid.as_str())?)))
        };
        let put = |place: usize, item: &Item, samples: &[&Sample], found: Vec<Value>, filter: &str, scores: Scores| {
            let responses: Vec<&str> = samples.iter().map(|sample| sample.response.as_str()).collect();
            let suffix = self.definition.generation.as_ref().map_or("", |generation| generation.suffix.as_str());
            let context = match suffix {
                "" => item.problem.problem.clone(),
                suffix => format!("{}\n{suffix}", item.problem.problem),
            };
            let line = Line {
                place,
                item,
                context: &context,
                target: &item.problem.answer,
                arguments: vec![self.generation_settings()],
                responses: vec![json!(responses)],
                found,
                filter,
                scores,
            };
            line.into_value()
        };
        let filters = self.definition.generation.iter().flat_map(|generation| &generation.filters);
        let mut lines = Vec::new();
        for filter in filters {
            let mut matched = exact_match(filter, samples)?;
            for (place, item, samples) in asked() {
                let Some(matched) = matched.remove(&item.problem.uuid) else { continue };
                let found = matched.found.into_iter().map(Value::String).collect();
                let scores = vec![("exact_match".into(), matched.score)];
                lines.push(put(place, item, samples, found, &filter.name, scores));
            }
        }
        if lines.is_empty() {
            for (place, item, samples) in asked() {
                let found = samples.iter().map(|sample| json!(extract_answer(&sample.response).unwrap_or("[invalid]")));
                let right = samples.iter().filter(|sample| sample.verdict == Verdict::Right).count();
                let scores = vec![("pass@1".into(), right as f64 / samples.len() as f64)];
                lines.push(put(place, item, samples, found.collect(), "none", scores));
            }
        }
        Ok(lines)
    }
}

/// What a line holds beside its question.
struct Line<'a> {
    place: usize,
    item: &'a Item,
    context: &'a str,
    target: &'a str,
    /// What was asked for behind the context, one for each request.
    arguments: Vec<Value>,
    responses: Vec<Value>,
    found: Vec<Value>,
    filter: &'a str,
    scores: Scores,
}

impl Line<'_> {
    fn into_value(self) -> Value {
        let Self { place, item, context, target, arguments, responses, found, filter, scores } = self;
        let arguments = arguments.into_iter().enumerate();
        let arguments: Map<String, Value> = arguments
            .map(|(at, second)| (format!("gen_args_{at}"), json!({ "arg_0": context, "arg_1": second })))
            .collect();
        // As Python's `json.dumps(doc, indent=2, ensure_ascii=False)` writes it.
        let row = serde_json::to_string_pretty(&item.row).unwrap_or_default();
        let mut line = json!({
            "doc_id": place,
            "doc": item.row,
            "target": target,
            "arguments": arguments,
            "resps": responses,
            "filtered_resps": found,
            "filter": filter,
            "metrics": scores.iter().map(|(metric, _)| metric).collect::<Vec<_>>(),
            "doc_hash": sha256(&row),
            "prompt_hash": sha256(context),
            "target_hash": sha256(target),
        });
        if let Some(columns) = line.as_object_mut() {
            columns.extend(scores.into_iter().map(|(metric, score)| (metric, json!(score))));
        }
        line
    }
}
