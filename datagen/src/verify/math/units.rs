//! Units of measure and money: base units, scales as exact fractions, and the spellings of each.

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
    /// `numerator / denominator` of the product of base units.
    Of {
        scale: (i64, i64),
        bases: &'static [(Base, i32)],
    },
    /// pi / 180.
    Degree,
    Radian,
    /// `units`, and words that name what is counted: `apples`.
    Noun(String),
}

impl Unit {
    pub(super) fn scale(scale: (i64, i64)) -> Rational {
        Rational::new(scale.0.into(), scale.1.into())
    }
}

use Base::*;

type Entry = (&'static [&'static str], (i64, i64), &'static [(Base, i32)]);

/// Spellings in lower case (but for those where case tells apart), scale, dimensions.
const TABLE: &[Entry] = &[
    (&["m", "meter", "meters", "metre", "metres"], (1, 1), &[(Metre, 1)]),
    (&["km", "kilometer", "kilometers", "kilometre", "kilometres"], (1000, 1), &[(Metre, 1)]),
    (&["cm", "centimeter", "centimeters", "centimetre", "centimetres"], (1, 100), &[(Metre, 1)]),
    (&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], (1, 1000), &[(Metre, 1)]),
    (&["nm", "nanometer", "nanometers"], (1, 1_000_000_000), &[(Metre, 1)]),
    (&["in", "inch", "inches"], (254, 10_000), &[(Metre, 1)]),
    (&["ft", "foot", "feet"], (3048, 10_000), &[(Metre, 1)]),
    (&["yd", "yds", "yard", "yards"], (9144, 10_000), &[(Metre, 1)]),
    (&["mi", "mile", "miles"], (1_609_344, 1000), &[(Metre, 1)]),
    (&["g", "gram", "grams"], (1, 1), &[(Gram, 1)]),
    (&["kg", "kilogram", "kilograms"], (1000, 1), &[(Gram, 1)]),
    (&["mg", "milligram", "milligrams"], (1, 1000), &[(Gram, 1)]),
    (&["lb", "lbs", "pound", "pounds"], (45_359_237, 100_000), &[(Gram, 1)]),
    (&["oz", "ounce", "ounces"], (45_359_237, 1_600_000), &[(Gram, 1)]),
    (&["tonne", "tonnes"], (1_000_000, 1), &[(Gram, 1)]),
    (&["ton", "tons"], (90_718_474, 100), &[(Gram, 1)]),
    (&["s", "sec", "secs", "second", "seconds"], (1, 1), &[(Second, 1)]),
    (&["ms", "millisecond", "milliseconds"], (1, 1000), &[(Second, 1)]),
    (&["min", "mins", "minute", "minutes"], (60, 1), &[(Second, 1)]),
    (&["h", "hr", "hrs", "hour", "hours"], (3600, 1), &[(Second, 1)]),
    (&["day", "days"], (86_400, 1), &[(Second, 1)]),
    (&["week", "weeks"], (604_800, 1), &[(Second, 1)]),
    // Months and years differ in length; a year is 12 months and neither is a number of days.
    (&["month", "months"], (1, 1), &[(Month, 1)]),
    (&["year", "years", "yr", "yrs"], (12, 1), &[(Month, 1)]),
    (&["decade", "decades"], (120, 1), &[(Month, 1)]),
    (&["century", "centuries"], (1200, 1), &[(Month, 1)]),
    (&["l", "liter", "liters", "litre", "litres"], (1, 1000), &[(Metre, 3)]),
    (&["ml", "milliliter", "milliliters", "millilitre", "millilitres"], (1, 1_000_000), &[(Metre, 3)]),
    (&["gal", "gallon", "gallons"], (3_785_411_784, 1_000_000_000_000), &[(Metre, 3)]),
    (&["quart", "quarts"], (946_352_946, 1_000_000_000_000), &[(Metre, 3)]),
    (&["pint", "pints"], (473_176_473, 1_000_000_000_000), &[(Metre, 3)]),
    (&["acre", "acres"], (40_468_564_224, 10_000_000), &[(Metre, 2)]),
    (&["hectare", "hectares"], (10_000, 1), &[(Metre, 2)]),
    (&["mph"], (1_609_344, 3_600_000), &[(Metre, 1), (Second, -1)]),
    (&["kph", "kmh"], (1000, 3600), &[(Metre, 1), (Second, -1)]),
    (&["hz", "hertz"], (1, 1), &[(Second, -1)]),
    (&["newton", "newtons"], (1000, 1), &[(Gram, 1), (Metre, 1), (Second, -2)]),
    (&["joule", "joules"], (1000, 1), &[(Gram, 1), (Metre, 2), (Second, -2)]),
    (&["kj", "kilojoule", "kilojoules"], (1_000_000, 1), &[(Gram, 1), (Metre, 2), (Second, -2)]),
    (&["watt", "watts"], (1000, 1), &[(Gram, 1), (Metre, 2), (Second, -3)]),
    (&["kw", "kilowatt", "kilowatts"], (1_000_000, 1), &[(Gram, 1), (Metre, 2), (Second, -3)]),
    (&["pascal", "pascals"], (1000, 1), &[(Gram, 1), (Metre, -1), (Second, -2)]),
    (&["volt", "volts"], (1000, 1), &[(Gram, 1), (Metre, 2), (Second, -3), (Ampere, -1)]),
    (&["ohm", "ohms"], (1000, 1), &[(Gram, 1), (Metre, 2), (Second, -3), (Ampere, -2)]),
    (&["amp", "amps", "ampere", "amperes"], (1, 1), &[(Ampere, 1)]),
    (&["K", "kelvin", "kelvins"], (1, 1), &[(Kelvin, 1)]),
    (&["celsius"], (1, 1), &[(Celsius, 1)]),
    (&["fahrenheit"], (1, 1), &[(Fahrenheit, 1)]),
    (&["bit", "bits"], (1, 1), &[(Bit, 1)]),
    (&["byte", "bytes"], (8, 1), &[(Bit, 1)]),
    (&["dollar", "dollars", "usd"], (1, 1), &[(Dollar, 1)]),
    (&["cent", "cents"], (1, 100), &[(Dollar, 1)]),
    (&["euro", "euros", "eur"], (1, 1), &[(Euro, 1)]),
    (&["gbp"], (1, 1), &[(Pound, 1)]),
    (&["p", "pence"], (1, 100), &[(Pound, 1)]),
    (&["yen", "jpy"], (1, 1), &[(Yen, 1)]),
    (&["rupee", "rupees", "inr"], (1, 1), &[(Rupee, 1)]),
];

