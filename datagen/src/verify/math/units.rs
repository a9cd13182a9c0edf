//! Units of measure and money: base units, scales as exact fractions, and the spellings of each.
//!
//! A symbol means what it means in its own case, behind the prefixes of the SI: `mg` is a milligram, `Mg` a megagram.
//! Where its case makes no sense (`KM`, `Kg`), case is set aside as far as that leaves one meaning. Names have no case.

use super::limits::Rational;

/// What a unit measures in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Base {
    Metre,
    Gram,
    Second,
    /// Of the calendar: no number of seconds.
    Month,
    Ampere,
    Kelvin,
    Mole,
    Celsius,
    Fahrenheit,
    Dollar,
    Euro,
    Pound,
    Yen,
    Rupee,
    Bit,
}

/// A unit as it stands in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many of the product of base units.
    Of {
        scale: Scale,
        bases: &'static [(Base, i32)],
    },
    /// pi / 180.
    Degree,
    Radian,
    /// `units`, and words that name what is counted: `apples`.
    Noun(String),
}

/// `numerator / denominator * 10^zeros`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    numerator: i64,
    denominator: i64,
    zeros: i32,
}

impl Scale {
    const fn new(numerator: i64, denominator: i64, zeros: i32) -> Self {
        Self { numerator, denominator, zeros }
    }

    const fn ten(zeros: i32) -> Self {
        Self::new(1, 1, zeros)
    }

    pub(super) fn value(self) -> Rational {
        let ten = Rational::from_integer(10.into());
        Rational::new(self.numerator.into(), self.denominator.into()) * ten.pow(self.zeros)
    }
}

use Base::*;
use Prefixes::{Always, Maybe, Never};

/// Whether the SI's prefixes stand before a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefixes {
    Never,
    Maybe,
    /// The symbol alone would be taken for something else: `C`, `T`, `B`. The name may stand alone.
    Always,
}

type Dimensions = &'static [(Base, i32)];

/// Symbols, names in lower case, prefixes, scale, dimensions.
type Entry = (&'static [&'static str], &'static [&'static str], Prefixes, Scale, Dimensions);

const ENERGY: Dimensions = &[(Gram, 1), (Metre, 2), (Second, -2)];
const PRESSURE: Dimensions = &[(Gram, 1), (Metre, -1), (Second, -2)];
const SPEED: Dimensions = &[(Metre, 1), (Second, -1)];
const LENGTH: Dimensions = &[(Metre, 1)];
const AREA: Dimensions = &[(Metre, 2)];
const VOLUME: Dimensions = &[(Metre, 3)];
const MASS: Dimensions = &[(Gram, 1)];
const TIME: Dimensions = &[(Second, 1)];
const CALENDAR: Dimensions = &[(Month, 1)];

