//! Compares an answer with the gold: exactly where both are numbers, as text where both are words, else not at all.

use super::extract::braced;
use super::rational::Rational;
use super::{Judgement, quote};
use crate::sample::Verdict;

/// Longer texts are not read as numbers; digits beyond 36 would not fit anyway.
const MAX_NUMBER: usize = 256;
const MAX_DIGITS: u32 = 36;
/// Commands that hold text and change nothing about a value.
const TEXT_COMMANDS: [&str; 5] = ["\\text", "\\textbf", "\\mathrm", "\\mathbf", "\\mbox"];
/// Thin spaces stand for grouping commas in some notations; a plain space does not.
const THIN_SPACE: char = '\u{2009}';

/// Compares `answer` with `gold`.
///
/// `Right` where both are the same number or the same text; `Wrong` where both are numbers or both are words and they
/// differ; `Undecided` where they differ in form, so that a human or an algebra system would be needed.
pub fn compare(gold: &str, answer: &str) -> Judgement {
    let (gold_text, answer_text) = (strip(gold), strip(answer));
    // `x = 5` answers a question whose gold is `5`.
    let (gold_text, answer_text) = match (gold_text.contains('='), answer_text.contains('=')) {
        (false, true) => (gold_text, without_name(answer_text)),
        (true, false) => (without_name(gold_text), answer_text),
        _ => (gold_text, answer_text),
    };
    match (number(gold_text), number(answer_text)) {
        (Some(gold), Some(answer)) if gold.percent != answer.percent => {
            Judgement::new(Verdict::Undecided, "one is a percentage and the other is not")
        }
        (Some(gold), Some(answer)) if gold.value == answer.value => Judgement::new(Verdict::Right, "the same number"),
        (Some(gold), Some(answer)) => {
            Judgement::new(Verdict::Wrong, format!("another number: {} is not {}", answer.value, gold.value))
        }
        _ => compare_text(gold_text, answer_text),
    }
}

/// Whether `text` reads as one number.
pub(super) fn is_number(text: &str) -> bool {
    number(strip(text)).is_some()
}

fn compare_text(gold: &str, answer: &str) -> Judgement {
    let (plain_gold, plain_answer) = (plain(gold), plain(answer));
    if plain_gold == plain_answer && !plain_gold.is_empty() {
        return Judgement::new(Verdict::Right, "the same text");
    }
    let word = |text: &str| !text.is_empty() && text.chars().all(char::is_alphabetic);
    let differ_in_more_than_case = plain_gold.to_lowercase() != plain_answer.to_lowercase();
    if word(&plain_gold) && word(&plain_answer) && differ_in_more_than_case {
        return Judgement::new(Verdict::Wrong, format!("another word: {} is not {}", quote(answer), quote(gold)));
    }
    Judgement::new(Verdict::Undecided, format!("not comparable: {} with {}", quote(answer), quote(gold)))
}

/// Text without what differs between equal notations.
fn plain(text: &str) -> String {
    let mut plain = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac");
    for noise in ["\\left", "\\right", "\\,", "\\!", "\\;", "\\:", "\\ ", "\\$", "$"] {
        plain = plain.replace(noise, "");
    }
    // Space separates words and numbers; elsewhere it is layout.
    let mut spaced = String::with_capacity(plain.len());
    for part in plain.split_whitespace() {
        let joins = |side: Option<char>| side.is_some_and(char::is_alphanumeric);
        if joins(spaced.chars().last()) && joins(part.chars().next()) {
            spaced.push(' ');
        }
        spaced.push_str(part);
    }
    spaced
}

/// Takes off what surrounds a value without changing it: spaces, math delimiters, emphasis, text commands, a full stop.
fn strip(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let before = text.len();
        text = text.trim_end_matches('.').trim();
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")] {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
                text = inner.trim();
            }
        }
        for command in TEXT_COMMANDS {
            if let Some(rest) = text.strip_prefix(command) {
                text = whole_braces(rest.trim_start()).unwrap_or(text);
            }
        }
        text = whole_braces(text).unwrap_or(text).trim();
        if text.len() == before {
            return text;
        }
    }
}

