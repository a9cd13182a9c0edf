//! One run's score: pass@1 with its interval, by family and level, what became of the samples, and tokens per answer.
//!
//! A sample scores 1 when its verdict is `right` and 0 otherwise, whether or not training may use the row; every other
//! verdict stays visible in [`Scored::outcomes`].

use crate::Error;
use crate::budget::{Limited, by_limit};
use crate::metrics::Metric;
use crate::statistics::{Clusters, Interval, Mean, Method, Question, mean_score, quantile};
use crate::stems::Stems;
use crate::tries::{Tries, tries};
use retort_datagen::sample::{Sample, Verdict};
use retort_datagen::store::BenchmarkId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The score of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    #[serde(flatten)]
    pub score: Score,
    /// Name and fingerprint of the model.
    pub generator: String,
    /// The fewest and the most samples that a problem has; they differ where a run is incomplete.
    pub samples_per_problem: [u32; 2],
    pub families: Vec<Family>,
    /// Every verdict, also those that no sample has.
    pub outcomes: Vec<Outcome>,
    pub completion_tokens: Tokens,
    /// What several tries reach; not there where problems have one sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Tries>,
    /// pass@1 under lower limits of tokens; not there where no answers were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_limit: Vec<Limited>,
    /// What the benchmark's definition asks for beside pass@1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    pub run: RunFacts,
}

/// Pass@1 over a set of problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean over problems of the share of right samples.
    pub pass_at_1: f64,
    pub ci95: Interval,
    pub interval: Method,
    /// Standard error over problems, or clusters of them; `None` for a single one.
    pub standard_error: Option<f64>,
    /// The part of the standard error that more samples per problem would remove.
    pub sampling_error: Option<f64>,
    pub problems: usize,
    /// Clusters of problems that share a stem, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<usize>,
    pub samples: u64,
}

/// The score on one family of problems (a sample's `domain`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    pub family: String,
    #[serde(flatten)]
    pub score: Score,
    pub levels: Vec<Level>,
}

/// The score on one level of a family (a sample's `difficulty`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub level: String,
    #[serde(flatten)]
    pub score: Score,
}

/// How many samples ended in one verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub verdict: Verdict,
    pub samples: u64,
    /// Of all samples, from 0 to 1.
    pub share: f64,
}

/// Completion tokens per answer, thinking included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    pub mean: f64,
    pub median: f64,
    pub p90: f64,
    pub max: u32,
    /// The mean over right answers alone; `None` when there is none.
    pub mean_when_right: Option<f64>,
}

/// What identifies a run and would be needed to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    pub run_ids: Vec<String>,
    /// The seed, when all samples state the same one.
    pub seed: Option<u64>,
    /// The benchmark by the hashes of its definition and data, where it has a definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<BenchmarkId>,
    /// The rendered prompt of the first sample, so that a doubled start token or a wrong template can be seen.
    pub first_prompt_token_ids: Vec<u32>,
}

/// A problem with what the model did on it.
#[derive(Debug, Clone)]
pub(crate) struct Answered<'a> {
    pub question: Question,
    pub family: &'a str,
    pub level: &'a str,
    /// What it shares with other problems, where it does.
    pub stem: Option<&'a str>,
    /// In the order of run id and sample number.
    pub samples: Vec<&'a Sample>,
}

/// The problems of a run by uuid.
pub(crate) type Questions<'a> = BTreeMap<&'a str, Answered<'a>>;

impl Scored {
    /// Scores the samples of one model; `name` is what an error calls the run, and `stems` says which problems belong
    /// together.
    pub fn from_samples(name: &str, samples: &[Sample], stems: &Stems) -> Result<Self, Error> {
        Self::from_questions(name, &questions(name, samples, stems)?)
    }

    pub(crate) fn from_questions(name: &str, questions: &Questions<'_>) -> Result<Self, Error> {
        let empty = || Error::EmptyRun { run: name.into() };
        let score = Score::over(questions.values()).ok_or_else(empty)?;
        let samples = || questions.values().flat_map(|answered| answered.samples.iter().copied());
        let first = samples().next().ok_or_else(empty)?;
        if let Some(other) = samples().find(|sample| sample.generator != first.generator) {
            let (first, second) = (first.generator.clone(), other.generator.clone());
            return Err(Error::MixedGenerators { run: name.into(), first, second });
        }
        let counts = || questions.values().map(|answered| answered.question.samples);
        let run_ids: BTreeSet<&str> = samples().map(|sample| sample.run_id.as_str()).collect();
        Ok(Self {
            generator: first.generator.clone(),
            samples_per_problem: [counts().min().unwrap_or(0), counts().max().unwrap_or(0)],
            families: families(questions),
            outcomes: outcomes(samples(), score.samples),
            completion_tokens: tokens(samples()),
            tries: tries(questions),
            by_limit: by_limit(questions),
            metrics: vec![],
            run: RunFacts {
                run_ids: run_ids.into_iter().map(String::from).collect(),
                seed: samples().all(|sample| sample.seed == first.seed).then_some(first.seed),
                benchmark: None,
                first_prompt_token_ids: first.prompt_token_ids.clone(),
            },
            score,
        })
    }

