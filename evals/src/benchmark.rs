//! A benchmark: a name, problems with gold answers, and how to sample them by default.
//!
//! Two runs are of the same benchmark when the fingerprints agree; the fingerprint covers content, not the name.

use crate::Error;
use retort_datagen::problem::Problem;
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Problems and the settings to run them with.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    name: String,
    problems: Vec<Problem>,
    samples_per_problem: u32,
    sampling: Sampling,
}

/// What a report says about the benchmark behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkCard {
    pub name: String,
    pub problems: usize,
    pub samples_per_problem: u32,
    pub sampling: Sampling,
    /// blake3 over problems and settings, in hexadecimal.
    pub fingerprint: String,
}

impl Benchmark {
    /// Checks and builds a benchmark: at least one problem, none twice, settings within their ranges.
    pub fn new(
        name: impl Into<String>,
        problems: Vec<Problem>,
        samples_per_problem: u32,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let name = name.into();
        if problems.is_empty() {
            return Err(Error::EmptyBenchmark { name });
        }
        let mut seen = BTreeSet::new();
        if let Some(again) = problems.iter().find(|problem| !seen.insert(problem.uuid.as_str())) {
            return Err(Error::DuplicateProblem { name, uuid: again.uuid.clone() });
        }
        let none = (samples_per_problem == 0).then(|| ("n", "0".to_string(), "at least 1"));
        if let Some((setting, found, expected)) = none.or_else(|| sampling.fault()) {
            return Err(Error::BadSetting { name, setting, found, expected });
        }
        Ok(Self { name, problems, samples_per_problem, sampling })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub fn samples_per_problem(&self) -> u32 {
        self.samples_per_problem
    }

    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// blake3 over the problems in order, their labels, and the settings, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("retort benchmark v1");
        for problem in &self.problems {
            for part in [&problem.uuid, &problem.problem, &problem.answer, &problem.domain, &problem.difficulty] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
        }
        hasher
            .update(&self.samples_per_problem.to_le_bytes())
            .update(&self.sampling.temperature.to_le_bytes())
            .update(&self.sampling.top_p.to_le_bytes())
            .update(&(self.sampling.max_tokens as u64).to_le_bytes());
        let set = further_settings(&self.sampling);
        if !set.is_empty() {
            hasher.update(set.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    pub fn card(&self) -> BenchmarkCard {
        BenchmarkCard {
            name: self.name.clone(),
            problems: self.problems.len(),
            samples_per_problem: self.samples_per_problem,
            sampling: self.sampling.clone(),
            fingerprint: self.fingerprint(),
        }
    }
}

/// The settings that a record names only where they were set, as a record names them; empty for none.
fn further_settings(sampling: &Sampling) -> String {
    let mut set = serde_json::to_value(sampling).unwrap_or_default();
    let Some(named) = set.as_object_mut() else { return String::new() };
    named.retain(|name, _| !["temperature", "top_p", "max_tokens"].contains(&name.as_str()));
    if named.is_empty() { String::new() } else { set.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(question: &str) -> Problem {
        Problem::new(question.into(), "4".into(), "test", "sums", "1")
    }

    fn benchmark(questions: &[&str], n: u32, sampling: Sampling) -> Result<Benchmark, Error> {
        Benchmark::new("sums", questions.iter().map(|question| problem(question)).collect(), n, sampling)
    }

    #[test]
    fn the_fingerprint_covers_every_part_of_the_content_and_not_the_name() {
        let sampling = Sampling::default();
        let original = benchmark(&["2 + 2", "1 + 3"], 4, sampling.clone()).unwrap();
        let renamed = Benchmark::new("other", original.problems.clone(), 4, sampling.clone()).unwrap();
        assert_eq!(original.fingerprint(), renamed.fingerprint());
        let mut relabelled = original.clone();
        relabelled.problems[0].difficulty = "2".into();
        let others = [
            benchmark(&["2 + 2"], 4, sampling.clone()).unwrap(),
            benchmark(&["1 + 3", "2 + 2"], 4, sampling.clone()).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 5, sampling.clone()).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 4, Sampling { temperature: 0.7, ..sampling.clone() }).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 4, Sampling { top_p: 0.9, ..sampling.clone() }).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 4, Sampling { max_tokens: 9, ..sampling.clone() }).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 4, Sampling { top_k: Some(9), ..sampling.clone() }).unwrap(),
            benchmark(&["2 + 2", "1 + 3"], 4, Sampling { top_k: Some(8), ..sampling.clone() }).unwrap(),
            relabelled,
        ];
        assert!(others.iter().all(|other| other.fingerprint() != original.fingerprint()));
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let sampling = Sampling::default();
        assert!(matches!(benchmark(&[], 1, sampling.clone()), Err(Error::EmptyBenchmark { .. })));
        assert!(matches!(benchmark(&["a", "b", "a"], 1, sampling.clone()), Err(Error::DuplicateProblem { .. })));
        for (n, sampling, setting) in [
            (0, sampling.clone(), "n"),
            (1, Sampling { temperature: f64::NAN, ..sampling.clone() }, "temperature"),
            (1, Sampling { top_p: 0.0, ..sampling.clone() }, "top_p"),
            (1, Sampling { max_tokens: 0, ..sampling.clone() }, "max_tokens"),
        ] {
            let refused = benchmark(&["a"], n, sampling).unwrap_err();
            assert!(refused.to_string().contains(setting), "{refused}");
        }
    }
}