/// The unit that a word names. Single letters are left out where `letters` is false: `m` may be a variable.
pub(super) fn by_name(word: &str, letters: bool) -> Option<Unit> {
    if word.len() == 1 && !letters || word.len() > 16 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    match lower.as_str() {
        "degree" | "degrees" | "deg" => return Some(Unit::Degree),
        "radian" | "radians" | "rad" => return Some(Unit::Radian),
        "unit" | "units" => return Some(Unit::Noun(String::new())),
        _ => {}
    }
    // Symbols of one letter mean what they mean in one case only: `L` or `l`, but never `M` or `G`.
    let symbol = word.len() == 1 && word != lower && word != "L";
    let word = if symbol { word } else { lower.as_str() };
    let found = TABLE.iter().find(|(names, ..)| names.contains(&word));
    found.map(|&(_, scale, bases)| Unit::Of { scale, bases })
}

impl Unit {
    /// Whether it measures this and nothing else.
    pub(super) fn measures(&self, base: Base) -> bool {
        matches!(self, Self::Of { bases: [(only, 1)], .. } if *only == base)
    }

    /// The unit that the same word names beside another: `pounds` and `cents` beside pounds and euros.
    pub(super) fn beside(&self, other: &Self) -> Option<Self> {
        const POUND_OF_WEIGHT: (i64, i64) = (45_359_237, 100_000);
        let Self::Of { scale, bases } = self else { return None };
        let currency: &'static [(Base, i32)] = match () {
            () if other.measures(Pound) && *scale == POUND_OF_WEIGHT && *bases == [(Gram, 1)] => {
                return Some(Self::Of { scale: (1, 1), bases: &[(Pound, 1)] });
            }
            () if *scale != (1, 100) || !self.measures(Dollar) => return None,
            () if other.measures(Euro) => &[(Euro, 1)],
            () => return None,
        };
        Some(Self::Of { scale: (1, 100), bases: currency })
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

/// The unit of a currency sign.
pub(super) fn by_currency(sign: char) -> Option<Unit> {
    let bases: &'static [(Base, i32)] = match sign {
        '$' => &[(Dollar, 1)],
        '€' => &[(Euro, 1)],
        '£' => &[(Pound, 1)],
        '¥' => &[(Yen, 1)],
        '₹' => &[(Rupee, 1)],
        '¢' => return Some(Unit::Of { scale: (1, 100), bases: &[(Dollar, 1)] }),
        _ => return None,
    };
    Some(Unit::Of { scale: (1, 1), bases })
}
