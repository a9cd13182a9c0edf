//! Times of day: `3:30 PM`, `15:30`, `8 o'clock`, `noon`.
//!
//! A time that does not say which half of the day it means is compared by the clock's face. `3:20` may be a proportion, so
//! one of two times has to be certain: it names the half, or its minutes are written as no proportion is (`3:00`, `3:05`).

use super::compare::Outcome;

/// Minutes of half a day.
const HALF: u32 = 12 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    /// From midnight; on the face of the clock where the half of the day is unsaid.
    minutes: u32,
    seconds: u32,
    half: Half,
    /// Whether it can be nothing else.
    certain: bool,
}

/// How a time tells which half of the day it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Unsaid,
    /// `AM` or `PM`, `noon` or `midnight`.
    Said,
    /// By an hour past 12.
    Counted,
}

/// What looks like a time beside one that is.
const ELSE: Option<Outcome> = Some(Outcome::Undecided("a time of day and something else"));

/// Compares times of day; `None` unless both sides may be times and one of them certainly is.
pub(super) fn compare(gold: &str, answer: &str) -> Option<Outcome> {
    let (one, other) = match (time(gold), time(answer)) {
        (Some(one), Some(other)) if one.certain || other.certain => (one, other),
        // The hour may be given without its unit, as a length may.
        (Some(time), None) if time.certain && answer.contains(':') => return ELSE,
        (None, Some(time)) if time.certain && gold.contains(':') => return ELSE,
        (Some(one), None) if one.certain => (one, hour(answer)?),
        (None, Some(other)) if other.certain => (hour(gold)?, other),
        _ => return None,
    };
    let face = |time: Time| (time.minutes % HALF, time.seconds);
    let unsaid = one.half == Half::Unsaid || other.half == Half::Unsaid;
    Some(match () {
        () if face(one) != face(other) => Outcome::NotEqual("another time"),
        () if !unsaid && one.minutes != other.minutes => Outcome::NotEqual("another half of the day"),
        () if unsaid && (one.half == Half::Counted || other.half == Half::Counted) => {
            Outcome::Undecided("which half of the day")
        }
        () => Outcome::Equal("the same time"),
    })
}

/// A plain number as an hour.
fn hour(text: &str) -> Option<Time> {
    let hour = text.trim_matches(['$', ' ', '.']).parse::<u32>().ok().filter(|hour| (1..=12).contains(hour))?;
    Some(Time { minutes: 60 * (hour % 12), seconds: 0, half: Half::Unsaid, certain: false })
}

fn time(text: &str) -> Option<Time> {
    let said = |word: &str| text.contains(word);
    let letters = said("m") || said("M") || said("noon") || said("Noon") || said("clock");
    if !(said(":") || letters) || text.len() > 48 {
        return None;
    }
    let mut plain = text.to_ascii_lowercase();
    for noise in ["\\text", "\\mathrm", "\\mbox", "\\boxed", "\\,", "\\ ", "\\;", "{", "}", "$", "~", "*", "."] {
        plain = plain.replace(noise, if noise == "." { "" } else { " " });
    }
    let plain = plain.trim();
    let named = |minutes| Some(Time { minutes, seconds: 0, half: Half::Said, certain: true });
    match plain {
        "noon" | "12 noon" | "12:00 noon" => return named(HALF),
        "midnight" | "12 midnight" | "12:00 midnight" => return named(0),
        _ => {}
    }
    let (hour, rest) = number(plain, 1)?;
    let (minute, rest) =
        rest.strip_prefix(':').map_or(Some((None, rest)), |rest| Some((Some(two_digits(rest)?), &rest[2..])))?;
    let (second, rest) =
        rest.strip_prefix(':').map_or(Some((None, rest)), |rest| Some((Some(two_digits(rest)?), &rest[2..])))?;
    let minutes = minute.unwrap_or(0);
    let seconds = second.unwrap_or(0);
    let time = |hour: u32, half, certain| Some(Time { minutes: 60 * hour + minutes, seconds, half, certain });
    let face = (1..=12).contains(&hour);
    match rest.trim() {
        "am" | "a m" if face => time(hour % 12, Half::Said, true),
        "pm" | "p m" if face => time(hour % 12 + 12, Half::Said, true),
        "o'clock" | "o\u{2019}clock" | "oclock" if face => time(hour % 12, Half::Unsaid, true),
        "" if hour < 24 && minute.is_some() => {
            let certain = minutes < 10;
            if face { time(hour % 12, Half::Unsaid, certain) } else { time(hour, Half::Counted, certain) }
        }
        _ => None,
    }
}

/// A number of `least` to two digits, and what follows it.
fn number(text: &str, least: usize) -> Option<(u32, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    if length < least || length > 2 {
        return None;
    }
    Some((text[..length].parse().ok()?, &text[length..]))
}

/// Minutes or seconds.
fn two_digits(text: &str) -> Option<u32> {
    number(text, 2).map(|(value, _)| value).filter(|value| *value < 60)
}