const POUND_OF_WEIGHT: Scale = Scale::new(45_359_237, 1, -5);
const CENT: Scale = Scale::ten(-2);
const ONE: Scale = Scale::ten(0);

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    (&["m"], &["meter", "meters", "metre", "metres"], Maybe, ONE, LENGTH),
    (&[], &["micron", "microns"], Never, Scale::ten(-6), LENGTH),
    (&["in"], &["inch", "inches"], Never, Scale::new(254, 1, -4), LENGTH),
    (&["ft"], &["foot", "feet"], Never, Scale::new(3048, 1, -4), LENGTH),
    (&["yd", "yds"], &["yard", "yards"], Never, Scale::new(9144, 1, -4), LENGTH),
    (&["mi"], &["mile", "miles"], Never, Scale::new(1_609_344, 1, -3), LENGTH),
    (&["nmi"], &["nautical mile", "nautical miles"], Never, Scale::new(1852, 1, 0), LENGTH),
    (&[], &["furlong", "furlongs"], Never, Scale::new(201_168, 1, -3), LENGTH),
    (&[], &["fathom", "fathoms"], Never, Scale::new(18_288, 1, -4), LENGTH),
    (&["ly"], &["light year", "light years", "lightyear", "lightyears"], Never, Scale::new(9_460_730_472_580_800, 1, 0), LENGTH),
    (&["AU"], &["astronomical unit", "astronomical units"], Never, Scale::new(149_597_870_700, 1, 0), LENGTH),
    (&["g"], &["gram", "grams", "gramme", "grammes"], Maybe, ONE, MASS),
    (&["lb", "lbs"], &["pound", "pounds"], Never, POUND_OF_WEIGHT, MASS),
    (&["oz"], &["ounce", "ounces"], Never, Scale::new(45_359_237, 16, -5), MASS),
    (&[], &["stone", "stones"], Never, Scale::new(14 * 45_359_237, 1, -5), MASS),
    (&[], &["tonne", "tonnes", "metric ton", "metric tons"], Never, Scale::ten(6), MASS),
    (&[], &["ton", "tons"], Never, Scale::new(2000 * 45_359_237, 1, -5), MASS),
    (&[], &["carat", "carats"], Never, Scale::new(2, 1, -1), MASS),
    (&["s"], &["sec", "secs", "second", "seconds"], Maybe, ONE, TIME),
    (&["min", "mins"], &["minute", "minutes"], Never, Scale::new(60, 1, 0), TIME),
    (&["h", "hr", "hrs"], &["hour", "hours"], Never, Scale::new(3600, 1, 0), TIME),
    (&[], &["day", "days"], Never, Scale::new(86_400, 1, 0), TIME),
    (&[], &["week", "weeks"], Never, Scale::new(604_800, 1, 0), TIME),
    (&[], &["fortnight", "fortnights"], Never, Scale::new(1_209_600, 1, 0), TIME),
    // Months and years differ in length; a year is 12 months and neither is a number of days.
    (&[], &["month", "months"], Never, ONE, CALENDAR),
    (&["yr", "yrs"], &["year", "years"], Never, Scale::new(12, 1, 0), CALENDAR),
    (&[], &["decade", "decades"], Never, Scale::new(120, 1, 0), CALENDAR),
    (&[], &["century", "centuries"], Never, Scale::new(1200, 1, 0), CALENDAR),
    (&[], &["millennium", "millennia"], Never, Scale::new(12_000, 1, 0), CALENDAR),
    (&["l", "L"], &["liter", "liters", "litre", "litres"], Maybe, Scale::ten(-3), VOLUME),
    (&["cc"], &[], Never, Scale::ten(-6), VOLUME),
    (&["gal"], &["gallon", "gallons"], Never, Scale::new(3_785_411_784, 1, -12), VOLUME),
    (&["qt"], &["quart", "quarts"], Never, Scale::new(946_352_946, 1, -12), VOLUME),
    (&[], &["pint", "pints"], Never, Scale::new(473_176_473, 1, -12), VOLUME),
    (&[], &["cup", "cups"], Never, Scale::new(473_176_473, 2, -12), VOLUME),
    (&["fl oz"], &["fluid ounce", "fluid ounces"], Never, Scale::new(473_176_473, 16, -12), VOLUME),
    (&["tbsp"], &["tablespoon", "tablespoons"], Never, Scale::new(473_176_473, 32, -12), VOLUME),
    (&["tsp"], &["teaspoon", "teaspoons"], Never, Scale::new(473_176_473, 96, -12), VOLUME),
    (&["acre", "acres"], &[], Never, Scale::new(40_468_564_224, 1, -7), AREA),
    (&["ha"], &["hectare", "hectares"], Never, Scale::ten(4), AREA),
    (&["mph"], &[], Never, Scale::new(1_609_344, 3600, -3), SPEED),
    (&["kph", "kmh"], &[], Never, Scale::new(1000, 3600, 0), SPEED),
    (&[], &["knot", "knots"], Never, Scale::new(1852, 3600, 0), SPEED),
    (&["Hz"], &["hertz"], Maybe, ONE, &[(Second, -1)]),
    (&["N"], &["newton", "newtons"], Maybe, Scale::ten(3), &[(Gram, 1), (Metre, 1), (Second, -2)]),
    (&["J"], &["joule", "joules"], Maybe, Scale::ten(3), ENERGY),
    (&["cal"], &["calorie", "calories"], Maybe, Scale::new(4184, 1, 0), ENERGY),
    (&["Wh"], &["watt hour", "watt hours"], Maybe, Scale::new(3600, 1, 3), ENERGY),
    (&["eV"], &["electronvolt", "electronvolts", "electron volt", "electron volts"], Maybe, Scale::new(1_602_176_634, 1, -25), ENERGY),
    (&["W"], &["watt", "watts"], Maybe, Scale::ten(3), &[(Gram, 1), (Metre, 2), (Second, -3)]),
    (&["Pa"], &["pascal", "pascals"], Maybe, Scale::ten(3), PRESSURE),
    (&["bar"], &[], Maybe, Scale::ten(8), PRESSURE),
    (&["atm"], &["atmosphere", "atmospheres"], Never, Scale::new(101_325, 1, 3), PRESSURE),
    (&["V"], &["volt", "volts"], Maybe, Scale::ten(3), &[(Gram, 1), (Metre, 2), (Second, -3), (Ampere, -1)]),
    (&["Ω", "\u{2126}"], &["ohm", "ohms"], Maybe, Scale::ten(3), &[(Gram, 1), (Metre, 2), (Second, -3), (Ampere, -2)]),
    (&["A"], &["amp", "amps", "ampere", "amperes"], Maybe, ONE, &[(Ampere, 1)]),
    (&["C"], &["coulomb", "coulombs"], Always, ONE, &[(Ampere, 1), (Second, 1)]),
    (&["F"], &["farad", "farads"], Always, Scale::ten(-3), &[(Gram, -1), (Metre, -2), (Second, 4), (Ampere, 2)]),
    (&["H"], &["henry", "henrys", "henries"], Always, Scale::ten(3), &[(Gram, 1), (Metre, 2), (Second, -2), (Ampere, -2)]),
    (&["T"], &["tesla", "teslas"], Always, Scale::ten(3), &[(Gram, 1), (Second, -2), (Ampere, -1)]),
    (&["K"], &["kelvin", "kelvins"], Maybe, ONE, &[(Kelvin, 1)]),
    (&["mol"], &["mole", "moles"], Maybe, ONE, &[(Mole, 1)]),
    (&[], &["celsius"], Never, ONE, &[(Celsius, 1)]),
    (&[], &["fahrenheit"], Never, ONE, &[(Fahrenheit, 1)]),
    (&["b"], &["bit", "bits"], Always, ONE, &[(Bit, 1)]),
    (&["B"], &["byte", "bytes"], Always, Scale::new(8, 1, 0), &[(Bit, 1)]),
    (&["KB"], &[], Never, Scale::new(8, 1, 3), &[(Bit, 1)]),
    (&[], &["dollar", "dollars", "usd"], Never, ONE, &[(Dollar, 1)]),
    (&[], &["cent", "cents"], Never, CENT, &[(Dollar, 1)]),
    (&[], &["euro", "euros", "eur"], Never, ONE, &[(Euro, 1)]),
    (&[], &["gbp"], Never, ONE, &[(Pound, 1)]),
    (&["p"], &["pence"], Never, CENT, &[(Pound, 1)]),
    (&[], &["yen", "jpy"], Never, ONE, &[(Yen, 1)]),
    (&[], &["rupee", "rupees", "inr"], Never, ONE, &[(Rupee, 1)]),
];