    /// The same with what a benchmark's definition adds.
    pub fn of_benchmark(mut self, benchmark: BenchmarkId, metrics: Vec<Metric>) -> Self {
        (self.run.benchmark, self.metrics) = (Some(benchmark), metrics);
        self
    }

    /// The share of samples that ended in `verdict`, from 0 to 1.
    pub fn share(&self, verdict: Verdict) -> f64 {
        self.outcomes.iter().find(|outcome| outcome.verdict == verdict).map_or(0.0, |outcome| outcome.share)
    }
}

impl Score {
    fn over<'a>(answered: impl Iterator<Item = &'a Answered<'a>>) -> Option<Self> {
        let (questions, stems): (Vec<Question>, Vec<Option<&str>>) =
            answered.map(|answered| (answered.question, answered.stem)).unzip();
        let clusters = Clusters::named(stems);
        let Mean { value, ci95, method, standard_error, sampling_error } = mean_score(&questions, &clusters)?;
        Some(Self {
            pass_at_1: value,
            ci95,
            interval: method,
            standard_error,
            sampling_error,
            problems: questions.len(),
            clusters: clusters.if_any(),
            samples: questions.iter().map(|question| u64::from(question.samples)).sum(),
        })
    }
}

/// Gathers samples by problem; refuses a run without samples and a sample that is there twice.
pub(crate) fn questions<'a>(name: &str, samples: &'a [Sample], stems: &'a Stems) -> Result<Questions<'a>, Error> {
    if samples.is_empty() {
        return Err(Error::EmptyRun { run: name.into() });
    }
    let mut questions = Questions::new();
    for sample in samples {
        let answered = questions.entry(&sample.uuid).or_insert_with(|| Answered {
            question: Question { right: 0, samples: 0 },
            family: &sample.domain,
            level: &sample.difficulty,
            stem: stems.of(&sample.uuid),
            samples: Vec::new(),
        });
        answered.question.samples += 1;
        answered.question.right += u32::from(sample.verdict == Verdict::Right);
        answered.samples.push(sample);
    }
    for answered in questions.values_mut() {
        answered.samples.sort_by_key(|sample| (sample.run_id.as_str(), sample.sample));
        if let Some(pair) = answered.samples.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            let Sample { run_id, uuid, sample, .. } = pair[0].clone();
            return Err(Error::DuplicateSample { run: name.into(), run_id, uuid, sample });
        }
    }
    Ok(questions)
}

/// Which of the problems belong together.
pub(crate) fn clusters(questions: &Questions<'_>) -> Clusters {
    Clusters::named(questions.values().map(|answered| answered.stem))
}

fn key(sample: &Sample) -> (&str, u32) {
    (&sample.run_id, sample.sample)
}

fn families(questions: &Questions<'_>) -> Vec<Family> {
    let mut grouped: BTreeMap<&str, BTreeMap<LevelName<'_>, Vec<&Answered<'_>>>> = BTreeMap::new();
    for answered in questions.values() {
        let levels = grouped.entry(answered.family).or_default();
        levels.entry(LevelName::new(answered.level)).or_default().push(answered);
    }
    let score = |answered: &[&Answered<'_>]| Score::over(answered.iter().copied());
    grouped
        .into_iter()
        .filter_map(|(family, levels)| {
            let all: Vec<&Answered<'_>> = levels.values().flatten().copied().collect();
            let levels = levels
                .iter()
                .filter_map(|(name, answered)| Some(Level { level: name.text.into(), score: score(answered)? }));
            Some(Family { family: family.into(), score: score(&all)?, levels: levels.collect() })
        })
        .collect()
}

/// Orders level 10 after level 2, and words after numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LevelName<'a> {
    number: (bool, u64),
    text: &'a str,
}

impl<'a> LevelName<'a> {
    fn new(text: &'a str) -> Self {
        Self { number: text.parse().map_or((true, 0), |number| (false, number)), text }
    }
}

fn outcomes<'a>(samples: impl Iterator<Item = &'a Sample>, total: u64) -> Vec<Outcome> {
    let mut counts = BTreeMap::new();
    for sample in samples {
        *counts.entry(sample.verdict).or_insert(0u64) += 1;
    }
    let outcome = |verdict| {
        let samples = counts.get(&verdict).copied().unwrap_or(0);
        Outcome { verdict, samples, share: samples as f64 / total as f64 }
    };
    Verdict::ALL.into_iter().map(outcome).collect()
}

/// `samples` is not empty: a run without samples was refused before.
fn tokens<'a>(samples: impl Iterator<Item = &'a Sample>) -> Tokens {
    let (mut all, mut right) = (Vec::new(), Vec::new());
    for sample in samples {
        let tokens = f64::from(sample.completion_tokens);
        all.push(tokens);
        if sample.verdict == Verdict::Right {
            right.push(tokens);
        }
    }
    all.sort_unstable_by(f64::total_cmp);
    let mean = |tokens: &[f64]| tokens.iter().sum::<f64>() / tokens.len() as f64;
    Tokens {
        mean: mean(&all),
        median: quantile(&all, 0.5),
        p90: quantile(&all, 0.9),
        max: quantile(&all, 1.0) as u32,
        mean_when_right: (!right.is_empty()).then(|| mean(&right)),
    }
}
