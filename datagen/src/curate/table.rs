//! What a curation holds of its inputs: numbers of fixed size for every row and problem, no texts but names.

use super::reason::Reason;
use crate::sample::Verdict;
use std::path::PathBuf;

/// One row of one input. Its place in [`Table::rows`] is its place in the inputs one after the other.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) dataset: u32,
    /// In [`Table::runs`].
    pub(super) run: u32,
    /// In [`Table::problems`].
    pub(super) problem: u32,
    pub(super) sample: u32,
    pub(super) verdict: Verdict,
    /// Whether it is still among those that training may use.
    pub(super) kept: bool,
    /// Whether its run rejected it for its verdict, and nothing else did.
    pub(super) rejected: bool,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    /// Of reasoning and response.
    pub(super) words: u32,
    /// The name of reasoning and response as a text.
    pub(super) text: u128,
    /// Empty where near-duplicates among traces are not asked for.
    pub(super) bands: Box<[u32]>,
    /// Why this curation does not keep it.
    pub(super) reason: Option<Reason>,
}

/// One problem of the inputs.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) uuid: String,
    /// The name of its question as a text.
    pub(super) text: u128,
    pub(super) words: u32,
    /// Empty where near-duplicates among problems are not asked for.
    pub(super) bands: Box<[u32]>,
    /// What it shares with a benchmark.
    pub(super) overlap: Option<Overlap>,
    /// The first row that asks it.
    pub(super) row: usize,
}

/// What a problem shares with the benchmarks' questions, the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// All of its words.
    Whole { question: u32 },
    /// As many words in a row as the recipe says.
    Words { question: u32 },
}

/// The inputs of a curation.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) datasets: Vec<PathBuf>,
    pub(super) runs: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) problems: Vec<Problem>,
    /// (dataset, part, its first row), in order.
    pub(super) parts: Vec<(usize, usize, usize)>,
    /// Kept rows that were taken out, by the place of the cause in [`Reason::CAUSES`].
    pub(super) taken: [u64; Reason::CAUSES.len()],
}

impl Table {
    /// Takes a row out, for a reason.
    pub(super) fn drop_row(&mut self, row: usize, reason: Reason) {
        let row = &mut self.rows[row];
        self.taken[reason.step()] += u64::from(row.kept);
        row.kept = false;
        row.reason = Some(reason);
    }

    /// Takes out every kept row that `reason` has something to say of.
    pub(super) fn drop_where(&mut self, reason: impl Fn(&Row, &[Problem]) -> Option<Reason>) {
        for place in 0..self.rows.len() {
            let row = &self.rows[place];
            if let Some(reason) = Some(row).filter(|row| row.kept).and_then(|row| reason(row, &self.problems)) {
                self.drop_row(place, reason);
            }
        }
    }

    /// The kept rows, in order.
    pub(super) fn kept(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(|(_, row)| row.kept)
    }

    /// The problems of kept rows, in the order of their first kept rows.
    pub(super) fn kept_problems(&self) -> Vec<u32> {
        let mut seen = vec![false; self.problems.len()];
        let new = |problem: &u32| !std::mem::replace(&mut seen[*problem as usize], true);
        self.kept().map(|(_, row)| row.problem).filter(new).collect()
    }

    /// The kept rows of every problem that has some, in the order of their sample numbers, then of the inputs; the
    /// problems in the order of their first kept rows.
    pub(super) fn kept_by_problem(&self) -> Vec<Vec<usize>> {
        let order = self.kept_problems();
        let mut places = vec![usize::MAX; self.problems.len()];
        for (place, &problem) in order.iter().enumerate() {
            places[problem as usize] = place;
        }
        let mut groups = vec![Vec::new(); order.len()];
        for (place, row) in self.kept() {
            groups[places[row.problem as usize]].push(place);
        }
        for group in &mut groups {
            group.sort_by_key(|&row| (self.rows[row].sample, row));
        }
        groups
    }

    /// A trace as reasons name it: sample, problem.
    pub(super) fn name(&self, row: usize) -> String {
        let row = &self.rows[row];
        format!("sample {} of `{}`", row.sample, self.problems[row.problem as usize].uuid)
    }
}
