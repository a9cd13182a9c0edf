//! Numbers in English words: `twenty-one`, `one hundred and five`, `three quarters`, `two and a half`.

use super::limits::Rational;
use num_bigint::BigInt;
use num_traits::Zero;

/// Names of numbers up to ninety-nine.
pub(super) fn spelled(word: &str) -> Option<i64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let find = |names: &[&str], word: &str| names.iter().position(|name| *name == word).map(|at| at as i64);
    let tens = |word: &str| find(&TENS, word).map(|at| (at + 2) * 10);
    if let Some((ten, unit)) = word.split_once(['-', ' ']) {
        return Some(tens(ten)? + find(&SMALL, unit).filter(|unit| (1..10).contains(unit))?);
    }
    find(&SMALL, word).or_else(|| tens(word))
}

/// `million` and its kin.
pub(super) fn multiplier(word: &str) -> Option<Rational> {
    let zeros = match word {
        "hundred" => 2,
        "thousand" => 3,
        "lakh" => 5,
        "million" => 6,
        "crore" => 7,
        "billion" => 9,
        "trillion" => 12,
        _ => return None,
    };
    Some(Rational::from_integer(BigInt::from(10).pow(zeros)))
}

/// What `halves`, `thirds`, `hundredths` divide by, and whether the word says that there are several: `twenty-third` is
/// an ordinal, and `one third` is a part.
pub(super) fn part(word: &str) -> Option<(i64, bool)> {
    const FROM_THIRD: [&str; 10] =
        ["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"];
    let several = word.ends_with('s');
    let divisor = match word.strip_suffix('s').unwrap_or(word) {
        "half" | "halve" => 2,
        "quarter" => 4,
        "twentieth" => 20,
        "hundredth" => 100,
        "thousandth" => 1000,
        "millionth" => 1_000_000,
        "billionth" => 1_000_000_000,
        one => FROM_THIRD.iter().position(|name| *name == one)? as i64 + 3,
    };
    (!matches!(word, "halve" | "halfs")).then_some((divisor, several || word == "halves"))
}

/// The number at the start of `words`, and how many of them it takes.
pub(super) fn number(words: &[&str]) -> Option<(Rational, usize)> {
    let article = words.first() == Some(&"a");
    let (whole, length) = match words {
        ["half", ..] => return Some((Rational::new(1.into(), 2.into()), 1)),
        ["a", scale, ..] if multiplier(scale).is_some() => cardinal(&[&["one"], &words[1..]].concat())?,
        ["a", ..] => (Rational::from_integer(1.into()), 1),
        _ => cardinal(words)?,
    };
    let one = whole == Rational::from_integer(1.into());
    let fraction = |at: usize, count: &Rational| {
        let (divisor, several) = words.get(at).and_then(|word| part(word))?;
        let single = *count == Rational::from_integer(1.into());
        (several || single).then(|| count / Rational::from_integer(divisor.into()))
    };
    if let Some(value) = fraction(length, &whole) {
        return Some((value, length + 1));
    }
    if article && length == 1 && one {
        return None;
    }
    // `two and a half`, `three and three quarters`
    if words.get(length) == Some(&"and") {
        let (count, taken) = match words.get(length + 1..)? {
            ["a", ..] => (Rational::from_integer(1.into()), 1),
            rest => cardinal(rest).unwrap_or_default(),
        };
        let below_one = |value: &Rational| *value < Rational::from_integer(1.into());
        if taken > 0
            && let Some(value) = fraction(length + 1 + taken, &count).filter(below_one)
        {
            return Some((whole + value, length + 2 + taken));
        }
    }
    Some((whole, length))
}

/// `one thousand two hundred and thirty four`: value and words.
fn cardinal(words: &[&str]) -> Option<(Rational, usize)> {
    let (mut total, mut group, mut at) = (Rational::zero(), 0i64, 0);
    let mut scale: Option<Rational> = None;
    let mut hundreds = false;
    while let Some(word) = words.get(at) {
        if let Some(value) = spelled(word) {
            let free = match value {
                0 => at == 0,
                1..10 => group % 10 == 0 && group % 100 != 10,
                _ => group % 100 == 0,
            };
            if !free || at > 0 && words[0] == "zero" {
                break;
            }
            group += value;
        } else if *word == "hundred" && group > 0 && !hundreds {
            (group, hundreds) = (group * 100, true);
        } else if let Some(next) = multiplier(word).filter(|_| *word != "hundred" && group > 0)
            && scale.as_ref().is_none_or(|scale| next < *scale)
        {
            total += Rational::from_integer(group.into()) * &next;
            (group, hundreds, scale) = (0, false, Some(next));
        } else if *word == "and"
            && words.get(at.wrapping_sub(1)).is_some_and(|before| multiplier(before).is_some())
            && words.get(at + 1).is_some_and(|next| spelled(next).is_some_and(|value| value > 0))
            && words.get(at + 2).is_none_or(|after| part(after).is_none())
        {
        } else {
            break;
        }
        at += 1;
    }
    (at > 0).then(|| (total + Rational::from_integer(group.into()), at))
}
