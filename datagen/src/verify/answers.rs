//! Verifiers of the answer that a response ends on.

use super::math::{self, Equality, Grade};
use super::{AnswerVerifier, Judgement, Verifier, expression, extract_answer, quote, without_gold};
use crate::problem::Problem;
use crate::sample::Verdict;
use regex::Regex;
use retort_model::generate::Completion;

/// Takes what is mathematically equal to the gold, or the same words.
pub(super) struct Mathematical;

impl AnswerVerifier for Mathematical {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement {
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
pub(super) struct Expression;

impl AnswerVerifier for Expression {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement {
        expression::compare(&problem.answer, answer)
    }
}

/// What the problem's domain asks for.
pub(super) struct ByDomain;

impl AnswerVerifier for ByDomain {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement {
        match problem.domain.as_str() {
            "countdown" => Expression.verify_answer(problem, answer),
            _ => Mathematical.verify_answer(problem, answer),
        }
    }
}

/// Takes the gold's characters, but for white space around and between them.
pub(super) struct Exact;

impl AnswerVerifier for Exact {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement {
        let same = problem.answer.split_whitespace().eq(answer.split_whitespace());
        decided(same, || format!("{} is not the text of the gold", quote(answer)))
    }
}

/// Takes a decimal number within a share of the gold's size.
pub(super) struct Numeric {
    pub tolerance: f64,
}

impl AnswerVerifier for Numeric {
    fn verify_answer(&self, problem: &Problem, answer: &str) -> Judgement {
        let Some(gold) = number(&problem.answer) else {
            return Judgement::new(Verdict::Undecided, format!("the gold is no number: {}", quote(&problem.answer)));
        };
        let Some(found) = number(answer) else {
            return Judgement::new(Verdict::Wrong, format!("no number: {}", quote(answer)));
        };
        let near = found == gold || (found - gold).abs() <= self.tolerance * gold.abs();
        decided(near, || format!("too far off: {found} from {gold}"))
    }
}

/// A finite decimal number, with a currency sign, thousands separators and a percent sign at most.
fn number(text: &str) -> Option<f64> {
    let text =
        text.trim().trim_matches('$').trim_start_matches("\\$").trim_end_matches("\\%").trim_end_matches(['%', '.']);
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | ' ')).collect();
    digits.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Takes the letter of the gold's option: `C`, `(C)`, `C. because`, `\text{C}`.
pub(super) struct Choice;

impl Verifier for Choice {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        let Some(gold) = letter(&problem.answer) else {
            return Judgement::new(Verdict::Undecided, format!("the gold is no option: {}", quote(&problem.answer)));
        };
        let stated = extract_answer(&turn.response).and_then(letter);
        match stated.or_else(|| letter(last_line(&turn.response))) {
            Some(found) => decided(found == gold, || format!("another option: {found}")),
            None => Judgement::new(Verdict::NoAnswer, "no option found"),
        }
    }
}

fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or_default()
}

/// The option that a text begins with: one letter by itself, in brackets or before a mark; not the pronoun of a sentence,
/// nor its article.
fn letter(text: &str) -> Option<char> {
    // `**C** because`
    let text = text.trim().trim_start_matches('*').replacen("**", ".", 1);
    math::option(&text).or_else(|| math::option(text.split_once(',')?.0))
}

/// Takes a response in which a pattern is found; where the pattern has a group, the last find's must be the gold.
pub(super) struct Pattern(pub Regex);

impl Verifier for Pattern {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        let Some(found) = self.0.captures_iter(&turn.response).last() else {
            return Judgement::new(Verdict::NoAnswer, "the pattern is not found");
        };
        match found.get(1) {
            Some(_) if problem.answer.is_empty() => without_gold(),
            Some(group) => Exact.verify_answer(problem, group.as_str()),
            None if self.0.captures_len() > 1 => Judgement::new(Verdict::NoAnswer, "the pattern's group is empty"),
            None => Judgement::new(Verdict::Right, "the pattern is found"),
        }
    }
}

pub(super) fn decided(right: bool, why_not: impl FnOnce() -> String) -> Judgement {
    if right { Judgement::new(Verdict::Right, "equal") } else { Judgement::new(Verdict::Wrong, why_not()) }
}
