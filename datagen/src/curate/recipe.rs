//! The recipe of a curation: which steps are taken, and how.

use crate::Error;
use crate::sample::Verdict;
use crate::store::DEFAULT_ROWS_PER_SHARD;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Every setting of a curation. What is not set is not done, but for exact deduplication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Of the hash functions of MinHash and of the draws of a mix.
    pub seed: u64,
    /// The verdicts that are kept; without it, what the parents keep. A row that its run rejected for its verdict comes
    /// back where its verdict is named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<Verdict>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<Window>,
    /// Words of reasoning and response, for datasets whose tokens were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_words: Option<Window>,
    /// Benchmark files whose questions must not be trained on.
    pub decontaminate: Vec<PathBuf>,
    /// Words in a row that a problem may not share with a benchmark's question. The 13 are those of GPT-3 (Brown et al.
    /// 2020, appendix C) and of s1; open-r1 takes 8, which finds more and errs more.
    pub decontaminate_words: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_rate: Option<PassRate>,
    /// What is deduplicated exactly.
    pub deduplicate: Vec<Unit>,
    pub near_duplicates: NearDuplicates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_problem: Option<PerProblem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Rows that share a file of the new dataset.
    pub rows_per_shard: NonZeroU32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            seed: 0,
            verdicts: None,
            prompt_tokens: None,
            completion_tokens: None,
            trace_words: None,
            decontaminate: Vec::new(),
            decontaminate_words: 13,
            pass_rate: None,
            deduplicate: vec![Unit::Problems, Unit::Traces],
            near_duplicates: NearDuplicates::default(),
            per_problem: None,
            mix: None,
            rows_per_shard: NonZeroU32::new(DEFAULT_ROWS_PER_SHARD).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// What duplicates are looked for among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Problems,
    Traces,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Problems => "problems",
            Self::Traces => "traces",
        }
    }
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    #[serde(default)]
    pub min: u32,
    #[serde(default = "no_limit")]
    pub max: u32,
}

fn no_limit() -> u32 {
    u32::MAX
}

impl Window {
    pub(super) fn holds(self, value: u32) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// The share of right samples that a problem must have, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassRate {
    #[serde(default)]
    pub min: f64,
    #[serde(default = "one")]
    pub max: f64,
    /// How many right samples of a problem ended its sampling in runs that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<NonZeroU32>,
}

fn one() -> f64 {
    1.0
}

/// Near-duplicates by MinHash, where set.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearDuplicates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<Near>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Near>,
}

/// How near-duplicates are found: texts that share a band of their MinHash signatures are compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Near {
    /// Words of a shingle.
    pub words: usize,
    /// Two texts with the Jaccard similarity J are compared with probability 1 - (1 - J^rows)^bands: 99.96% at the
    /// threshold of 0.8.
    pub bands: usize,
    pub rows: usize,
    /// The Jaccard similarity of the sets of shingles from which on the later text goes.
    pub threshold: f64,
}

impl Default for Near {
    fn default() -> Self {
        Self { words: 5, bands: 20, rows: 5, threshold: 0.8 }
    }
}

/// How many traces of a problem are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerProblem {
    pub at_most: NonZeroU32,
    #[serde(default)]
    pub by: Choice,
    /// Words of a shingle, for `diverse`.
    #[serde(default = "five")]
    pub words: usize,
}

fn five() -> usize {
    5
}

/// Which traces of a problem come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Those with the fewest tokens.
    #[default]
    Shortest,
    /// The first sample, then always the one that is farthest from those chosen.
    Diverse,
    /// Those with the lowest numbers.
    First,
}

/// How many rows come from each dataset; by `weights` or `counts`, one for each, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// All rows of a mix by weights; without it, as many as there are for these weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<u64>>,
    /// Whether a row may be drawn more than once.
    #[serde(default)]
    pub replacement: bool,
}

impl Recipe {
    /// Refuses what cannot be meant, for a curation of `datasets` datasets.
    pub(super) fn check(&self, datasets: usize) -> Result<(), Error> {
        let refuse = |setting, found: String, expected| Err(Error::Setting { setting, found, expected });
        let windows = [
            ("prompt_tokens", self.prompt_tokens),
            ("completion_tokens", self.completion_tokens),
            ("trace_words", self.trace_words),
        ];
        for (name, window) in windows {
            if let Some(Window { min, max }) = window.filter(|window| window.min > window.max) {
                return refuse(name, format!("{min} to {max}"), "a `min` that is no larger than its `max`");
            }
        }
        if self.verdicts.as_ref().is_some_and(Vec::is_empty) {
            return refuse("verdicts", "[]".into(), "at least one verdict");
        }
        if self.decontaminate_words == 0 {
            return refuse("decontaminate_words", "0".into(), "at least 1");
        }
        if let Some(PassRate { min, max, quota }) = self.pass_rate {
            if !(0.0 <= min && min <= max && max <= 1.0) {
                return refuse("pass_rate", format!("{min} to {max}"), "a window between 0 and 1");
            }
            if quota == Some(NonZeroU32::MIN) {
                let expected = "at least 2: a run that ends with the first right sample tells no rate without bias";
                return refuse("pass_rate.quota", "1".into(), expected);
            }
        }
        for near in [self.near_duplicates.problems, self.near_duplicates.traces].into_iter().flatten() {
            let Near { words, bands, rows, threshold } = near;
            if words == 0 || bands == 0 || rows == 0 || bands.saturating_mul(rows) > 4096 {
                let found = format!("words {words}, bands {bands}, rows {rows}");
                return refuse(
                    "near_duplicates",
                    found,
                    "made of at least 1 of each and of at most 4096 hash functions",
                );
            }
            if !(threshold > 0.0 && threshold <= 1.0) {
                return refuse("threshold", threshold.to_string(), "above 0 and at most 1");
            }
        }
        if self.per_problem.is_some_and(|per_problem| per_problem.words == 0) {
            return refuse("per_problem.words", "0".into(), "at least 1");
        }
        self.mix.as_ref().map_or(Ok(()), |mix| mix.check(datasets))
    }
}

impl Mix {
    fn check(&self, datasets: usize) -> Result<(), Error> {
        let refuse = |setting, found: String, expected| Err(Error::Setting { setting, found, expected });
        let (name, given, list) = match (&self.weights, &self.counts) {
            (Some(weights), None) => {
                let whole = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
                if !whole || weights.iter().sum::<f64>() <= 0.0 {
                    return refuse(
                        "mix.weights",
                        format!("{weights:?}"),
                        "numbers of which none is below 0 and one above",
                    );
                }
                ("mix.weights", weights.len(), format!("{weights:?}"))
            }
            (None, Some(_)) if self.total.is_some() => {
                return refuse("mix.total", "set".into(), "left out beside `mix.counts`");
            }
            (None, Some(counts)) => ("mix.counts", counts.len(), format!("{counts:?}")),
            _ => return refuse("mix", "empty".into(), "a table with either `weights` or `counts`"),
        };
        if given != datasets {
            let found = format!("{list} for {datasets} datasets");
            return refuse(name, found, "a list with one number for each of them");
        }
        if self.replacement && self.weights.is_some() && self.total.is_none() {
            return refuse("mix.total", "unset".into(), "set where rows may be drawn again");
        }
        Ok(())
    }
}
