//! Real intervals with binary floating ends, rounded outwards: what is true of every point in one is proven.

use super::limits::{Budget, Halt, Rational};
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{One, Signed, Zero};
use std::cmp::Ordering;

/// Exponents beyond this mean sizes that no answer has; it also bounds how far two numbers are shifted to meet.
const MAX_EXPONENT: i64 = 1 << 17;

/// `mantissa * 2^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Float {
    mantissa: BigInt,
    exponent: i64,
}

impl Float {
    fn new(mantissa: BigInt, exponent: i64) -> Self {
        Self { mantissa, exponent }
    }

    /// At most `bits` bits, towards minus infinity or plus infinity.
    fn round(self, bits: u32, up: bool) -> Result<Self, Halt> {
        let extra = self.mantissa.bits().saturating_sub(bits.into());
        let exponent = self.exponent + extra as i64;
        if self.mantissa.is_zero() {
            return Ok(Self::new(BigInt::zero(), 0));
        }
        if exponent.abs() > MAX_EXPONENT {
            return Err(Halt::TooLarge);
        }
        // A right shift of a big integer rounds down; the negative of the negative rounds up.
        let mantissa = if up { -(-self.mantissa >> extra) } else { self.mantissa >> extra };
        Ok(Self::new(mantissa, exponent))
    }

    fn plus(&self, other: &Self) -> Self {
        let low = self.exponent.min(other.exponent);
        let at = |float: &Self| &float.mantissa << (float.exponent - low) as usize;
        Self::new(at(self) + at(other), low)
    }

    fn times(&self, other: &Self) -> Self {
        Self::new(&self.mantissa * &other.mantissa, self.exponent + other.exponent)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.plus(&Self::new(-&other.mantissa, other.exponent)).mantissa.cmp(&BigInt::zero())
    }

    fn negated(self) -> Self {
        Self::new(-self.mantissa, self.exponent)
    }

    /// The position of the highest bit: the size lies between `2^(magnitude - 1)` and `2^magnitude`.
    fn magnitude(&self) -> i64 {
        if self.mantissa.is_zero() { i64::MIN / 2 } else { self.mantissa.bits() as i64 + self.exponent }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Interval {
    low: Float,
    high: Float,
}

/// The precision of a computation and what pays for it.
#[derive(Clone, Copy)]
pub(super) struct Precision<'a> {
    pub(super) bits: u32,
    pub(super) budget: &'a Budget,
}

impl Precision<'_> {
    pub(super) fn with(self, bits: u32) -> Self {
        Self { bits, ..self }
    }

    fn pay(self) -> Result<(), Halt> {
        // Four words for what every operation on big integers costs besides.
        let words = u64::from(self.bits / 64 + 4);
        self.budget.charge(words * words)
    }
}

impl Interval {
    pub(super) fn integer(value: i64) -> Self {
        let float = Float::new(value.into(), 0);
        Self { low: float.clone(), high: float }
    }

    /// `[-2^exponent, 2^exponent]`
    pub(super) fn around_zero(exponent: i64) -> Self {
        // A wider interval is as true, and cheaper than a sum over many thousand bits.
        let size = Float::new(BigInt::one(), exponent.max(-MAX_EXPONENT / 8));
        Self { low: size.clone().negated(), high: size }
    }

    pub(super) fn rational(value: &Rational, at: Precision) -> Result<Self, Halt> {
        let ends = |whole: &BigInt| Float::new(whole.clone(), 0);
        let above = Self { low: ends(value.numer()), high: ends(value.numer()) };
        if value.is_integer() {
            return above.rounded(at);
        }
        above.divide(&Self { low: ends(value.denom()), high: ends(value.denom()) }, at)
    }

    fn rounded(self, at: Precision) -> Result<Self, Halt> {
        at.pay()?;
        Ok(Self { low: self.low.round(at.bits, false)?, high: self.high.round(at.bits, true)? })
    }

    /// The sign of every point, where it is one and the same.
    pub(super) fn sign(&self) -> Option<Ordering> {
        match (self.low.mantissa.sign(), self.high.mantissa.sign()) {
            (Sign::Plus, _) => Some(Ordering::Greater),
            (_, Sign::Minus) => Some(Ordering::Less),
            (Sign::NoSign, Sign::NoSign) => Some(Ordering::Equal),
            _ => None,
        }
    }

    /// An exponent with every point within `2^exponent` of zero.
    pub(super) fn magnitude(&self) -> i64 {
        self.low.magnitude().max(self.high.magnitude())
    }

