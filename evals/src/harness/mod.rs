//! A run's results in the files of lm-evaluation-harness, for what reads those: `results_TIME.json` and
//! `samples_TASK_TIME.jsonl` in a folder named after the model (`lm_eval/loggers/evaluation_tracker.py`).

mod samples;

#[cfg(test)]
mod tests;

use crate::definition::{Definition, PromptKind};
use crate::items::Items;
use crate::likelihood::Answer;
use crate::metrics::{Metric, by_choice, by_filter};
use crate::score::Scored;
use crate::{Error, tries::Tries};
use retort_datagen::sample::Sample;
use retort_model::checkpoint::write_bytes;
use retort_model::sampling::Sampling;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A run of a benchmark that has ended.
pub struct Finished<'a> {
    pub definition: &'a Definition,
    pub items: &'a Items,
    pub outcome: Outcome<'a>,
    /// The model's name and fingerprint.
    pub model: (&'a str, &'a str),
    /// The most questions that were asked for.
    pub limit: Option<usize>,
    pub seed: u64,
    /// Wall-clock time of the run.
    pub seconds: f64,
    /// Seconds since 1970, UTC: they name the files.
    pub ended: f64,
}

/// What came of it.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    Written { samples: &'a [Sample], scored: &'a Scored, sampling: &'a Sampling, repeats: u32 },
    Chosen(&'a [Answer]),
}

impl Finished<'_> {
    /// Writes both files and gives back their paths, that of the results first.
    pub fn write(&self, dir: &Path) -> Result<[PathBuf; 2], Error> {
        let folder = dir.join(sanitised(self.model.0));
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io {
            action: "created",
            path: folder.clone(),
            source,
        })?;
        let time = time(self.ended);
        let lines = self.lines()?;
        let results = folder.join(format!("results_{time}.json"));
        let samples = folder.join(format!("samples_{}_{time}.jsonl", self.definition.name));
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        write_bytes(&samples, text.as_bytes())?;
        let document = serde_json::to_string_pretty(&self.results(&lines)?).map_err(Error::Unserialisable)?;
        write_bytes(&results, document.as_bytes())?;
        Ok([results, samples])
    }

    fn metrics(&self) -> Result<Vec<Metric>, Error> {
        Ok(match (self.outcome, &self.definition.generation, &self.definition.log_likelihood) {
            (Outcome::Chosen(answers), _, Some(scored)) => by_choice(&scored.metrics, answers),
            (Outcome::Written { samples, .. }, Some(generation), _) if !generation.filters.is_empty() => {
                by_filter(&generation.filters, samples)?
            }
            (Outcome::Written { scored, .. }, ..) => of_score(scored),
            (Outcome::Chosen(_), _, None) => vec![],
        })
    }

    fn results(&self, lines: &[Value]) -> Result<Value, Error> {
        let Self { definition, items, model: (name, fingerprint), limit, seed, seconds, ended, .. } = self;
        let task = definition.name.as_str();
        let of_task = |value: Value| -> Value { Map::from_iter([(task.to_owned(), value)]).into() };
        let metrics = self.metrics()?;
        let mut result =
            Map::from_iter([("alias".to_owned(), json!(task)), ("sample_len".into(), json!(items.items.len()))]);
        for Metric { metric, filter, value, standard_error } in &metrics {
            let error = standard_error.map_or_else(|| json!("N/A"), |error| json!(error));
            result.insert(format!("{metric},{filter}"), json!(value));
            result.insert(format!("{metric}_stderr,{filter}"), error);
        }
        let better: Map<String, Value> = metrics.iter().map(|metric| (metric.metric.clone(), json!(true))).collect();
        let shots = definition.shots.as_ref().map_or(0, |shots| shots.count);
        let hashes = lines.iter().flat_map(|line| ["doc_hash", "prompt_hash", "target_hash"].map(|hash| &line[hash]));
        let hashes: String = hashes.filter_map(Value::as_str).collect();
        Ok(json!({
            "results": of_task(result.into()),
            "group_subtasks": of_task(json!([])),
            "configs": of_task(self.config(&metrics)),
            "versions": of_task(json!(definition.version)),
            "n-shot": of_task(json!(shots)),
            "higher_is_better": of_task(better.into()),
            "n-samples": of_task(json!({ "original": items.available, "effective": items.items.len() })),
            "config": {
                "model": "retort",
                "model_args": { "pretrained": name },
                "model_sha": fingerprint,
                "batch_size": null,
                "limit": limit,
                "bootstrap_iters": 0,
                "gen_kwargs": self.generation_settings(),
                "random_seed": seed,
                "fewshot_seed": definition.shots.as_ref().and_then(|shots| shots.seed),
            },
            "git_hash": null,
            "date": ended,
            "task_hashes": of_task(json!(sha256(&hashes))),
            "model_source": "retort",
            "model_name": name,
            "model_name_sanitized": sanitised(name),
            "system_instruction": null,
            "fewshot_as_multiturn": false,
            "chat_template": null,
            "total_evaluation_time_seconds": seconds.to_string(),
            "retort": { "version": env!("CARGO_PKG_VERSION"), "definition": definition.blake3(), "data": items.data },
        }))
    }

    /// The task as its YAML file would describe it.
    fn config(&self, metrics: &[Metric]) -> Value {
        let Definition { name, data, question, shots, generation, version, .. } = self.definition;
        let repeats = if let Outcome::Written { repeats, .. } = self.outcome { repeats } else { 1 };
        json!({
            "task": name,
            "dataset_path": data.as_ref().map(|data| &data.hub),
            "dataset_name": data.as_ref().and_then(|data| data.config.as_ref()),
            "test_split": data.as_ref().map(|data| &data.split),
            "fewshot_split": shots.as_ref().map(|shots| &shots.split),
            "description": question.preface,
            "doc_to_text": question.text,
            "doc_to_target": question.gold,
            "target_delimiter": question.delimiter,
            "fewshot_delimiter": shots.as_ref().map_or("\n\n", |shots| &shots.separator),
            "num_fewshot": shots.as_ref().map_or(0, |shots| shots.count),
            "metric_list": metrics.iter().map(|metric| json!({ "metric": metric.metric })).collect::<Vec<_>>(),
            "output_type": if generation.is_some() { "generate_until" } else { "multiple_choice" },
            "generation_kwargs": self.generation_settings(),
            "repeats": repeats,
            "filter_list": generation.as_ref().map(|generation| &generation.filters),
            "metadata": {
                "version": version,
                "chat": generation.as_ref().is_some_and(|generation| generation.prompt == PromptKind::Chat),
            },
        })
    }

    fn generation_settings(&self) -> Value {
        let Outcome::Written { sampling, .. } = self.outcome else { return Value::Null };
        json!({
            "until": sampling.stop,
            "do_sample": sampling.temperature > 0.0,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_gen_toks": sampling.max_tokens,
        })
    }
}

