//! Powers with rational exponents: integers below radicals become products of primes, squares come out, two-term square
//! roots are denested.
//!
//! Names below a radical are taken to be where the radical is real: sqrt(ab) is sqrt(a) sqrt(b), but sqrt(x^2) is |x|.

use super::algebra::{Algebra, Kind, Quotient};
use super::limits::{Exponent, Halt, Rational};
use super::polynomial::{Monomial, Polynomial};
use super::tree::Function;
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{CheckedMul, One, Signed, ToPrimitive, Zero};
use std::cmp::Ordering;

/// Trial divisors; what is left below the square of the last is prime.
const LAST_DIVISOR: u64 = 1 << 15;
/// The highest degree of a radical.
const MAX_DEGREE: i32 = 64;

impl Algebra {
    /// `base ^ exponent` for a rational exponent.
    pub(super) fn power(&self, base: &Quotient, exponent: &Rational) -> Result<Quotient, Halt> {
        if exponent.is_integer() {
            let exponent = exponent.to_integer().to_i64().ok_or(Halt::TooLarge)?;
            let (above, below) = if exponent < 0 { (&base.below, &base.above) } else { (&base.above, &base.below) };
            if above.is_zero() && exponent == 0 || below.is_zero() {
                return Err(Halt::NoValue);
            }
            let size = exponent.checked_abs().ok_or(Halt::TooLarge)?;
            return self.quotient(self.integer_power(above, size)?, self.integer_power(below, size)?);
        }
        let small = |value: &BigInt| value.to_i32().ok_or(Halt::TooLarge);
        let exponent = Exponent::new(small(exponent.numer())?, small(exponent.denom())?);
        if *exponent.denom() > MAX_DEGREE {
            return Err(Halt::TooLarge);
        }
        if base.is_zero() {
            return if exponent.is_positive() { Ok(Quotient::integer(0)) } else { Err(Halt::DivisionByZero) };
        }
        let mut base = base.clone();
        if self.is_constant(&base.below) && self.sign_of(&base.below)? == Some(Ordering::Less) {
            base = Quotient { above: base.above.negated(), below: base.below.negated() };
        }
        let size = exponent.abs();
        let (above, below) = (self.fractional(&base.above, size)?, self.fractional(&base.below, size)?);
        if exponent.is_positive() { self.divide(&above, &below) } else { self.divide(&below, &above) }
    }

    /// A polynomial to a positive fraction.
    fn fractional(&self, base: &Polynomial, exponent: Exponent) -> Result<Quotient, Halt> {
        if let Some((monomial, coefficient)) = base.as_term() {
            let number = self.rational_root(coefficient, exponent)?;
            let rest = self.monomial_root(monomial, exponent)?;
            return self.multiply(&number, &rest);
        }
        let even = exponent.denom().is_even();
        let mut content = base.content();
        if even {
            content = content.abs();
        }
        let common = base.common_monomial();
        let inverse = super::algebra::scale_exponents(&common, -Exponent::one())?;
        let inverse = Polynomial::term(inverse, self.budget.divide(&Rational::one(), &content)?);
        let mut inner = self.product(base, &inverse)?;
        let mut outer = self.rational_root(&content, exponent)?;
        outer = self.multiply(&outer, &self.monomial_root(&common, exponent)?)?;
        if even && self.is_constant(&inner) && self.sign_of(&inner)? == Some(Ordering::Less) {
            inner = inner.negated();
            outer = self.multiply(&outer, &self.rational_root(&-Rational::one(), exponent)?)?;
        }
        if *exponent.denom() == 2
            && let Some(root) = self.denested(&inner)?
        {
            let power = self.power(&root, &Rational::from_integer((*exponent.numer()).into()))?;
            return self.multiply(&outer, &power);
        }
        let generator = self.generator(Kind::Base(inner))?;
        let root = self.reduce(Monomial::of(generator, exponent), Rational::one())?;
        self.multiply(&outer, &Quotient::whole(root))
    }

    /// `value ^ exponent` as a product of powers of primes.
    fn rational_root(&self, value: &Rational, exponent: Exponent) -> Result<Quotient, Halt> {
        let mut result = Quotient::integer(1);
        if value.is_negative() {
            result = match *exponent.denom() {
                odd if odd.is_odd() => Quotient::integer(if exponent.numer().is_odd() { -1 } else { 1 }),
                2 => {
                    let turn = Rational::from_integer((*exponent.numer()).into());
                    self.power(&self.atom(Kind::Imaginary)?, &turn)?
                }
                _ => return Err(Halt::NoValue),
            };
        }
        for (part, inverse) in [(value.numer(), false), (value.denom(), true)] {
            for (factor, times) in self.factors(&part.abs())? {
                let total = exponent.checked_mul(&Exponent::from_integer(times)).ok_or(Halt::TooLarge)?;
                let kind = match factor {
                    Factor::Prime(prime) => Kind::Prime(prime),
                    Factor::Unknown(rest) => Kind::Base(Polynomial::constant(Rational::from_integer(rest))),
                };
                let generator = self.generator(kind)?;
                let power = self.reduce(Monomial::of(generator, total), Rational::one())?;
                let power = Quotient::whole(power);
                result = if inverse { self.divide(&result, &power)? } else { self.multiply(&result, &power)? };
            }
        }
        Ok(result)
    }

