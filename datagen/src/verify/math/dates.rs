//! Days of the calendar: `2020-03-04`, `March 4, 2020`, `4th of March`, `3/4/2020`.
//!
//! A date is certain that names its month or begins with a year of four digits; `3/4/2020` is one only beside such a date,
//! and then it may be the fourth of March or the third of April.

use super::compare::Outcome;

/// What a date tells; at least the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: Option<u32>,
    month: u32,
    day: Option<u32>,
}

/// A text read as a date: in one way, or in two ways that give other days.
struct Reading {
    first: Date,
    second: Option<Date>,
    certain: bool,
}

/// Compares dates; `None` unless both sides may be dates and one of them certainly is.
pub(super) fn compare(gold: &str, answer: &str) -> Option<Outcome> {
    let (one, other) = match (reading(gold), reading(answer)) {
        (Some(one), Some(other)) if one.certain || other.certain => (one, other),
        // Of digits alone a date is a difference, too.
        (Some(date), None) | (None, Some(date))
            if date.certain && date.first.year.is_some() && date.first.day.is_some() =>
        {
            return Some(Outcome::Undecided("a date and something else"));
        }
        _ => return None,
    };
    let readings = |reading: &Reading| [Some(reading.first), reading.second].into_iter().flatten().collect::<Vec<_>>();
    let open = one.second.is_some() || other.second.is_some();
    let (left, right) = (readings(&one), readings(&other));
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| together(*left, *right)));
    let best = pairs.min_by_key(|outcome| match outcome {
        Outcome::Equal(_) => 0,
        Outcome::Undecided(_) => 1,
        Outcome::NotEqual(_) => 2,
    })?;
    Some(if open && best.is_equal() { Outcome::Undecided("the day and the month may be exchanged") } else { best })
}

fn together(one: Date, other: Date) -> Outcome {
    let differ = |one: Option<u32>, other: Option<u32>| one.zip(other).is_some_and(|(one, other)| one != other);
    match () {
        () if one == other => Outcome::Equal("the same date"),
        () if one.month != other.month || differ(one.day, other.day) || differ(one.year, other.year) => {
            Outcome::NotEqual("another date")
        }
        () => Outcome::Undecided("a date that says more"),
    }
}

fn reading(text: &str) -> Option<Reading> {
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    if !digits || text.len() > 48 {
        return None;
    }
    let mut plain = text.to_ascii_lowercase();
    for noise in ["\\text", "\\mathrm", "\\mbox", "\\boxed", "\\,", "\\ ", "^", "{", "}", "$", "~", "*"] {
        if plain.contains(noise) {
            plain = plain.replace(noise, " ");
        }
    }
    in_words(&plain).or_else(|| in_digits(plain.trim()))
}

/// `2020-03-04`, `2020/3/4`, `3/4/2020`, `4.3.2020`.
fn in_digits(text: &str) -> Option<Reading> {
    let text = text.trim_end_matches('.');
    let separator = text.chars().find(|c| !c.is_ascii_digit()).filter(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = text.split(separator).collect();
    let [a, b, c] = parts.as_slice() else { return None };
    let number = |part: &str| if part.len() <= 4 { part.parse::<u32>().ok() } else { None };
    let date = |year: &str, month: &str, day: &str| {
        let date = Date { year: Some(number(year)?), month: number(month)?, day: Some(number(day)?) };
        (year.len() == 4 && month.len() <= 2 && day.len() <= 2 && is_day(date)).then_some(date)
    };
    if let Some(first) = date(a, b, c) {
        return Some(Reading { first, second: None, certain: true });
    }
    let mut readings = [date(c, a, b), date(c, b, a)].into_iter().flatten();
    let first = readings.next()?;
    Some(Reading { first, second: readings.next().filter(|second| *second != first), certain: false })
}

fn is_day(date: Date) -> bool {
    (1..=12).contains(&date.month) && date.day.is_none_or(|day| (1..=31).contains(&day))
}

/// `March 4, 2020`, `4th of March`, `Mar 2020`.
fn in_words(text: &str) -> Option<Reading> {
    let mut date = Date { year: None, month: 0, day: None };
    for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty() && *word != "of") {
        let word = word.trim_end_matches('.');
        if let Some(month) = month(word).filter(|_| date.month == 0) {
            date.month = month;
            continue;
        }
        let length = word.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, ending) = word.split_at(length);
        let number: u32 = digits.parse().ok()?;
        match (length, ending) {
            (1 | 2, "" | "st" | "nd" | "rd" | "th") if date.day.is_none() => date.day = Some(number),
            (4, "") if date.year.is_none() && date.month > 0 => date.year = Some(number),
            _ => return None,
        }
    }
    let certain = date.month > 0 && (date.day.is_some() || date.year.is_some());
    (certain && is_day(date)).then_some(Reading { first: date, second: None, certain })
}

/// The number of a month by its name, or by how that is shortened.
fn month(word: &str) -> Option<u32> {
    let known = |name: &&str| **name == *word || super::text::abbreviates(word, name);
    super::text::MONTHS.iter().position(known).map(|at| at as u32 + 1)
}
