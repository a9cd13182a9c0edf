//! A run as it lies on disk: answers that were written, in a trace dataset, or likelihoods of given ones.

use crate::likelihood;
use crate::report::Fact;
use crate::stems::Stems;
use crate::{Error, Role, compare};
use retort_datagen::sample::Sample;
use retort_datagen::store::{BenchmarkId, RunHeader, TraceReader};
use std::path::Path;

/// The samples of a run and how they came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalRun {
    /// Not there where likelihoods were asked for.
    pub header: Option<RunHeader>,
    pub benchmark: Option<BenchmarkId>,
    pub samples: Vec<Sample>,
    /// How many it has when it is finished.
    pub planned: u64,
    /// Which of its problems belong together.
    pub stems: Stems,
}

impl EvalRun {
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let stems = Stems::read(dir)?;
        if dir.join(likelihood::FILE).is_file() {
            let (identity, answers) = likelihood::read(dir)?;
            let samples = likelihood::samples(&identity, &answers);
            let planned = identity.questions.problems;
            return Ok(Self { header: None, benchmark: Some(identity.benchmark), samples, planned, stems });
        }
        let reader = TraceReader::open(dir)?;
        let header = reader.run()?.clone();
        let (planned, samples) = (reader.manifest().samples(), reader.read_all()?);
        Ok(Self { benchmark: header.benchmark.clone(), header: Some(header), samples, planned, stems })
    }

    /// Refuses a run that was interrupted, called `name` in the error: what it has answered so far is no draw from its
    /// problems.
    pub fn finished(self, name: &str) -> Result<Self, Error> {
        match self.samples.len() as u64 {
            samples if samples < self.planned => {
                Err(Error::Unfinished { run: name.into(), samples, planned: self.planned })
            }
            _ => Ok(self),
        }
    }

    /// How its model was asked and judged, for the record.
    pub fn facts(&self) -> Vec<Fact> {
        let fact = |name: &str, value: String| Fact { name: name.into(), value };
        let mut facts = vec![];
        if let Some(BenchmarkId { name, version, definition, data, bos }) = &self.benchmark {
            let begun = if *bos { ", prompts behind BOS" } else { "" };
            facts.push(fact("Benchmark", format!("{name}, version {version}{begun}")));
            facts.push(fact("Definition (blake3)", definition.clone()));
            facts.push(fact("Data (blake3)", data.clone()));
        }
        if let Some(header) = &self.header {
            facts.push(fact("Problems (blake3)", header.problem_set.fingerprint.clone()));
            facts.push(fact("Samples per problem", header.n.to_string()));
            // Settings that are left alone are not named.
            facts.push(fact("Sampling", serde_json::to_string(&header.sampling).unwrap_or_default()));
            if !header.prompt_suffix.is_empty() {
                facts.push(fact("Prompts end in", header.prompt_suffix.clone()));
            }
            facts.push(fact("Verifiers", format!("rules of version {}", header.verifier)));
        }
        facts
    }
}

/// Refuses two runs that were asked in different ways: their difference would not be one of the models.
pub fn same_settings((left, a): (Role, &EvalRun), (right, b): (Role, &EvalRun)) -> Result<(), Error> {
    if let (Some(a), Some(b)) = (&a.header, &b.header) {
        compare::same_settings((left, a), (right, b))?;
    }
    if a.benchmark == b.benchmark {
        return Ok(());
    }
    let named = |run: &EvalRun| match &run.benchmark {
        None => "none".to_owned(),
        Some(BenchmarkId { name, version, definition, data, bos }) => {
            let begun = if *bos { ", behind BOS" } else { "" };
            format!("{name} version {version} ({definition:.12}, data {data:.12}{begun})")
        }
    };
    Err(Error::SettingsDiffer { left, right, setting: "benchmark", left_value: named(a), right_value: named(b) })
}
