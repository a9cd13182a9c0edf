//! Problems that overlap with benchmarks: some words in a row that a benchmark's question has too, or, since short
//! questions have no such run, exactly the same words.

use super::table::Overlap;
use super::words::{gram, words};
use crate::Error;
use crate::sources::{self, Reading};
use std::collections::HashMap;
use std::path::PathBuf;

/// The benchmarks' questions as hashes.
#[derive(Debug)]
pub(super) struct Benchmarks {
    files: Vec<File>,
    /// Words in a row.
    n: usize,
    /// What the first question with these words in a row is called.
    grams: HashMap<u64, u32>,
    /// The same for all of a question's words.
    questions: HashMap<u64, u32>,
}

/// A benchmark file, as the new dataset's manifest names it.
#[derive(Debug, serde::Serialize)]
pub(super) struct File {
    path: PathBuf,
    /// blake3 of its bytes.
    blake3: String,
    questions: u32,
}

impl Benchmarks {
    /// Reads the benchmarks' questions, in their order.
    pub(super) fn read(paths: &[PathBuf], n: usize) -> Result<Self, Error> {
        let mut benchmarks = Self { files: Vec::new(), n, grams: HashMap::new(), questions: HashMap::new() };
        let mut question = 0u32;
        for path in paths {
            let problems = sources::read(path, &Reading::default(), None)?;
            let blake3 = sources::hash(path)?;
            let questions = problems.len() as u32;
            for problem in problems {
                let words = words(&problem.problem);
                for run in words.windows(n) {
                    benchmarks.grams.entry(gram(run)).or_insert(question);
                }
                benchmarks.questions.entry(gram(&words)).or_insert(question);
                question = question.saturating_add(1);
            }
            benchmarks.files.push(File { path: path.clone(), blake3, questions });
        }
        Ok(benchmarks)
    }

    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// What a problem with these words shares with the questions.
    pub(super) fn overlap(&self, words: &[u64]) -> Option<Overlap> {
        if self.questions.is_empty() || words.is_empty() {
            return None;
        }
        let whole = self.questions.get(&gram(words)).map(|&question| Overlap::Whole { question });
        let shared = || words.windows(self.n).find_map(|run| self.grams.get(&gram(run)));
        whole.or_else(|| shared().map(|&question| Overlap::Words { question }))
    }

    /// The overlap in words, with the question's number in its file, from 1.
    pub(super) fn describe(&self, overlap: Overlap) -> String {
        let (Overlap::Whole { question } | Overlap::Words { question }) = overlap;
        let mut before = 0;
        let file = self.files.iter().find(|file| {
            let found = question < before + file.questions;
            before += if found { 0 } else { file.questions };
            found
        });
        let file = file.map_or_else(String::new, |file| file.path.display().to_string());
        let question = format!("question {} of `{file}`", question - before + 1);
        match overlap {
            Overlap::Whole { .. } => format!("{question}, word for word"),
            Overlap::Words { .. } => format!("{question}, {} words in a row", self.n),
        }
    }
}