/// Symbol, name, power of ten.
#[rustfmt::skip]
const PREFIXES: [(&str, &str, i32); 17] = [
    ("P", "peta", 15), ("T", "tera", 12), ("G", "giga", 9), ("M", "mega", 6), ("k", "kilo", 3), ("h", "hecto", 2),
    ("da", "deca", 1), ("d", "deci", -1), ("c", "centi", -2), ("m", "milli", -3), ("µ", "micro", -6), ("μ", "micro", -6),
    ("u", "micro", -6), ("n", "nano", -9), ("p", "pico", -12), ("f", "femto", -15), ("da", "deka", 1),
];

/// Symbols of two small letters that no product of two letters is taken for.
const JOINED: [&str; 8] = ["km", "cm", "mm", "nm", "kg", "mg", "ms", "ml"];

/// Longer than any name.
const LONGEST: usize = 24;

/// The unit that a word names, or two words with a space between them. Single letters, and pairs of small letters that
/// may be two, are left out where `letters` is false: `m` may be a variable.
pub(super) fn by_name(word: &str, letters: bool) -> Option<Unit> {
    if word.len() == 1 && !letters || word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    match lower.as_str() {
        "degree" | "degrees" | "deg" => return Some(Unit::Degree),
        "radian" | "radians" | "rad" => return Some(Unit::Radian),
        "unit" | "units" => return Some(Unit::Noun(String::new())),
        _ => {}
    }
    let found = symbol(word, letters).or_else(|| name(&lower)).or_else(|| caseless(&lower))?;
    let (scale, bases) = found;
    Some(Unit::Of { scale, bases })
}

/// A symbol as it is written.
fn symbol(word: &str, letters: bool) -> Option<(Scale, Dimensions)> {
    let plain = TABLE.iter().find(|(symbols, _, prefixes, ..)| *prefixes != Always && symbols.contains(&word));
    if let Some(&(.., scale, bases)) = plain {
        return Some((scale, bases));
    }
    let pair = word.len() == 2 && word.bytes().all(|letter| letter.is_ascii_lowercase());
    if pair && !letters && !JOINED.contains(&word) {
        return None;
    }
    PREFIXES.iter().find_map(|&(prefix, _, zeros)| {
        let rest = word.strip_prefix(prefix)?;
        prefixed(zeros, |(symbols, ..)| symbols.contains(&rest))
    })
}