    /// The integer part that all points share.
    pub(super) fn floor(&self) -> Option<BigInt> {
        let floor = |float: &Float| {
            let Float { mantissa, exponent } = float.clone();
            if exponent >= 0 { mantissa << exponent as usize } else { mantissa >> exponent.unsigned_abs() as usize }
        };
        let (low, high) = (floor(&self.low), floor(&self.high));
        (low == high).then_some(low)
    }

    pub(super) fn negated(self) -> Self {
        Self { low: self.high.negated(), high: self.low.negated() }
    }

    pub(super) fn plus(&self, other: &Self, at: Precision) -> Result<Self, Halt> {
        Self { low: self.low.plus(&other.low), high: self.high.plus(&other.high) }.rounded(at)
    }

    pub(super) fn minus(&self, other: &Self, at: Precision) -> Result<Self, Halt> {
        self.plus(&other.clone().negated(), at)
    }

    pub(super) fn times(&self, other: &Self, at: Precision) -> Result<Self, Halt> {
        let corners = [
            self.low.times(&other.low),
            self.low.times(&other.high),
            self.high.times(&other.low),
            self.high.times(&other.high),
        ];
        Self::hull(corners).rounded(at)
    }

    /// The square, which is never negative.
    pub(super) fn square(&self, at: Precision) -> Result<Self, Halt> {
        let mut square = self.times(self, at)?;
        if square.low.mantissa.is_negative() {
            square.low = Float::new(BigInt::zero(), 0);
        }
        Ok(square)
    }

    fn hull(corners: [Float; 4]) -> Self {
        let [first, rest @ ..] = corners;
        let (mut low, mut high) = (first.clone(), first);
        for corner in rest {
            if corner.compare(&low) == Ordering::Less {
                low = corner;
            } else if corner.compare(&high) == Ordering::Greater {
                high = corner;
            }
        }
        Self { low, high }
    }

    /// Exact multiplication by `2^exponent`.
    pub(super) fn shifted(mut self, exponent: i64) -> Self {
        self.low.exponent += exponent;
        self.high.exponent += exponent;
        self
    }

    /// No value while the divisor may be zero.
    pub(super) fn divide(&self, other: &Self, at: Precision) -> Result<Self, Halt> {
        if matches!(other.sign(), None | Some(Ordering::Equal)) {
            return Err(Halt::NoValue);
        }
        at.pay()?;
        let ratio = |a: &Float, b: &Float, up: bool| {
            let shift = (i64::from(at.bits) + b.mantissa.bits() as i64 - a.mantissa.bits() as i64).max(0);
            let above = &a.mantissa << shift as usize;
            let quotient = if up { above.div_ceil(&b.mantissa) } else { above.div_floor(&b.mantissa) };
            Float::new(quotient, a.exponent - b.exponent - shift)
        };
        let pairs =
            [(&self.low, &other.low), (&self.low, &other.high), (&self.high, &other.low), (&self.high, &other.high)];
        let low = Self::hull(pairs.map(|(a, b)| ratio(a, b, false))).low;
        let high = Self::hull(pairs.map(|(a, b)| ratio(a, b, true))).high;
        Self { low, high }.rounded(at)
    }

    pub(super) fn power(&self, exponent: u32, at: Precision) -> Result<Self, Halt> {
        let mut result = Self::integer(1);
        let mut square = self.clone();
        let mut left = exponent;
        while left > 0 {
            if left % 2 == 1 {
                result = result.times(&square, at)?;
            }
            left /= 2;
            if left > 0 {
                square = square.square(at)?;
            }
        }
        Ok(result)
    }

    /// The real root; no value where an even root of a negative number may be asked for.
    pub(super) fn root(&self, degree: u32, at: Precision) -> Result<Self, Halt> {
        if degree == 0 || degree > 64 || degree.is_even() && self.low.mantissa.is_negative() {
            return Err(Halt::NoValue);
        }
        at.pay()?;
        at.budget.charge(u64::from(degree) * u64::from(at.bits / 64 + 1))?;
        let end = |float: &Float, up: bool| {
            let wanted = i64::from(at.bits) * i64::from(degree);
            let mut shift = (wanted - float.mantissa.bits() as i64).max(0);
            shift += (float.exponent - shift).rem_euclid(i64::from(degree));
            let scaled = &float.mantissa << shift as usize;
            let root = scaled.nth_root(degree);
            // `nth_root` rounds towards zero.
            let exact = root.pow(degree) == scaled;
            let root = match (exact, up, scaled.is_negative()) {
                (true, ..) | (_, false, false) | (_, true, true) => root,
                (false, true, false) => root + 1,
                (false, false, true) => root - 1,
            };
            Float::new(root, (float.exponent - shift) / i64::from(degree))
        };
        Self { low: end(&self.low, false), high: end(&self.high, true) }.rounded(at)
    }
}
