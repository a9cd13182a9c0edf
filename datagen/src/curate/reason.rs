//! Why a curation leaves a row out; in the dataset as `cause: detail`.

use super::contamination::Benchmarks;
use super::pick::by;
use super::recipe::{Choice, Mix};
use super::table::{Overlap, Table};
use crate::sample::Verdict;

/// Why a row is not kept; other rows and problems by their places in the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reason {
    Repeated,
    Verdict(Verdict),
    Length { what: &'static str, found: u32 },
    Contaminated(Overlap),
    PassRate(f64),
    SameProblem { problem: u32 },
    NearProblem { problem: u32, jaccard: f32 },
    SameTrace { row: usize },
    NearTrace { row: usize, jaccard: f32 },
    NotPicked { at_most: u32, choice: Choice },
    NotDrawn { dataset: u32 },
}

impl Reason {
    /// Every cause, in the order of the steps.
    pub(super) const CAUSES: [&'static str; 11] = [
        "repeated row",
        "verdict not chosen",
        "length outside its window",
        "contaminated",
        "pass rate outside its window",
        "duplicate problem",
        "near-duplicate problem",
        "duplicate trace",
        "near-duplicate trace",
        "not picked",
        "not drawn",
    ];

    /// The place of its cause in [`Reason::CAUSES`].
    pub(super) fn step(self) -> usize {
        match self {
            Self::Repeated => 0,
            Self::Verdict(_) => 1,
            Self::Length { .. } => 2,
            Self::Contaminated(_) => 3,
            Self::PassRate(_) => 4,
            Self::SameProblem { .. } => 5,
            Self::NearProblem { .. } => 6,
            Self::SameTrace { .. } => 7,
            Self::NearTrace { .. } => 8,
            Self::NotPicked { .. } => 9,
            Self::NotDrawn { .. } => 10,
        }
    }

    /// `cause: detail`.
    pub(super) fn text(self, table: &Table, benchmarks: &Benchmarks, mix: Option<&Mix>) -> String {
        let uuid = |problem: u32| &table.problems[problem as usize].uuid;
        let detail = match self {
            Self::Repeated => "the same sample came earlier".into(),
            Self::Verdict(verdict) => verdict.as_str().into(),
            Self::Length { what, found } => format!("{found} {what}"),
            Self::Contaminated(overlap) => benchmarks.describe(overlap),
            Self::PassRate(rate) => format!("{rate:.3}"),
            Self::SameProblem { problem } => format!("of `{}`", uuid(problem)),
            Self::NearProblem { problem, jaccard } => format!("{jaccard:.2} of `{}`", uuid(problem)),
            Self::SameTrace { row } => format!("of {}", table.name(row)),
            Self::NearTrace { row, jaccard } => format!("{jaccard:.2} of {}", table.name(row)),
            Self::NotPicked { at_most, choice } => format!("{at_most} of this problem, {}", by(choice)),
            Self::NotDrawn { dataset } => {
                let drawn = if mix.is_some_and(|mix| mix.counts.is_some()) { "its count" } else { "its weight" };
                format!("`{}` has more than {drawn}", table.datasets[dataset as usize].display())
            }
        };
        format!("{}: {detail}", Self::CAUSES[self.step()])
    }
}
