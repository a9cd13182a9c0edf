//! What a completion is worth: how it ended, which answer it gives, and whether that answer is the gold.
//!
//! The domain of a problem picks the verifier. A verdict is `right` or `wrong` only where that is certain; the rest is
//! `undecided`. Reasons read `cause: detail`, so that causes can be counted.

mod ending;
mod expression;
mod extract;
pub mod math;
mod pairs;

#[cfg(test)]
mod tests;

pub use extract::{extract_answer, extract_boxed};
pub use pairs::grade_file;

use crate::problem::Problem;
use crate::sample::Verdict;
use math::{Equality, Grade};
use retort_model::generate::Completion;

/// Rises whenever a rule changes that could change a verdict; a dataset holds verdicts of one version.
pub const VERSION: u32 = 3;

/// A verdict and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// `cause: detail`, or the cause alone.
    pub reason: String,
}

impl Judgement {
    fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { verdict, reason: reason.into() }
    }
}

/// The part of a reason that can be counted.
pub fn cause(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(cause, _)| cause)
}

/// Decides whether an answer is the gold of a problem.
pub trait Verifier {
    /// `Right`, `Wrong` or `Undecided`.
    fn verify(&self, problem: &Problem, answer: &str) -> Judgement;
}

/// Takes what is mathematically equal to the gold, or the same words.
pub struct Mathematical;

impl Verifier for Mathematical {
    fn verify(&self, problem: &Problem, answer: &str) -> Judgement {
        let Grade { verdict, reason } = math::compare(&problem.answer, answer);
        let verdict = match verdict {
            Equality::Equal => Verdict::Right,
            Equality::NotEqual => Verdict::Wrong,
            Equality::Undecided => Verdict::Undecided,
        };
        Judgement::new(verdict, reason)
    }
}

/// Takes any expression that uses the gold's numbers and has the gold's value.
pub struct Expression;

impl Verifier for Expression {
    fn verify(&self, problem: &Problem, answer: &str) -> Judgement {
        expression::compare(&problem.answer, answer)
    }
}

/// The verifier for problems of this domain.
pub fn verifier(domain: &str) -> &'static dyn Verifier {
    match domain {
        "countdown" => &Expression,
        _ => &Mathematical,
    }
}

/// Judges a completion. How it ended comes first: only a turn that the model ended itself has an answer to verify. Where
/// nobody knows the gold answer, nothing is decided.
pub fn classify(problem: &Problem, completion: &Completion) -> Judgement {
    if let Some(ended) = ending::judge(completion) {
        return ended;
    }
    if problem.answer.is_empty() {
        return Judgement::new(Verdict::Undecided, "not verified: there is no gold answer");
    }
    match extract_answer(&completion.response) {
        Some(answer) => verifier(&problem.domain).verify(problem, answer),
        None => Judgement::new(Verdict::NoAnswer, "no answer found"),
    }
}

/// Quotes a piece of model output inside a reason, shortened.
fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("`{}...`", &line[..cut]),
        None => format!("`{line}`"),
    }
}
