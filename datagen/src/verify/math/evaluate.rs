//! Values as intervals: constants as they are, names at a rational point.

use super::algebra::{Algebra, Kind, Quotient};
use super::interval::{Interval, Precision};
use super::limits::{Exponent, Halt, LAST_PRECISION, MAX_DEPTH, Rational};
use super::polynomial::{Generator, Polynomial};
use super::tree::Function;
use num_traits::{One, Signed};

/// What names stand for while an expression is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Point {
    /// Which of a fixed sequence of points.
    pub(super) seed: u64,
}

impl Point {
    /// The value of a name: a fraction between -4 and 4 that depends on nothing else.
    fn value(self, name: &str) -> Rational {
        // FNV-1a, mixed once more; any spread will do as long as it is the same everywhere.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
            });
        let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let above = (mixed >> 40) % 397 + 1;
        // The first points are positive, where most functions have values.
        let sign = if self.seed >= 3 && mixed & 1 == 1 { -1 } else { 1 };
        Rational::new((i64::try_from(above).unwrap_or(1) * sign).into(), 101.into())
    }
}

impl Algebra {
    /// The value of a polynomial without `i`.
    pub(super) fn value(
        &self,
        polynomial: &Polynomial,
        point: Option<Point>,
        at: Precision,
        depth: usize,
    ) -> Result<Interval, Halt> {
        if depth > MAX_DEPTH {
            return Err(Halt::TooDeep);
        }
        let generators: Vec<(Generator, Interval)> = polynomial
            .generators()
            .into_iter()
            .map(|generator| Ok((generator, self.generator_value(generator, point, at, depth)?)))
            .collect::<Result<_, Halt>>()?;
        let mut sum = Interval::integer(0);
        for (monomial, coefficient) in &polynomial.0 {
            let mut term = Interval::rational(coefficient, at)?;
            for &(generator, exponent) in &monomial.0 {
                if let Some((_, value)) = generators.iter().find(|(other, _)| *other == generator) {
                    term = term.times(&raised(value, exponent, at)?, at)?;
                }
            }
            sum = sum.plus(&term, at)?;
        }
        Ok(sum)
    }

    pub(super) fn quotient_value(
        &self,
        x: &Quotient,
        point: Option<Point>,
        at: Precision,
        depth: usize,
    ) -> Result<Interval, Halt> {
        let above = self.value(&x.above, point, at, depth)?;
        if x.below == Polynomial::one() {
            return Ok(above);
        }
        above.divide(&self.value(&x.below, point, at, depth)?, at)
    }

    fn generator_value(
        &self,
        generator: Generator,
        point: Option<Point>,
        at: Precision,
        depth: usize,
    ) -> Result<Interval, Halt> {
        let inside = |x: &Quotient| self.quotient_value(x, point, at, depth + 1);
        match self.kind(generator) {
            Kind::Symbol(name) => match point {
                Some(point) => Interval::rational(&point.value(&name), at),
                None => Err(Halt::NoValue),
            },
            Kind::Pi => Interval::pi(at),
            Kind::Euler => Interval::integer(1).exp(at),
            Kind::Prime(prime) => Interval::rational(&Rational::from_integer(prime.into()), at),
            Kind::Base(base) => self.value(&base, point, at, depth + 1),
            Kind::CosPi(r) => {
                let r = Rational::new((*r.numer()).into(), (*r.denom()).into());
                Interval::rational(&r, at)?.times(&Interval::pi(at)?, at)?.cos(at)
            }
            Kind::Exp(monomial) => {
                self.value(&Polynomial::term(monomial, Rational::one()), point, at, depth + 1)?.exp(at)
            }
            Kind::Call(function, arguments) => {
                let [x] = arguments.as_slice() else { return Err(Halt::NoValue) };
                match function {
                    Function::Sin => inside(x)?.sin(at),
                    Function::Cos => inside(x)?.cos(at),
                    Function::Arctan => inside(x)?.arctan(at),
                    Function::Arcsin => inside(x)?.arcsin(at),
                    Function::Arccos => Interval::pi(at)?.shifted(-1).minus(&inside(x)?.arcsin(at)?, at),
                    Function::Exp => inside(x)?.exp(at),
                    Function::Ln => inside(x)?.ln(at),
                    Function::Abs => {
                        let value = inside(x)?;
                        match value.sign() {
                            Some(std::cmp::Ordering::Less) => Ok(value.negated()),
                            Some(_) => Ok(value),
                            None => Err(Halt::NoValue),
                        }
                    }
                    Function::Floor => {
                        let floor = inside(x)?.floor().ok_or(Halt::NoValue)?;
                        Interval::rational(&Rational::from_integer(floor), at)
                    }
                    _ => Err(Halt::NoValue),
                }
            }
            Kind::Imaginary | Kind::Infinity | Kind::Unit(_) | Kind::Noun(_) | Kind::Opaque(..) => Err(Halt::NoValue),
        }
    }

    /// The integer part of a real constant, where intervals find it.
    pub(super) fn floor_of(&self, x: &Quotient) -> Result<Option<num_bigint::BigInt>, Halt> {
        if !self.is_constant(&x.above) || !self.is_constant(&x.below) {
            return Ok(None);
        }
        let mut bits = super::limits::FIRST_PRECISION;
        while bits <= LAST_PRECISION {
            match self.quotient_value(x, None, Precision { bits, budget: &self.budget }, 0) {
                Ok(value) => {
                    if let Some(floor) = value.floor() {
                        return Ok(Some(floor));
                    }
                }
                Err(Halt::NoValue) => {}
                Err(halt) => return Err(halt),
            }
            bits *= 2;
        }
        Ok(None)
    }
}

/// `base ^ exponent`: a root, then a power.
fn raised(base: &Interval, exponent: Exponent, at: Precision) -> Result<Interval, Halt> {
    if exponent.is_negative() {
        return Err(Halt::NoValue);
    }
    let root = match *exponent.denom() {
        1 => base.clone(),
        degree => base.root(u32::try_from(degree).map_err(|_| Halt::NoValue)?, at)?,
    };
    root.power(u32::try_from(*exponent.numer()).map_err(|_| Halt::NoValue)?, at)
}
