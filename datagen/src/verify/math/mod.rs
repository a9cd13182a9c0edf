//! Whether two mathematical answers say the same: exact, bounded, and without an opinion where nothing is proven.
//!
//! LaTeX or plain text becomes tokens (`tokens.rs`, `numeral.rs`), a tree (`parse.rs`, `tree.rs`) and, where it is an
//! expression, a quotient of polynomials over Q (`lower.rs`, `algebra.rs`, `radicals.rs`, `functions.rs`,
//! `trigonometry.rs`). Equal and not equal are proofs (`zero.rs`: canonical forms, intervals, separation bounds);
//! nothing is rounded. What the pairs of shapes mean to each other is in `compare.rs`, and in the `README.md` beside
//! this file as a table. Every loop is bounded by `limits.rs`; nothing reads a clock, shares state or panics.

mod algebra;
mod clock;
mod compare;
mod conditions;
mod dates;
mod elementary;
mod evaluate;
mod functions;
mod interval;
mod labels;
mod limits;
mod lower;
mod matrices;
mod measures;
mod numeral;
mod parse;
mod polynomial;
mod radicals;
mod regions;
mod relations;
mod spelled;
mod text;
mod tokens;
mod tree;
mod trigonometry;
mod units;
mod zero;

#[cfg(test)]
mod tests;

use algebra::Algebra;
use compare::Outcome;
use limits::{Halt, MAX_STEPS};
use numeral::Reading;
use tree::{Node, Order};

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    Equal,
    NotEqual,
    Undecided,
}

impl Equality {
    /// The name as it stands in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotEqual => "not_equal",
            Self::Undecided => "undecided",
        }
    }
}

/// A comparison and why it came out so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grade {
    pub verdict: Equality,
    /// `cause: detail`, or the cause alone.
    pub reason: String,
}

/// Compares an answer with the gold. The order of the two does not change the verdict.
pub fn compare(gold: &str, answer: &str) -> Grade {
    let algebra = Algebra::new(MAX_STEPS);
    let (gold, answer) = (gold.trim(), answer.trim());
    if gold == answer && !gold.is_empty() {
        return Grade { verdict: Equality::Equal, reason: "the same text".to_owned() };
    }
    // In an order of its own, so that who is named first cannot matter.
    let (first, second) = if gold <= answer { (gold, answer) } else { (answer, gold) };
    let (verdict, cause) = match decide(&algebra, first, second) {
        Ok(Outcome::Equal(cause)) => return Grade { verdict: Equality::Equal, reason: cause.to_owned() },
        Ok(Outcome::NotEqual(cause)) => (Equality::NotEqual, cause.to_owned()),
        Ok(Outcome::Undecided(cause)) => (Equality::Undecided, cause.to_owned()),
        Err(halt) => (Equality::Undecided, halt.to_string().replace(": ", ", ")),
    };
    Grade { verdict, reason: format!("{cause}: {} with {}", super::quote(answer), super::quote(gold)) }
}

/// Whether `text` reads as one number, with its unit or without.
pub(super) fn is_number(text: &str) -> bool {
    let number = |node: &Node| !node.any(|node| matches!(node, Node::Symbol(_) | Node::Opaque(..) | Node::Imaginary));
    read(text.trim(), Reading::Usual).is_ok_and(|(node, _)| {
        compare::is_expression(&node) && number(&node) && node.any(|node| matches!(node, Node::Number(_) | Node::Pi))
    })
}

/// The number that a line states by itself or at the end of an equation: `12`, `x = 12`, `= 12`.
pub(super) fn stated_number(line: &str) -> Option<&str> {
    let (line, _) = text::unwrapped(line);
    let number = line.rsplit_once('=').map_or(line, |(_, side)| side.trim());
    let known = |node: &Node| !node.any(|node| matches!(node, Node::Symbol(_) | Node::Opaque(..)));
    let states = match read(line, Reading::Usual).ok()?.0 {
        Node::Relation(first, sides) => {
            let equal = sides.iter().all(|(order, side)| *order == Order::Equal && known(side));
            equal && sides.first().is_some_and(|(_, value)| known(&first) || labels::is_label(&first, value))
        }
        node => known(&node),
    };
    (states && is_number(number)).then_some(number)
}

