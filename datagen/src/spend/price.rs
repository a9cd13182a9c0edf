//! What tokens cost: a table that the user writes, because prices change and nobody else knows his contract.
//!
//! ```toml
//! currency = "USD"
//!
//! [[price]]
//! model = "deepseek-reasoner"
//! input = 0.55                # per million tokens
//! cached_input = 0.14         # of those read from a cache; without it, as `input`
//! output = 2.19
//! from = "2026-08-16"         # optional: the first day, and `until` the last, in UTC
//! hours = ["01:00-04:00"]     # optional: UTC; without it, the whole day
//! days = ["mon", "tue"]       # optional: without it, the whole week
//! ```
//!
//! Where several entries hold, the dearest counts; before a request it is the dearest that may still hold at its end.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in millionths of a millionth of the currency: the price of one token at one unit per million, and a
/// millionth of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub u64);

const UNIT: f64 = 1e12;

impl Money {
    /// `amount` units of the currency; `None` for what is no amount (negative, not finite, above a million).
    pub fn of(amount: f64) -> Option<Self> {
        (0.0..=1e6).contains(&amount).then(|| Self((amount * UNIT).round() as u64))
    }

    pub fn units(self) -> f64 {
        self.0 as f64 / UNIT
    }

    /// Sums stop at the top instead of wrapping: too much is too much.
    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Money {
    /// Four digits after the point, more where the amount is small.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units();
        let digits =
            if units == 0.0 || units >= 0.01 { 4 } else { (3 - units.log10().floor() as i32).min(12) as usize };
        write!(f, "{units:.digits$}")
    }
}

/// Prices per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rate {
    input: u64,
    cached_input: u64,
    output: u64,
}

impl Rate {
    fn dearer(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cached_input: self.cached_input.max(other.cached_input),
            output: self.output.max(other.output),
        }
    }

    /// What so many tokens cost.
    pub(super) fn cost(self, input: u64, cached: u64, output: u64) -> Money {
        let part = |price: u64, tokens: u64| Money(price.saturating_mul(tokens));
        part(self.input, input).plus(part(self.cached_input, cached)).plus(part(self.output, output))
    }

    /// The most that so many tokens can cost, whether they come from a cache or not.
    pub(super) fn most(self, input: u64, output: u64) -> Money {
        Self { input: self.input.max(self.cached_input), ..self }.cost(input, 0, output)
    }
}

/// A table of prices.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    pub currency: String,
    #[serde(rename = "price")]
    prices: Vec<Price>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    model: String,
    input: PerMillion,
    cached_input: Option<PerMillion>,
    output: PerMillion,
    #[serde(default)]
    from: Option<Day>,
    #[serde(default)]
    until: Option<Day>,
    #[serde(default)]
    hours: Vec<Hours>,
    #[serde(default)]
    days: Vec<Weekday>,
}

/// A price per million tokens, kept as [`Money`] per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
struct PerMillion(u64);

impl TryFrom<f64> for PerMillion {
    type Error = String;
    fn try_from(price: f64) -> Result<Self, String> {
        let money =
            Money::of(price).ok_or_else(|| format!("{price} is no price: it takes a number from 0 to 1000000"))?;
        // A fraction of the smallest unit is rounded against the user's purse, not against the limit.
        Ok(Self(money.0.div_ceil(1_000_000)))
    }
}

/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Day(i64);

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let fault = || format!("`{text}` is no day; write it as `2026-08-16`");
        let parts: Vec<i64> = text.split('-').map_while(|part| part.parse().ok()).collect();
        let [year, month, day] = parts[..] else { return Err(fault()) };
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(fault());
        }
        Ok(Self(days_from_civil(year, month, day)))
    }
}

/// Days from 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"; years from 0).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Minutes of the day, the end not included; a span that ends before it begins goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Hours {
    begin: u64,
    end: u64,
}

impl TryFrom<String> for Hours {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let minutes = |part: &str| -> Option<u64> {
            let (hours, minutes) = part.trim().split_once(':')?;
            let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
            (minutes < 60 && hours * 60 + minutes <= 1440).then_some(hours * 60 + minutes)
        };
        let span = text.split_once('-').and_then(|(begin, end)| Some((minutes(begin)?, minutes(end)?)));
        let (begin, end) = span.ok_or_else(|| format!("`{text}` is no span of hours; write it as `01:00-04:00`"))?;
        Ok(Self { begin, end })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Price {
    fn rate(&self) -> Rate {
        let Self { input, cached_input, output, .. } = self;
        Rate { input: input.0, cached_input: cached_input.unwrap_or(*input).0, output: output.0 }
    }

    /// Whether it holds in a minute, counted from 1970.
    fn holds(&self, minute: u64) -> bool {
        let (day, of_day) = ((minute / 1440) as i64, minute % 1440);
        let within = |hours: &Hours| match hours.begin <= hours.end {
            true => (hours.begin..hours.end).contains(&of_day),
            false => of_day >= hours.begin || of_day < hours.end,
        };
        self.from.is_none_or(|from| day >= from.0)
            && self.until.is_none_or(|until| day <= until.0)
            && (self.hours.is_empty() || self.hours.iter().any(within))
            // 1970-01-01 was a Thursday.
            && (self.days.is_empty() || self.days.iter().any(|weekday| *weekday as i64 == (day + 3) % 7))
    }
}

/// No request takes longer, so no longer span of time is looked at minute by minute.
const LONGEST_MINUTES: u64 = 8 * 24 * 60;

impl PriceTable {
    /// The models with a price.
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = self.prices.iter().map(|price| price.model.as_str()).collect();
        models.sort_unstable();
        models.dedup();
        models
    }

    fn of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a Price> {
        self.prices.iter().filter(move |price| price.model == model)
    }

    fn dearest<'a>(prices: impl Iterator<Item = &'a Price>) -> Option<Rate> {
        prices.map(Price::rate).reduce(Rate::dearer)
    }

    /// The dearest rate that ever held for a model; `None` for one without a price.
    pub(super) fn ever(&self, model: &str) -> Option<Rate> {
        Self::dearest(self.of(model))
    }

    /// Whether the last price of a model ended before `at` (seconds since 1970).
    pub(super) fn has_expired(&self, model: &str, at: u64) -> bool {
        let day = (at / 86_400) as i64;
        self.of(model).all(|price| price.until.is_some_and(|until| until.0 < day))
    }

    /// The dearest rate that a request sent at `at` (seconds since 1970) can come to; `None` for a model without a price.
    pub(super) fn worst(&self, model: &str, at: u64) -> Option<Rate> {
        let day = (at / 86_400) as i64;
        let current = self.of(model).filter(|price| price.until.is_none_or(|until| day <= until.0));
        Self::dearest(current).or_else(|| self.ever(model))
    }

    /// The rate of a request that ran from `begin` to `end`: the dearest that held at any time between.
    pub(super) fn between(&self, model: &str, begin: u64, end: u64) -> Option<Rate> {
        let (begin, end) = (begin / 60, end.max(begin) / 60);
        if end - begin > LONGEST_MINUTES {
            return self.worst(model, begin * 60);
        }
        let held = self.of(model).filter(|price| (begin..=end).any(|minute| price.holds(minute)));
        Self::dearest(held).or_else(|| self.worst(model, begin * 60))
    }
}
