//! Curations of small random datasets against oracles that compare everything with everything.

mod choices;
mod overlap;
mod pass_rates;
mod whole;

use super::*;
use crate::problem::Problem;
use crate::sample::Verdict;
use crate::store::{TraceReader, example};
use retort_model::observe::Silent;
use std::collections::HashSet;
use tempfile::TempDir;

/// Random numbers in an order of their own.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 += 1;
        (words::mix(self.0 ^ 0x5eed) % n as u64) as usize
    }

    /// Words out of a vocabulary of `size`.
    fn words(&mut self, count: usize, size: usize) -> Vec<String> {
        (0..count).map(|_| format!("w{}", self.below(size))).collect()
    }
}

/// A right and kept sample of `problem`.
fn trace(problem: &Problem, sample: u32, response: &str) -> Sample {
    let row = example::sample(&example::header(), problem, 0);
    let tokens = response.split_whitespace().count() as u32;
    Sample { sample, reasoning: String::new(), response: response.into(), completion_tokens: tokens, ..row }
}

fn problem(question: &str) -> Problem {
    Problem::new(question.into(), "7".into(), "test", "sums", "1")
}

/// What a sample is that its run rejected.
fn wrong(row: Sample) -> Sample {
    let reason = "another number: 8".to_owned();
    Sample { verdict: Verdict::Wrong, kept: false, drop_reason: reason.clone(), verdict_reason: reason, ..row }
}

/// A dataset of these rows in a folder of its own.
fn dataset(folder: &TempDir, name: &str, rows: &[Sample], rows_per_shard: u32) -> PathBuf {
    let dir = folder.path().join(name);
    let derived = Derived { verb: "import".into(), settings: name.into(), parents: vec![] };
    let mut writer = DerivedWriter::create(&dir, derived, rows_per_shard).unwrap();
    for row in rows {
        writer.push(row.clone()).unwrap();
    }
    writer.finish().unwrap();
    dir
}

/// The rows of a curation of `dirs`.
fn selected(folder: &TempDir, dirs: &[PathBuf], recipe: &Recipe) -> (Summary, Vec<Sample>) {
    let out = folder.path().join("selected");
    let _ = std::fs::remove_dir_all(&out);
    let summary = select(dirs, recipe, &out, &Silent).unwrap().unwrap();
    let rows = TraceReader::open(&out).unwrap().read_all().unwrap();
    (summary, rows)
}

/// The reasons of the rows that are not kept, with their places.
fn dropped(rows: &[Sample]) -> Vec<(usize, &str)> {
    let dropped = rows.iter().enumerate().filter(|(_, row)| !row.kept);
    dropped.map(|(place, row)| (place, row.drop_reason.as_str())).collect()
}

/// Nothing but what a test turns on.
fn bare() -> Recipe {
    Recipe { deduplicate: vec![], ..Recipe::default() }
}

/// The `n`-word shingles of a text of words between spaces.
fn oracle_shingles(text: &str, n: usize) -> HashSet<String> {
    let words: Vec<&str> = text.split(' ').collect();
    words.windows(n).map(|words| words.join(" ")).collect()
}

fn oracle_jaccard(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    a.intersection(b).count() as f64 / a.union(b).count() as f64
}
