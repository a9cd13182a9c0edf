//! Exact fractions, on 128-bit integers; arithmetic that would leave their range gives `None`.

use std::fmt;

/// A fraction in lowest terms with a positive denominator, so equal values are equal structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    /// `None` where the denominator is 0.
    pub(super) fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        // Unsigned first: the absolute value of the least i128 is no i128.
        let reduce = |value: i128| i128::try_from(value.unsigned_abs() / divisor).ok();
        let (size, denominator_size) = (reduce(numerator)?, reduce(denominator)?);
        let negative = (numerator < 0) != (denominator < 0);
        Some(Self { numerator: if negative { -size } else { size }, denominator: denominator_size })
    }

    pub(super) fn integer(value: i128) -> Option<Self> {
        Self::new(value, 1)
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    pub(super) fn negate(self) -> Self {
        // The least i128 is never a numerator.
        Self { numerator: -self.numerator, ..self }
    }

    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        Self::new(self.numerator.checked_mul(other.numerator)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// `None` also where `other` is 0.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        Self::new(self.numerator.checked_mul(other.denominator)?, self.denominator.checked_mul(other.numerator)?)
    }

    pub(super) fn is_zero(self) -> bool {
        self.numerator == 0
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

/// Greatest common divisor; `gcd(0, b)` is `b`, so it is 0 only for two zeros.
fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_reduced_and_bounded() {
        assert_eq!(Rational::new(6, -4), Rational::new(-3, 2));
        assert_eq!(Rational::new(0, -7), Rational::integer(0));
        assert_eq!(Rational::new(1, 0), None);
        assert_eq!(Rational::new(i128::MIN, 1), None);
        assert_eq!(Rational::new(i128::MIN, 2), Rational::integer(i128::MIN / 2));
        let third = Rational::new(1, 3).unwrap();
        let half = Rational::new(1, 2).unwrap();
        assert_eq!(third.add(half), Rational::new(5, 6));
        assert_eq!(third.add(half.negate()), Rational::new(-1, 6));
        assert_eq!(third.multiply(half), Rational::new(1, 6));
        assert_eq!(third.divide(half), Rational::new(2, 3));
        assert_eq!(third.divide(half.add(half.negate()).unwrap()), None);
        let huge = Rational::integer(i128::MAX).unwrap();
        assert_eq!(huge.add(half), None);
        assert_eq!(huge.multiply(huge), None);
    }
}
