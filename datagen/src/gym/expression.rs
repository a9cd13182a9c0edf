//! Checks a countdown answer: the same numbers as the gold expression, the same value, no other operations.
//!
//! Arithmetic is exact (checked 64-bit fractions); what is too long, too deep or too large is refused, never a panic.

use thiserror::Error;

/// Longest answer that is read, in characters, and how deep parentheses may nest.
const LONGEST: usize = 256;
const DEEPEST: usize = 32;

/// Why a countdown answer is not right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CountdownFault {
    #[error("`{text}` is not an expression of whole numbers, `+ - * /` and parentheses")]
    Unreadable { text: String },
    #[error("uses the numbers {found:?} where {expected:?} are given")]
    Numbers { expected: Vec<i64>, found: Vec<i64> },
    #[error("uses `{sign}`, which the problem does not allow")]
    Operation { sign: char },
    #[error("makes {found} where {expected} is the target")]
    Value { expected: String, found: String },
}

/// Compares `answer` with the `gold` expression of a countdown problem: each number once, the same value, and `*` or
/// `/` only where the gold uses them (in the gym it does so exactly where the problem allows it).
///
/// A trailing `=value` is read over when it is true; `×`, `·`, `\times` and `\cdot` mean `*`.
pub fn check_countdown(gold: &str, answer: &str) -> Result<(), CountdownFault> {
    let gold = read(gold)?;
    let answer = read(answer)?;
    if answer.numbers != gold.numbers {
        return Err(CountdownFault::Numbers { expected: gold.numbers, found: answer.numbers });
    }
    if let Some(&sign) = answer.signs.iter().find(|sign| matches!(sign, '*' | '/') && !gold.signs.contains(sign)) {
        return Err(CountdownFault::Operation { sign });
    }
    if answer.value != gold.value {
        return Err(CountdownFault::Value { expected: gold.value.to_string(), found: answer.value.to_string() });
    }
    Ok(())
}

/// A fraction in lowest terms, the denominator positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fraction {
    over: i64,
    under: i64,
}

impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.under == 1 { write!(f, "{}", self.over) } else { write!(f, "{}/{}", self.over, self.under) }
    }
}

impl Fraction {
    /// `None` where the denominator is 0 or the terms leave 64 bits.
    fn new(over: i128, under: i128) -> Option<Self> {
        let (mut a, mut b) = (over.unsigned_abs(), under.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = i128::try_from(a).ok()? * if under < 0 { -1 } else { 1 };
        if under == 0 {
            return None;
        }
        Some(Self { over: i64::try_from(over / divisor).ok()?, under: i64::try_from(under / divisor).ok()? })
    }

    /// Products of 64-bit terms fit in 128 bits, and so does a sum of two that each are below 2^126.
    fn apply(self, sign: char, other: Self) -> Option<Self> {
        let [a, b, c, d] = [self.over, self.under, other.over, other.under].map(i128::from);
        match sign {
            '+' => Self::new(a * d + c * b, b * d),
            '-' => Self::new(a * d - c * b, b * d),
            '*' => Self::new(a * c, b * d),
            _ => Self::new(a * d, b * c),
        }
    }
}

/// What an expression is made of.
struct Reading {
    value: Fraction,
    /// Sorted.
    numbers: Vec<i64>,
    signs: Vec<char>,
}

fn read(text: &str) -> Result<Reading, CountdownFault> {
    let fault = || CountdownFault::Unreadable { text: text.chars().take(60).collect() };
    if text.len() > LONGEST {
        return Err(fault());
    }
    let plain = text.replace("\\times", "*").replace("\\cdot", "*").replace("\\left", "").replace("\\right", "");
    let plain: String = plain
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '$')
        .map(|c| match c {
            '×' | '·' | '⋅' => '*',
            '÷' => '/',
            '−' => '-',
            other => other,
        })
        .collect();
    let (left, claimed) = plain.split_once('=').map_or((plain.as_str(), None), |(left, right)| (left, Some(right)));
    let mut parser = Parser { rest: left.chars().collect(), at: 0, numbers: Vec::new(), signs: Vec::new() };
    let value = parser.sum(0).ok_or_else(fault)?;
    if parser.at != parser.rest.len() || claimed.is_some_and(|claimed| claimed != value.to_string()) {
        return Err(fault());
    }
    parser.numbers.sort_unstable();
    Ok(Reading { value, numbers: parser.numbers, signs: parser.signs })
}

/// Recursive descent with the usual precedence; there is no sign before a number, because each number stands for itself.
struct Parser {
    rest: Vec<char>,
    at: usize,
    numbers: Vec<i64>,
    signs: Vec<char>,
}

impl Parser {
    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let next = *self.rest.get(self.at)?;
        wanted.contains(&next).then(|| self.at += 1)?;
        Some(next)
    }

    fn sum(&mut self, depth: usize) -> Option<Fraction> {
        let mut value = self.product(depth)?;
        while let Some(sign) = self.take(&['+', '-']) {
            self.signs.push(sign);
            value = value.apply(sign, self.product(depth)?)?;
        }
        Some(value)
    }

    fn product(&mut self, depth: usize) -> Option<Fraction> {
        let mut value = self.atom(depth)?;
        while let Some(sign) = self.take(&['*', '/']) {
            self.signs.push(sign);
            value = value.apply(sign, self.atom(depth)?)?;
        }
        Some(value)
    }

    fn atom(&mut self, depth: usize) -> Option<Fraction> {
        if self.take(&['(']).is_some() {
            let value = if depth < DEEPEST { self.sum(depth + 1)? } else { return None };
            self.take(&[')'])?;
            return Some(value);
        }
        let mut number: Option<i64> = None;
        while let Some(digit) = self.rest.get(self.at).and_then(|c| c.to_digit(10)) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            self.at += 1;
        }
        let number = number?;
        self.numbers.push(number);
        Fraction::new(i128::from(number), 1)
    }
}
