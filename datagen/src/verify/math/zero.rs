//! Whether an exact expression is zero: proven, refuted, or neither.
//!
//! The canonical form decides alone where its generators are independent. Else every coefficient is looked at as a
//! number: an interval without zero refutes; an algebraic number that is smaller than its separation bound (after
//! Burnikel, Funke, Mehlhorn, Schirra and Schmitt) is zero. Names inside functions are tried at rational points, which
//! can refute and never prove.

use super::algebra::{Algebra, Kind, Quotient};
use super::evaluate::Point;
use super::interval::Precision;
use super::limits::{FIRST_PRECISION, Halt, LAST_ALGEBRAIC_PRECISION, LAST_PRECISION};
use super::polynomial::{Generator, Monomial, Polynomial};
use super::trigonometry::cosine_degree;
use num_integer::Integer;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Points at which names are tried.
const POINTS: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Yes,
    No,
    Unknown(&'static str),
}

impl Algebra {
    /// Whether no name occurs, at any depth.
    pub(super) fn is_constant(&self, x: &Polynomial) -> bool {
        x.generators().into_iter().all(|generator| !self.is_symbolic(generator))
    }

    /// The sign of a real constant; `None` where it cannot be told.
    pub(super) fn sign_of(&self, x: &Polynomial) -> Result<Option<Ordering>, Halt> {
        if let Some((monomial, value)) = x.as_term() {
            // Radicals of primes, pi and e are positive.
            let positive = |kind: &Kind| matches!(kind, Kind::Prime(_) | Kind::Pi | Kind::Euler);
            if monomial.0.iter().all(|&(generator, _)| self.is(generator, positive)) {
                return Ok(Some(value.cmp(&num_traits::Zero::zero())));
            }
        }
        Ok(match self.number(x)? {
            Number::Zero => Some(Ordering::Equal),
            Number::Sign(sign) => Some(sign),
            Number::Unknown => None,
        })
    }

    /// Compares two real constants.
    pub(super) fn compare(&self, a: &Quotient, b: &Quotient) -> Result<Option<Ordering>, Halt> {
        let difference = self.subtract(a, b)?;
        if let Some(value) = difference.as_rational() {
            return Ok(Some(value.cmp(&num_traits::Zero::zero())));
        }
        if !self.is_constant(&difference.above) || !self.is_constant(&difference.below) {
            return Ok(None);
        }
        let imaginary = |g: Generator| self.is(g, |kind| *kind == Kind::Imaginary);
        if difference.generators().into_iter().any(imaginary) {
            return Ok(None);
        }
        let (above, below) = (self.sign_of(&difference.above)?, self.sign_of(&difference.below)?);
        Ok(match below {
            Some(Ordering::Greater) => above,
            Some(Ordering::Less) => above.map(Ordering::reverse),
            _ => None,
        })
    }

    /// Whether `x` is zero.
    pub(super) fn zero(&self, x: &Quotient) -> Result<Zero, Halt> {
        if x.is_zero() {
            return Ok(Zero::Yes);
        }
        let generators = x.above.generators();
        let any = |wanted: fn(&Kind) -> bool| generators.iter().any(|&g| self.is(g, wanted));
        if any(|kind| matches!(kind, Kind::Opaque(..))) {
            return Ok(Zero::Unknown("not computed"));
        }
        if generators.iter().any(|&generator| self.is_complex_inside(generator)) {
            return Ok(Zero::Unknown("a function of complex numbers"));
        }
        let transcendental =
            generators.iter().filter(|&&g| self.is(g, |k| matches!(k, Kind::Pi | Kind::Euler))).count();
        let hidden = any(|kind| matches!(kind, Kind::Base(_) | Kind::Exp(_) | Kind::CosPi(_) | Kind::Call(..)));
        if !hidden && transcendental <= 1 {
            return Ok(Zero::No);
        }
        let plain = |g: Generator| {
            self.is(g, |k| matches!(k, Kind::Symbol(_) | Kind::Unit(_) | Kind::Noun(_) | Kind::Infinity))
        };
        let symbolic = generators.iter().any(|&generator| !plain(generator) && self.is_symbolic(generator));
        // The coefficients of the powers of names, each a number of its own.
        let mut groups: BTreeMap<Monomial, Polynomial> = BTreeMap::new();
        for (monomial, value) in &x.above.0 {
            let (names, rest) = monomial.split(plain);
            groups.entry(names).or_default().0.insert(rest, value.clone());
        }
        if symbolic {
            return self.zero_at_points(&x.above);
        }
        let mut unknown = false;
        for coefficient in groups.values() {
            let (real, imaginary) = self.parts(coefficient);
            for part in [real, imaginary] {
                match self.number(&part)? {
                    Number::Zero => {}
                    Number::Sign(_) => return Ok(Zero::No),
                    Number::Unknown => unknown = true,
                }
            }
        }
        Ok(if unknown { Zero::Unknown("agrees to many digits, but is not proven") } else { Zero::Yes })
    }