    /// Every exponent times `exponent`; an even power below an even root loses its sign.
    fn monomial_root(&self, monomial: &Monomial, exponent: Exponent) -> Result<Quotient, Halt> {
        let mut powers = Vec::new();
        for &(generator, old) in &monomial.0 {
            let new = old.checked_mul(&exponent).ok_or(Halt::TooLarge)?;
            let kind = self.kind(generator);
            let positive = matches!(kind, Kind::Prime(_) | Kind::Pi | Kind::Euler | Kind::Exp(_) | Kind::CosPi(_))
                || matches!(kind, Kind::Unit(_) | Kind::Noun(_) | Kind::Base(_) | Kind::Call(Function::Abs, _));
            let even = |exponent: Exponent| exponent.is_integer() && exponent.to_integer().is_even();
            if kind == Kind::Imaginary || matches!(kind, Kind::Infinity) {
                return Err(Halt::NoValue);
            }
            let loses_sign = !positive && exponent.denom().is_even() && even(old) && !even(new);
            if loses_sign {
                let inner = Polynomial::term(Monomial::of(generator, Exponent::one()), Rational::one());
                let kind = Kind::Call(Function::Abs, vec![Quotient::whole(inner)]);
                powers.push((self.generator(kind)?, new));
            } else {
                powers.push((generator, new));
            }
        }
        powers.sort_unstable();
        Ok(Quotient::whole(self.reduce(Monomial(powers), Rational::one())?))
    }

    /// `sqrt(a + b sqrt(c))` as `sqrt(x) + sqrt(y)`, where x and y are rational.
    fn denested(&self, inner: &Polynomial) -> Result<Option<Quotient>, Halt> {
        let mut terms = inner.0.iter();
        let (Some((one, whole)), Some((radical, coefficient)), None) = (terms.next(), terms.next(), terms.next())
        else {
            return Ok(None);
        };
        if !one.is_one() || !whole.is_positive() {
            return Ok(None);
        }
        let prime = |generator| self.is(generator, |kind| matches!(kind, Kind::Prime(_)));
        if !radical.0.iter().all(|&(generator, _)| prime(generator)) {
            return Ok(None);
        }
        let term = Polynomial::term(radical.clone(), coefficient.clone());
        let Some(square) = self.product(&term, &term)?.as_rational() else { return Ok(None) };
        let Some(root) = square_root(&(self.budget.multiply(whole, whole)? - square)) else { return Ok(None) };
        let half = Rational::new(1.into(), 2.into());
        let root_of = |value: Rational| self.rational_root(&value, Exponent::new(1, 2));
        let (large, small) = (root_of((whole + &root) * &half)?, root_of((whole - &root) * &half)?);
        let sum = if coefficient.is_negative() { self.subtract(&large, &small) } else { self.add(&large, &small) };
        sum.map(Some)
    }

    /// Prime powers of a positive integer; a last factor may stay whole.
    pub(super) fn factors(&self, value: &BigInt) -> Result<Vec<(Factor, i32)>, Halt> {
        let mut left = value.clone();
        let mut factors = Vec::new();
        let mut divisor: u64 = 2;
        while !left.is_one() && divisor < LAST_DIVISOR {
            if let Some(small) = left.to_u64() {
                if divisor * divisor > small {
                    factors.push((Factor::Prime(small), 1));
                    return Ok(factors);
                }
                if !small.is_multiple_of(divisor) {
                    divisor += 1 + divisor % 2;
                    if divisor % 64 == 1 {
                        self.budget.charge(4)?;
                    }
                    continue;
                }
            }
            self.budget.charge(4 + left.bits() / 64)?;
            let mut times = 0;
            loop {
                if !(&left % divisor).is_zero() {
                    break;
                }
                self.budget.charge(1 + left.bits() / 64)?;
                left /= divisor;
                times += 1;
            }
            if times > 0 {
                factors.push((Factor::Prime(divisor), times));
            }
            divisor += 1 + divisor % 2;
        }
        if !left.is_one() {
            let root = left.sqrt();
            let (left, times) = if &root * &root == left { (root, 2) } else { (left, 1) };
            let prime = left.to_u64().filter(|&small| small < LAST_DIVISOR * LAST_DIVISOR);
            factors.push((prime.map_or(Factor::Unknown(left), Factor::Prime), times));
        }
        Ok(factors)
    }
}

pub(super) enum Factor {
    Prime(u64),
    /// Without small divisors, prime or not.
    Unknown(BigInt),
}

/// The rational square root, where there is one.
fn square_root(value: &Rational) -> Option<Rational> {
    if value.is_negative() {
        return None;
    }
    let (above, below) = (value.numer().sqrt(), value.denom().sqrt());
    let root = Rational::new(above, below);
    (&root * &root == *value).then_some(root)
}
