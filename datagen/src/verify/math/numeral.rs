//! Literals: digits with separators, decimals, repeating decimals, powers of ten, digits of another base.

use super::limits::{Halt, MAX_DIGITS, Rational};
use num_bigint::BigInt;
use num_traits::Zero;

/// What a comma between digits stands for, and `e` between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Groups of three outside brackets, a list inside them and for any other length.
    Usual,
    /// Groups of three inside brackets, a list outside them.
    Swapped,
    /// A decimal comma; `2e-3` is 0.002, and not twice e, less 3.
    Decimal,
}

/// A literal, how many bytes it takes, and whether its commas could be read otherwise.
#[derive(Debug)]
pub(super) struct Numeral {
    pub(super) value: Rational,
    pub(super) length: usize,
    pub(super) ambiguous: bool,
    /// Two zeros behind a comma: cents, or a separator in the wrong place.
    pub(super) doubtful: bool,
}

/// What may stand between groups of three beside a comma; none of these separates list items.
const SEPARATORS: [&str; 12] =
    ["{,}", ",\\! ", ",\\!", ",{}", "\\,", "\\!", "\\;", "\\:", "\\ ", "\u{202f}", "\u{2009}", "\u{a0}"];

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Whether exactly three digits stand at the start.
fn is_group(text: &str) -> bool {
    digits(text) == 3
}

/// Reads the literal at the start of `text`; `None` where there is none.
pub(super) fn read(text: &str, bracketed: bool, comma: Reading) -> Result<Option<Numeral>, Halt> {
    let first = digits(text);
    if first > MAX_DIGITS {
        return Err(Halt::TooLarge);
    }
    if let Some(numeral) = prefixed(text)? {
        return Ok(Some(numeral));
    }
    let mut whole = text[..first].to_owned();
    let mut at = first;
    let mut ambiguous = false;
    let mut doubtful = false;
    // `1.234.567,89`: points that cannot be decimal.
    if let Some((value, length)) = continental(text, first) {
        return Ok(Some(Numeral { value, length, ambiguous: false, doubtful: false }));
    }
    if (1..=3).contains(&first) && !text.starts_with('0') {
        while let Some((group, length, open)) = next_group(&text[at..], bracketed, comma, at == first) {
            ambiguous |= open;
            if group.is_empty() {
                break;
            }
            whole.push_str(group);
            at += length;
            if whole.len() > MAX_DIGITS {
                return Err(Halt::TooLarge);
            }
        }
    }
    let mut fraction = "";
    let point = match text[at..].chars().next() {
        Some('.') => true,
        Some(',') if !bracketed && at == first && first > 0 && digits(&text[at + 1..]) > 0 => {
            ambiguous = true;
            doubtful = digits(&text[at + 1..]) == 2 && text[at + 1..].starts_with("00");
            comma == Reading::Decimal
        }
        _ => false,
    };
    if point {
        let length = digits(&text[at + 1..]);
        if length > 0 || repeating(&text[at + 1..]).is_some() {
            fraction = &text[at + 1..at + 1 + length];
            at += 1 + length;
        }
    }
    if first == 0 && fraction.is_empty() && at == 0 || fraction.len() > MAX_DIGITS {
        return if fraction.len() > MAX_DIGITS { Err(Halt::TooLarge) } else { Ok(None) };
    }
    let mut value = decimal(&whole, fraction);
    let repeated = repeating(&text[at..]);
    if repeated.is_none()
        && let Some((block, length)) = going_on(fraction, &text[at..])
    {
        // What is written is followed by the block again and again.
        let nines = Rational::from_integer(BigInt::from(10).pow(block.len() as u32) - 1);
        value += decimal(block, "") / nines / Rational::from_integer(BigInt::from(10).pow(fraction.len() as u32));
        at += length;
    } else if point && let Some((block, length)) = repeated {
        let nines = Rational::from_integer(BigInt::from(10).pow(block.len() as u32) - 1);
        let shift = Rational::from_integer(BigInt::from(10).pow(fraction.len() as u32));
        value += decimal(block, "") / nines / shift;
        at += length;
    }
    if let Some((exponent, length, open)) = scientific(&text[at..], !fraction.is_empty()) {
        if open && comma != Reading::Decimal {
            return Ok(Some(Numeral { value, length: at, ambiguous: true, doubtful }));
        }
        let power = Rational::from_integer(BigInt::from(10).pow(exponent.unsigned_abs()));
        value = if exponent < 0 { value / power } else { value * power };
        at += length;
    }
    Ok(Some(Numeral { value, length: at, ambiguous, doubtful }))
}