/// A name in lower case.
fn name(lower: &str) -> Option<(Scale, Dimensions)> {
    if let Some(&(.., scale, bases)) = TABLE.iter().find(|(_, names, ..)| names.contains(&lower)) {
        return Some((scale, bases));
    }
    PREFIXES.iter().find_map(|&(_, prefix, zeros)| {
        let rest = lower.strip_prefix(prefix)?;
        prefixed(zeros, |(_, names, ..)| names.contains(&rest))
    })
}

/// A symbol in the wrong case. Two meanings are none: `mhz` may be thousandths and millions.
fn caseless(lower: &str) -> Option<(Scale, Dimensions)> {
    let alike = |symbol: &&str| symbol.len() > 1 && symbol.to_lowercase() == lower;
    let mut plain = TABLE.iter().filter(|(symbols, _, prefixes, ..)| *prefixes != Always && symbols.iter().any(alike));
    if let Some(&(.., scale, bases)) = plain.next() {
        return Some((scale, bases));
    }
    [("k", 3), ("c", -2), ("m", -3)].into_iter().find_map(|(prefix, zeros)| {
        let rest = lower.strip_prefix(prefix)?;
        let small = ["m", "g", "l", "s"].contains(&rest);
        let large = prefix == "k" && (rest.len() > 1 || ["j", "w"].contains(&rest));
        prefixed(zeros, |(symbols, _, prefixes, ..)| {
            *prefixes == Maybe
                && (small && symbols.contains(&rest)
                    || large && symbols.iter().any(|symbol| symbol.to_lowercase() == rest))
        })
    })
}

fn prefixed(zeros: i32, is: impl Fn(&Entry) -> bool) -> Option<(Scale, Dimensions)> {
    let (.., scale, bases) = TABLE.iter().filter(|(_, _, prefixes, ..)| *prefixes != Never).find(|entry| is(entry))?;
    Some((Scale { zeros: scale.zeros + zeros, ..*scale }, bases))
}

impl Unit {
    /// Whether it measures this and nothing else.
    pub(super) fn measures(&self, base: Base) -> bool {
        matches!(self, Self::Of { bases: [(only, 1)], .. } if *only == base)
    }

    /// How many of another unit it is, where both measure the same.
    pub(super) fn in_units_of(&self, other: &Self) -> Option<Rational> {
        match (self, other) {
            (Self::Of { scale, bases }, Self::Of { scale: unit, bases: of }) if bases == of => {
                Some(scale.value() / unit.value())
            }
            _ => None,
        }
    }

    /// The unit that the same word names beside another: `pounds` and `cents` beside pounds and euros.
    pub(super) fn beside(&self, other: &Self) -> Option<Self> {
        let Self::Of { scale, bases } = self else { return None };
        let currency: &'static [(Base, i32)] = match () {
            () if other.measures(Pound) && *scale == POUND_OF_WEIGHT && *bases == [(Gram, 1)] => {
                return Some(Self::Of { scale: ONE, bases: &[(Pound, 1)] });
            }
            () if *scale != CENT || !self.measures(Dollar) => return None,
            () if other.measures(Euro) => &[(Euro, 1)],
            () => return None,
        };
        Some(Self::Of { scale: CENT, bases: currency })
    }
}

/// Whether one of two units is of the calendar and the other of the clock: how long a month is depends on the month.
pub(super) fn calendar_and_clock(one: &Unit, other: &Unit) -> bool {
    one.measures(Base::Month) && other.measures(Base::Second)
        || one.measures(Base::Second) && other.measures(Base::Month)
}

/// Whether a unit is a scale of temperature, on which zero is somewhere else than on another.
pub(super) fn is_temperature(unit: &Unit) -> bool {
    [Base::Celsius, Base::Fahrenheit, Base::Kelvin].into_iter().any(|base| unit.measures(base))
}

/// The currency that a code before an amount names: `USD 12`, `Rs 12`.
pub(super) fn by_code(word: &str) -> Option<Unit> {
    let sign = match word {
        "USD" => '$',
        "EUR" => '€',
        "GBP" => '£',
        "JPY" => '¥',
        "INR" | "Rs" => '₹',
        _ => return None,
    };
    by_currency(sign)
}

/// The unit of a currency sign.
pub(super) fn by_currency(sign: char) -> Option<Unit> {
    let bases: &'static [(Base, i32)] = match sign {
        '$' => &[(Dollar, 1)],
        '€' => &[(Euro, 1)],
        '£' => &[(Pound, 1)],
        '¥' => &[(Yen, 1)],
        '₹' => &[(Rupee, 1)],
        '¢' => return Some(Unit::Of { scale: CENT, bases: &[(Dollar, 1)] }),
        _ => return None,
    };
    Some(Unit::Of { scale: ONE, bases })
}