/// The letter of the option that an answer gives, in upper case.
pub(super) fn option(answer: &str) -> Option<char> {
    text::option(answer)
}

fn same_text(gold: &str, answer: &str) -> bool {
    let plain = text::plain(gold);
    !plain.is_empty() && plain == text::plain(answer)
}

/// How the commas of a text can be read.
#[derive(Debug, Clone, Copy)]
struct Commas {
    /// Another way, too.
    ambiguous: bool,
    /// In a way that may be a slip: `10,00`.
    doubtful: bool,
}

fn read(text: &str, comma: Reading) -> Result<(Node, Commas), Halt> {
    let tokens = tokens::tokenize(text, comma)?;
    let commas = Commas { ambiguous: tokens.ambiguous, doubtful: tokens.doubtful };
    parse::parse(tokens.list).map(|node| (node, commas))
}

fn decide(algebra: &Algebra, gold: &str, answer: &str) -> Result<Outcome, Halt> {
    if gold.len().max(answer.len()) > limits::MAX_BYTES {
        return Err(Halt::TooLong);
    }
    if same_text(gold, answer) {
        return Ok(Outcome::Equal("the same text"));
    }
    if let Some(outcome) = clock::compare(gold, answer) {
        return Ok(outcome);
    }
    if let Some(outcome) = dates::compare(gold, answer) {
        return Ok(outcome);
    }
    match text::compare(gold, answer) {
        // Words that name a number are one where they can be read and agree.
        Some(text::OF_NUMBERS) => {
            let read = expressions(algebra, gold, answer).ok().filter(|outcome| outcome.is_equal());
            Ok(read.unwrap_or(text::OF_NUMBERS))
        }
        Some(outcome) => Ok(outcome),
        None => expressions(algebra, gold, answer),
    }
}

/// Compares what is read as mathematics.
fn expressions(algebra: &Algebra, gold: &str, answer: &str) -> Result<Outcome, Halt> {
    let ((left, open), (right, other_open)) = (read(gold, Reading::Usual)?, read(answer, Reading::Usual)?);
    let equal = Ok(match () {
        () if open.doubtful || other_open.doubtful => Outcome::Undecided("two zeros behind a comma"),
        () if clock::on_one_side(gold, answer) => Outcome::Undecided("a time of day or a proportion"),
        () => Outcome::Equal("the same value"),
    });
    let outcome = compare::compare(algebra, &left, &right);
    if matches!(outcome, Ok(Outcome::Equal(_))) {
        return if matches!(equal, Ok(Outcome::Equal(_))) { outcome } else { equal };
    }
    // A comma that can be read in two ways is read in the way that agrees, on one side at a time.
    for comma in [Reading::Swapped, Reading::Decimal] {
        let lists =
            |node: &Node| comma == Reading::Swapped && !matches!(node, Node::Number(_)) || comma == Reading::Decimal;
        if open.ambiguous
            && lists(&right)
            && let Ok((left, _)) = read(gold, comma)
            && compare::compare(algebra, &left, &right).is_ok_and(Outcome::is_equal)
        {
            return equal;
        }
        if other_open.ambiguous
            && lists(&left)
            && let Ok((right, _)) = read(answer, comma)
            && compare::compare(algebra, &left, &right).is_ok_and(Outcome::is_equal)
        {
            return equal;
        }
    }
    // `x` and `X` may be one variable; that is not for us to say. Units are told apart by their case.
    if matches!(outcome, Ok(Outcome::NotEqual(cause)) if cause != compare::ANOTHER_UNIT)
        && same_text(&gold.to_lowercase(), &answer.to_lowercase())
    {
        return Ok(Outcome::Undecided("differs in case only"));
    }
    outcome
}