/// The next three digits with their separator: text, bytes, whether the separator could mean something else. An empty
/// group says that there is one which this reading takes for the next item of a list.
fn next_group(text: &str, bracketed: bool, comma: Reading, first: bool) -> Option<(&str, usize, bool)> {
    if let Some(rest) = text.strip_prefix(',').filter(|rest| is_group(rest)) {
        // No item of a list begins with a zero.
        let only = rest.starts_with('0');
        let grouped = match comma {
            Reading::Usual => !bracketed,
            Reading::Swapped => bracketed,
            Reading::Decimal => true,
        };
        return Some((if grouped || only { &rest[..3] } else { "" }, 4, !only));
    }
    // A plain space groups only where every group has three digits: `1 000 000`.
    let separators = SEPARATORS.iter().copied().chain([" "]);
    for separator in separators {
        let Some(rest) = text.strip_prefix(separator) else { continue };
        // `11,\! 111` has a space after its separator, and `1{,}\!000` two separators.
        let spaces = rest.len() - rest.trim_start_matches([' ', '\\', '!']).len();
        let rest = &rest[if separator == " " { 0 } else { spaces }..];
        if is_group(rest) && !(separator == " " && first && rest[3..].starts_with(['/', '\\'])) {
            return Some((&rest[..3], text.len() - rest.len() + 3, false));
        }
    }
    None
}

/// `1.234,5` and `1.234.567`.
fn continental(text: &str, first: usize) -> Option<(Rational, usize)> {
    if !(1..=3).contains(&first) {
        return None;
    }
    let mut whole = text[..first].to_owned();
    let mut at = first;
    while text[at..].strip_prefix('.').is_some_and(is_group) && whole.len() < MAX_DIGITS {
        whole.push_str(&text[at + 1..at + 4]);
        at += 4;
    }
    let groups = (at - first) / 4;
    let fraction = text[at..].strip_prefix(',').map_or(0, digits);
    let decimal_comma = groups >= 1 && fraction > 0 && fraction <= MAX_DIGITS;
    if groups < 2 && !decimal_comma {
        return None;
    }
    let tail = if decimal_comma { &text[at + 1..at + 1 + fraction] } else { "" };
    let length = at + if decimal_comma { 1 + fraction } else { 0 };
    Some((decimal(&whole, tail), length))
}

/// `\overline{36}` or `\bar{3}` after a decimal point: the digits and the bytes.
fn repeating(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix("\\overline").or_else(|| text.strip_prefix("\\bar"))?.trim_start();
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Some((&rest[..1], text.len() - rest.len() + 1));
    }
    let inner = rest.strip_prefix('{')?;
    let length = digits(inner);
    (length > 0 && length <= MAX_DIGITS && inner[length..].starts_with('}'))
        .then(|| (&inner[..length], text.len() - inner.len() + length + 1))
}

/// `0.1666...`: the block that goes on and the bytes of the dots. It has to be there three times, or twice and nothing
/// else: 2.718281828... does not repeat.
fn going_on<'a>(fraction: &'a str, text: &str) -> Option<(&'a str, usize)> {
    let dots = text.len() - text.trim_start_matches('.').len();
    let names = ["\\ldots", "\\dots", "\\cdots", "\u{2026}"];
    let named = || names.into_iter().find(|name| text.starts_with(name)).map(str::len);
    let length = if dots >= 3 { dots } else { named()? };
    let block = (1..=fraction.len() / 2).map(|size| &fraction[fraction.len() - size..]).find(|block| {
        let times = fraction.as_bytes().rchunks_exact(block.len()).take_while(|part| *part == block.as_bytes()).count();
        times >= 3 || times == 2 && block.len() > 1 && fraction.len() == 2 * block.len()
    })?;
    Some((block, length))
}