/// The content of a text that is one pair of braces.
fn whole_braces(text: &str) -> Option<&str> {
    braced(text).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// Takes `x =` off `x = 5`.
fn without_name(text: &str) -> &str {
    match text.split_once('=') {
        Some((name, value)) if name.trim().len() == 1 && name.trim().as_bytes()[0].is_ascii_alphabetic() => {
            strip(value)
        }
        _ => text,
    }
}

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    value: Rational,
    percent: bool,
}

/// Reads `[+-][$] decimal [/ decimal] [%]` or `[+-]\frac{a}{b}`; the whole text or nothing.
fn number(text: &str) -> Option<Number> {
    if text.len() > MAX_NUMBER {
        return None;
    }
    let mut text = text.replace("\\!", "").replace("{,}", ",").replace("\\%", "%").replace("\\$", "$");
    for space in ["\\,", "\\;", "\\:", "\\ ", "\u{202f}"] {
        text = text.replace(space, THIN_SPACE.encode_utf8(&mut [0; 4]));
    }
    let rest = text.trim();
    let (negative, rest) = sign(rest);
    let rest = rest.strip_prefix(['$', '€', '£']).unwrap_or(rest).trim_start();
    // `$-5` is as common as `-$5`.
    let (inner_negative, rest) = if negative { (false, rest) } else { sign(rest) };
    let (size, rest) = fraction(rest).or_else(|| ratio(rest))?;
    let value = if negative || inner_negative { size.negate() } else { size };
    match rest.trim() {
        "" => Some(Number { value, percent: false }),
        "%" => Some(Number { value, percent: true }),
        _ => None,
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.chars().next() {
        Some(minus @ ('-' | '\u{2212}')) => (true, text[minus.len_utf8()..].trim_start()),
        Some('+') => (false, text[1..].trim_start()),
        _ => (false, text),
    }
}

/// `decimal` or `decimal / decimal`.
fn ratio(text: &str) -> Option<(Rational, &str)> {
    let (numerator, rest) = decimal(text)?;
    let Some(below) = rest.trim_start().strip_prefix('/') else { return Some((numerator, rest)) };
    let (negative, below) = sign(below.trim_start());
    let (denominator, rest) = decimal(below)?;
    let denominator = if negative { denominator.negate() } else { denominator };
    Some((numerator.divide(denominator)?, rest))
}

/// `\frac{a}{b}` and its kin, also `\frac12`.
fn fraction(text: &str) -> Option<(Rational, &str)> {
    let rest = ["\\frac", "\\dfrac", "\\tfrac"].into_iter().find_map(|command| text.strip_prefix(command))?;
    let (numerator, rest) = fraction_part(rest)?;
    let (denominator, rest) = fraction_part(rest)?;
    Some((numerator.divide(denominator)?, rest))
}

fn fraction_part(text: &str) -> Option<(Rational, &str)> {
    let text = text.trim_start();
    if let Some((content, rest)) = braced(text) {
        let (negative, content) = sign(content.trim());
        let (value, left) = decimal(content)?;
        return left.trim().is_empty().then_some((if negative { value.negate() } else { value }, rest));
    }
    let digit = text.chars().next()?.to_digit(10)?;
    Some((Rational::integer(i128::from(digit))?, &text[1..]))
}

/// Digits, in groups of three or not, with or without a fractional part.
fn decimal(text: &str) -> Option<(Rational, &str)> {
    let (whole, rest) = grouped_digits(text);
    let (fractional, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
        None => ("", rest),
    };
    if whole.is_empty() && fractional.is_empty() {
        return None;
    }
    let digits = format!("{whole}{fractional}");
    let places = u32::try_from(fractional.len()).ok().filter(|&places| places <= MAX_DIGITS)?;
    Some((Rational::new(digits.parse().ok()?, 10i128.checked_pow(places)?)?, rest))
}

/// Leading digits without their separators: `1,234,567` is grouped, `1,23` is `1` followed by `,23`.
fn grouped_digits(text: &str) -> (String, &str) {
    let count = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let first = count(text);
    let mut digits = text[..first].to_owned();
    let mut rest = &text[first..];
    let separator = rest.chars().next().filter(|&next| next == ',' || next == THIN_SPACE);
    if let Some(separator) = separator
        && (1..=3).contains(&first)
        && !text.starts_with('0')
    {
        while let Some(group) = rest.strip_prefix(separator).filter(|group| count(group) == 3) {
            digits.push_str(&group[..3]);
            rest = &group[3..];
        }
    }
    (digits, rest)
}
