//! Judges an arithmetic expression, as in the countdown game: the gold's numbers, each used once, the gold's value, and
//! `*` and `/` only where the gold uses them (in the gym it does exactly where the problem allows them).

use super::{Judgement, quote};
use crate::sample::Verdict;
use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::Zero;

/// Exact; the length of an expression bounds its digits.
type Rational = Ratio<BigInt>;

const MAX_BYTES: usize = 512;
const MAX_DEPTH: usize = 64;

/// Compares `answer` with `gold`; both are expressions in `+ - * / ( )`, with or without `= value` at the end.
pub(super) fn compare(gold: &str, answer: &str) -> Judgement {
    let Ok(gold) = Parsed::read(gold) else {
        return Judgement::new(Verdict::Undecided, format!("the gold is no expression: {}", quote(gold)));
    };
    let answer_text = answer;
    let answer = match Parsed::read(answer) {
        Ok(answer) => answer,
        Err(Fault::OutOfRange) => {
            return Judgement::new(Verdict::Undecided, format!("too large to compute: {}", quote(answer)));
        }
        Err(Fault::DivisionByZero) => {
            return Judgement::new(Verdict::Wrong, format!("divides by zero: {}", quote(answer)));
        }
        Err(Fault::Syntax) => {
            let verdict = if is_plain(answer) { Verdict::Wrong } else { Verdict::Undecided };
            return Judgement::new(verdict, format!("not an arithmetic expression: {}", quote(answer)));
        }
    };
    let wrong = |reason: String| Judgement::new(Verdict::Wrong, reason);
    if answer.numbers != gold.numbers {
        return wrong(format!(
            "other numbers: {} uses {:?}, not {:?}",
            quote(answer_text),
            answer.numbers,
            gold.numbers
        ));
    }
    if let Some(sign) = answer.signs.iter().find(|sign| !gold.signs.contains(sign)) {
        return wrong(format!("uses `{sign}`, which the problem does not allow: {}", quote(answer_text)));
    }
    if answer.value != gold.value {
        return wrong(format!("another value: {} is {}, not {}", quote(answer_text), answer.value, gold.value));
    }
    if let Some(stated) = answer.stated.filter(|stated| *stated != answer.value) {
        return wrong(format!("states another value: {} is {}, not {stated}", quote(answer_text), answer.value));
    }
    Judgement::new(Verdict::Right, "the same numbers and value")
}

/// Whether nothing but our own grammar could give `text` a meaning: no letters, no LaTeX, no signed numbers, no products
/// without a sign.
fn is_plain(text: &str) -> bool {
    let dense: String = text.split_whitespace().collect();
    let ours = dense.chars().all(|c| c.is_ascii_digit() || "+-*/()=".contains(c));
    let signed =
        dense.starts_with(['+', '-']) || ["(-", "+-", "--", "*-", "/-", "(+"].iter().any(|s| dense.contains(s));
    let pairs = || dense.chars().zip(dense.chars().skip(1));
    let silent_product =
        pairs().any(|(a, b)| (a.is_ascii_digit() || a == ')') && b == '(' || a == ')' && b.is_ascii_digit());
    ours && !signed && !silent_product
}

/// Why a text has no value.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Syntax,
    DivisionByZero,
    OutOfRange,
}

/// An expression, evaluated.
#[derive(Debug)]
struct Parsed {
    value: Rational,
    /// The integers it uses, ascending.
    numbers: Vec<BigInt>,
    /// `*` and `/`, as often as they occur.
    signs: Vec<char>,
    /// What follows `=`.
    stated: Option<Rational>,
}

impl Parsed {
    fn read(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_BYTES {
            return Err(Fault::OutOfRange);
        }
        let mut text = text.trim().trim_end_matches('.').to_owned();
        let spellings = [
            ("\\times", "*"),
            ("\\cdot", "*"),
            ("\\div", "/"),
            ("\\left", ""),
            ("\\right", ""),
            ("\\(", ""),
            ("\\)", ""),
            ("$", ""),
            ("×", "*"),
            ("·", "*"),
            ("÷", "/"),
            ("\u{2212}", "-"),
        ];
        for (spelling, plain) in spellings {
            text = text.replace(spelling, plain);
        }
        let (expression, stated) = match text.split_once('=') {
            Some((expression, stated)) => (expression, Some(stated)),
            None => (text.as_str(), None),
        };
        let (value, Parser { mut numbers, signs, .. }) = evaluate(expression)?;
        numbers.sort_unstable();
        let stated = stated.map(signed_value).transpose()?;
        Ok(Self { value, numbers, signs, stated })
    }
}

/// The value after `=`: an integer or a fraction, with or without a sign.
fn signed_value(text: &str) -> Result<Rational, Fault> {
    match text.trim().strip_prefix('-') {
        Some(size) => evaluate(size).map(|(value, _)| -value),
        None => evaluate(text).map(|(value, _)| value),
    }
}

/// The value, and the parser with what it met on the way.
fn evaluate(text: &str) -> Result<(Rational, Parser<'_>), Fault> {
    let mut parser = Parser { rest: text.as_bytes(), depth: 0, numbers: Vec::new(), signs: Vec::new() };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok((value, parser)),
        Some(_) => Err(Fault::Syntax),
    }
}

/// Recursive descent over `sum := product (+|- product)*`, `product := atom (*|/ atom)*`, `atom := integer | ( sum )`.
struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
    numbers: Vec<BigInt>,
    signs: Vec<char>,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn sum(&mut self) -> Result<Rational, Fault> {
        let mut value = self.product()?;
        loop {
            let term = if self.take(b'+') {
                self.product()?
            } else if self.take(b'-') {
                -self.product()?
            } else {
                return Ok(value);
            };
            value += term;
        }
    }

    fn product(&mut self) -> Result<Rational, Fault> {
        let mut value = self.atom()?;
        loop {
            value = if self.take(b'*') {
                self.signs.push('*');
                value * self.atom()?
            } else if self.take(b'/') {
                self.signs.push('/');
                let divisor = self.atom()?;
                if divisor.is_zero() {
                    return Err(Fault::DivisionByZero);
                }
                value / divisor
            } else {
                return Ok(value);
            };
        }
    }

    fn atom(&mut self) -> Result<Rational, Fault> {
        if self.take(b'(') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(Fault::OutOfRange);
            }
            let value = self.sum()?;
            self.depth -= 1;
            return if self.take(b')') { Ok(value) } else { Err(Fault::Syntax) };
        }
        self.peek();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        if digits.is_empty() {
            return Err(Fault::Syntax);
        }
        self.rest = rest;
        let value = BigInt::parse_bytes(digits, 10).ok_or(Fault::Syntax)?;
        self.numbers.push(value.clone());
        Ok(Rational::from_integer(value))
    }
}