/// `½` and its kin.
#[rustfmt::skip]
pub(super) fn vulgar_fraction(sign: char) -> Option<Rational> {
    const SIGNS: [(char, i64, i64); 18] = [
        ('½', 1, 2), ('⅓', 1, 3), ('⅔', 2, 3), ('¼', 1, 4), ('¾', 3, 4), ('⅕', 1, 5), ('⅖', 2, 5), ('⅗', 3, 5),
        ('⅘', 4, 5), ('⅙', 1, 6), ('⅚', 5, 6), ('⅐', 1, 7), ('⅛', 1, 8), ('⅜', 3, 8), ('⅝', 5, 8), ('⅞', 7, 8),
        ('⅑', 1, 9), ('⅒', 1, 10),
    ];
    let (_, above, below) = SIGNS.into_iter().find(|(known, ..)| *known == sign)?;
    Some(Rational::new(above.into(), below.into()))
}

/// `e-05`, `E6`, `e3`, and whether it is open what that means: `2e-3` may well be twice e, less 3.
fn scientific(text: &str, fractional: bool) -> Option<(i32, usize, bool)> {
    let upper = text.starts_with('E');
    let rest = text.strip_prefix(['e', 'E'])?;
    let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let length = digits(unsigned);
    let signed = unsigned.len() < rest.len();
    let plain = !signed || length >= 2 || fractional || upper;
    let ended = !unsigned[length..].starts_with(|c: char| c.is_alphanumeric() || c == '^' || c == '_');
    if length == 0 || length > 3 || !ended {
        return None;
    }
    let size: i32 = unsigned[..length].parse().ok()?;
    Some((if rest.starts_with('-') { -size } else { size }, text.len() - unsigned.len() + length, !plain))
}

fn decimal(whole: &str, fraction: &str) -> Rational {
    let digits = format!("{whole}{fraction}");
    let size = BigInt::parse_bytes(digits.as_bytes(), 10).unwrap_or_else(BigInt::zero);
    if fraction.is_empty() {
        return Rational::from_integer(size);
    }
    Rational::new(size, BigInt::from(10).pow(fraction.len() as u32))
}

/// `0xff`, `0b101`, `0o17`, and digits with letters before a base: `1A_{16}`.
fn prefixed(text: &str) -> Result<Option<Numeral>, Halt> {
    for (prefix, base) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        let Some(rest) = text.strip_prefix(prefix) else { continue };
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if let Some(value) = in_base(&rest[..length], base)? {
            return Ok(Some(Numeral { value, length: length + 2, ambiguous: false, doubtful: false }));
        }
    }
    let run = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let name = &text[..run];
    let letters = name.bytes().filter(u8::is_ascii_alphabetic).count();
    if letters == 0 || !(2..=MAX_DIGITS).contains(&run) {
        return Ok(None);
    }
    let Some((base, length)) = base_mark(&text[run..]) else { return Ok(None) };
    let case = name.bytes().all(|b| !b.is_ascii_lowercase()) || base == 16;
    let value = if base > 10 && case { in_base(name, base)? } else { None };
    Ok(value.map(|value| Numeral { value, length: run + length, ambiguous: false, doubtful: false }))
}

/// `_{16}`, `_16`, `_{(16)}`.
fn base_mark(text: &str) -> Option<(u32, usize)> {
    let rest = text.trim_start_matches(' ').strip_prefix('_')?;
    let inner = rest.trim_start_matches(['{', '(', ' ']);
    let length = digits(inner);
    let base = inner[..length].parse().ok().filter(|base| (2..=36).contains(base))?;
    let after = &inner[length..];
    let closed = after.trim_start_matches(['}', ')', ' ']);
    Some((base, text.len() - if rest.starts_with('{') { closed.len() } else { after.len() }))
}

/// The value of digits in a base; `None` where one of them is not a digit of it.
pub(super) fn in_base(digits: &str, base: u32) -> Result<Option<Rational>, Halt> {
    if digits.len() > MAX_DIGITS {
        return Err(Halt::TooLarge);
    }
    if digits.is_empty() || !(2..=36).contains(&base) || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Ok(None);
    }
    Ok(BigInt::parse_bytes(digits.as_bytes(), base).map(Rational::from_integer))
}
