//! What a completion is worth: how it ended, which answer it gives, and whether that answer is the gold.
//!
//! A [`Rule`] picks the verifier; without one the domain of a problem does. A verdict is `right` or `wrong` only where
//! that is certain; the rest is `undecided`. Reasons read `cause: detail`, so that causes can be counted.

mod answers;
mod combined;
mod ending;
mod expression;
mod extract;
mod filtered;
mod format;
pub mod math;
mod pairs;
mod rule;
mod schema;

#[cfg(test)]
mod tests;

pub use extract::{extract_answer, extract_boxed};
pub use filtered::{ExactMatch, Filtered};
pub use format::Format;
pub use pairs::{grade_file, read_pairs};
pub use rule::{Rule, RuleError};

use crate::problem::Problem;
use crate::sample::Verdict;
use retort_model::generate::Completion;

/// Rises whenever a rule changes that could change a verdict; a dataset holds verdicts of one version.
pub const VERSION: u32 = 7;

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

/// Decides what a completed turn is worth. The verifiers are the rewards, too.
pub trait Verifier: Send + Sync {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement;
}

/// Decides whether an answer is the gold of a problem: `Right`, `Wrong` or `Undecided`.
trait AnswerVerifier: Send + Sync {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement;
}

impl<V: AnswerVerifier> Verifier for V {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        match extract_answer(&turn.response) {
            _ if problem.answer.is_empty() => without_gold(),
            Some(answer) => self.verify_answer(problem, answer),
            None => Judgement::new(Verdict::NoAnswer, "no answer found"),
        }
    }
}

/// Judges a completion. How it ended comes first: only a turn that the model ended itself is worth verifying.
pub fn classify(problem: &Problem, turn: &Completion, verifier: &dyn Verifier) -> Judgement {
    ending::judge(turn).unwrap_or_else(|| verifier.verify(problem, turn))
}

/// The verifier that a problem's domain asks for.
pub(crate) fn by_domain() -> &'static dyn Verifier {
    &answers::ByDomain
}

/// Where nobody knows the gold answer, nothing is decided.
fn without_gold() -> Judgement {
    Judgement::new(Verdict::Undecided, "not verified: there is no gold answer")
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