    fn zero_at_points(&self, x: &Polynomial) -> Result<Zero, Halt> {
        let (real, imaginary) = self.parts(x);
        let mut tried = 0;
        for seed in 0..POINTS {
            for part in [&real, &imaginary] {
                let at = Precision { bits: 2 * FIRST_PRECISION, budget: &self.budget };
                match self.value(part, Some(Point { seed }), at, 0) {
                    Ok(value) if matches!(value.sign(), Some(Ordering::Less | Ordering::Greater)) => {
                        return Ok(Zero::No);
                    }
                    Ok(_) => tried += 1,
                    Err(Halt::NoValue | Halt::TooLarge) => {}
                    Err(halt) => return Err(halt),
                }
            }
        }
        Ok(Zero::Unknown(if tried == 0 { "no point to try it at" } else { "agrees at every point, but is not proven" }))
    }

    /// The sign of a real constant polynomial.
    fn number(&self, x: &Polynomial) -> Result<Number, Halt> {
        if let Some(value) = x.as_rational() {
            return Ok(match value.cmp(&num_traits::Zero::zero()) {
                Ordering::Equal => Number::Zero,
                sign => Number::Sign(sign),
            });
        }
        let bound = self.separation(x, 0)?.map(Bound::bits).filter(|&bits| bits < LAST_ALGEBRAIC_PRECISION as i64);
        // Independent radicals that are left over are not zero, so their sign will show.
        let independent = x.generators().into_iter().all(|g| self.is(g, |kind| matches!(kind, Kind::Prime(_))));
        let last = if bound.is_some() || independent { LAST_ALGEBRAIC_PRECISION } else { LAST_PRECISION };
        let mut bits = FIRST_PRECISION;
        while bits <= last {
            match self.value(x, None, Precision { bits, budget: &self.budget }, 0) {
                Ok(value) => match value.sign() {
                    Some(Ordering::Equal) => return Ok(Number::Zero),
                    Some(sign) => return Ok(Number::Sign(sign)),
                    None if bound.is_some_and(|bound| value.magnitude() < -bound) => return Ok(Number::Zero),
                    None => {}
                },
                Err(Halt::NoValue) => {}
                Err(halt) => return Err(halt),
            }
            bits *= 2;
        }
        Ok(Number::Unknown)
    }

    /// How small an algebraic number can be without being zero; `None` where it may not be algebraic.
    fn separation(&self, x: &Polynomial, depth: usize) -> Result<Option<Bound>, Halt> {
        self.budget.charge(8 * (1 + x.0.len() as u64))?;
        if depth > super::limits::MAX_DEPTH {
            return Err(Halt::TooDeep);
        }
        let mut parts: BTreeMap<Generator, (f64, f64)> = BTreeMap::new();
        let mut degree = 1i64;
        for generator in x.generators() {
            let exponents = x.0.keys().map(|monomial| *monomial.exponent(generator).denom());
            let radical = i64::from(exponents.fold(1, |all, denominator| all.lcm(&denominator)));
            let (upper, lower, factor) = match self.kind(generator) {
                Kind::Prime(prime) => ((prime as f64).log2(), 0.0, radical),
                Kind::CosPi(r) => (1.0, 1.0, cosine_degree(r)),
                Kind::Base(base) => match self.separation(&base, depth + 1)? {
                    Some(inner) => (inner.upper, inner.lower, radical.saturating_mul(inner.degree)),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
            parts.insert(generator, (upper, lower));
            degree = degree.saturating_mul(factor);
        }
        // Of a sum of terms, each an algebraic integer over a natural number, both in powers of two.
        let mut bound = Bound { upper: f64::NEG_INFINITY, lower: 0.0, degree };
        for (monomial, coefficient) in &x.0 {
            let mut upper = coefficient.numer().bits() as f64;
            let mut lower = coefficient.denom().bits() as f64;
            for &(generator, exponent) in &monomial.0 {
                let (above, below) = parts.get(&generator).copied().unwrap_or_default();
                let exponent = f64::from(*exponent.numer()) / f64::from(*exponent.denom());
                // (u/l)^e = (u l^(k-1))^(e) / l^(e k), rounded to whole powers of l below.
                let whole = exponent.ceil();
                upper += above * exponent + below * (whole - exponent).max(0.0) + 0.01;
                lower += below * whole;
            }
            // u1/l1 + u2/l2 = (u1 l2 + u2 l1) / (l1 l2)
            let sum = (bound.upper + lower).max(upper + bound.lower) + 1.0;
            bound = Bound { upper: sum, lower: bound.lower + lower, degree };
        }
        Ok(Some(bound))
    }
}

enum Number {
    Zero,
    Sign(Ordering),
    Unknown,
}

/// An algebraic integer with conjugates up to `2^upper`, over a natural number up to `2^lower`, of at most this degree.
#[derive(Clone, Copy)]
struct Bound {
    upper: f64,
    lower: f64,
    degree: i64,
}

impl Bound {
    /// The number is zero or at least `2^-bits`.
    fn bits(self) -> i64 {
        let bits = (self.degree as f64 - 1.0) * self.upper.max(0.0) + self.lower;
        if bits < 1e9 { bits.ceil() as i64 + 1 } else { i64::MAX / 2 }
    }
}
