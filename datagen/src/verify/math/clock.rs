//! Times of day: `3:30 PM`, `15:30`, `8 o'clock`, `noon`.
//!
//! A time that does not say which half of the day it means is compared by the clock's face. `3:20` may be a proportion, so
//! one of two times has to be certain: it names the half, or its minutes are written as no proportion is (`3:00`, `3:05`).

use super::compare::Outcome;

/// Minutes of half a day.
const HALF: u32 = 12 * 60;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Time {
    /// From midnight; on the face of the clock where the half of the day is unsaid.
    minutes: u32,
    seconds: u32,
    half: Half,
    /// Whether it can be nothing else.
    certain: bool,
    /// Words behind it; empty, or a time zone, or anything else.
    place: String,
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
    let face = |time: &Time| (time.minutes % HALF, time.seconds);
    // Elsewhere it is another time of day. A zone may be understood, other words say more.
    let zones = is_zone(&one.place) && is_zone(&other.place);
    if zones && one.place != other.place && ![&one.place, &other.place].iter().any(|place| place.is_empty()) {
        return Some(Outcome::Undecided("time zones"));
    }
    let unsaid = one.half == Half::Unsaid || other.half == Half::Unsaid;
    Some(match () {
        () if face(&one) != face(&other) => Outcome::NotEqual("another time"),
        () if !unsaid && one.minutes != other.minutes => Outcome::NotEqual("another half of the day"),
        () if unsaid && (one.half == Half::Counted || other.half == Half::Counted) => {
            Outcome::Undecided("which half of the day")
        }
        () if !zones && one.place != other.place => Outcome::Undecided("a time of day that says more"),
        () => Outcome::Equal("the same time"),
    })
}

/// Whether one text may be a time of day, and the other is none and no proportion either.
pub(super) fn on_one_side(gold: &str, answer: &str) -> bool {
    let may_be = |text: &str| text.contains(':') && time(text).is_some();
    gold.contains(':') != answer.contains(':') && (may_be(gold) || may_be(answer))
}

/// A plain number as an hour.
fn hour(text: &str) -> Option<Time> {
    let hour = text.trim_matches(['$', ' ', '.']).parse::<u32>().ok().filter(|hour| (1..=12).contains(hour))?;
    Some(Time { minutes: 60 * (hour % 12), seconds: 0, half: Half::Unsaid, certain: false, place: String::new() })
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
    let named = |minutes| Some(Time { minutes, seconds: 0, half: Half::Said, certain: true, place: String::new() });
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
    let face = (1..=12).contains(&hour);
    let rest = rest.trim();
    let halves = [("a m", true), ("am", true), ("p m", false), ("pm", false)];
    let (morning, place) = halves
        .into_iter()
        .find_map(|(name, morning)| Some((Some(morning), rest.strip_prefix(name)?)))
        .filter(|(_, place)| place.is_empty() || place.starts_with(' '))
        .unwrap_or((None, rest));
    let place = place.trim();
    let time = |hour: u32, half, certain, place: &str| {
        let place = if matches!(place, "gmt" | "z") { "utc" } else { place };
        Some(Time { minutes: 60 * hour + minutes, seconds, half, certain, place: place.to_owned() })
    };
    match (morning, place) {
        (Some(true), place) if face => time(hour % 12, Half::Said, true, place),
        (Some(false), place) if face => time(hour % 12 + 12, Half::Said, true, place),
        (None, "o'clock" | "o\u{2019}clock" | "oclock") if face => time(hour % 12, Half::Unsaid, true, ""),
        (None, place) if hour < 24 && minute.is_some() && is_zone(place) => {
            let certain = minutes < 10 || !place.is_empty();
            if face { time(hour % 12, Half::Unsaid, certain, place) } else { time(hour, Half::Counted, certain, place) }
        }
        _ => None,
    }
}

/// Whether words name a time zone, or nothing.
fn is_zone(words: &str) -> bool {
    const ZONES: [&str; 20] = [
        "utc", "gmt", "z", "est", "edt", "et", "cst", "cdt", "ct", "mst", "mdt", "mt", "pst", "pdt", "pt", "cet",
        "cest", "bst", "ist", "jst",
    ];
    const NAMES: [&str; 4] = ["eastern", "central", "mountain", "pacific"];
    let name = words.trim_end_matches(" time").trim_end_matches(" standard").trim_end_matches(" daylight");
    words.is_empty() || ZONES.contains(&words) || NAMES.contains(&name)
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