/// Pass@1 and what several tries reach.
fn of_score(scored: &Scored) -> Vec<Metric> {
    let metric = |metric: String, value: f64, standard_error: Option<f64>| Metric {
        metric,
        filter: "none".into(),
        value,
        standard_error,
    };
    let first = metric("pass@1".into(), scored.score.pass_at_1, scored.score.standard_error);
    let several = scored.tries.iter().filter(|tries| tries.k > 1).flat_map(|Tries { k, pass, consensus, .. }| {
        [metric(format!("pass@{k}"), *pass, None), metric(format!("cons@{k}"), *consensus, None)]
    });
    [first].into_iter().chain(several).collect()
}

/// A model's name as part of a path: as `lm_eval` does it, runs of marks that paths give a meaning become `__`.
fn sanitised(name: &str) -> String {
    let mut clean = String::new();
    for sign in name.chars() {
        let marked = "\"<>:/|\\?*[]".contains(sign);
        match (marked, clean.ends_with("__")) {
            (true, true) => {}
            (true, false) => clean.push_str("__"),
            (false, _) => clean.push(sign),
        }
    }
    // A name of dots alone would lead elsewhere.
    if clean.trim_matches('.').is_empty() { "model".into() } else { clean }
}

/// ISO time (UTC) without colons.
fn time(seconds: f64) -> String {
    let microseconds = (seconds * 1e6) as i64;
    let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H-%M-%S%.6f").to_string()
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
