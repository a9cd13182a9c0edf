//! Sines and cosines: radicals at the fractions of pi that have simple ones, sums and multiples of angles expanded, so
//! that identities become equalities of polynomials.

use super::algebra::{Algebra, Kind, Quotient};
use super::functions::small;
use super::limits::{Exponent, Halt, Rational};
use super::polynomial::Polynomial;
use super::tree::Function;
use num_traits::{One, Signed, Zero};

/// Multiples of an angle beyond this stay as they are.
const MAX_MULTIPLE: i32 = 12;
/// Fractions of pi with larger denominators keep a generator each.
const MAX_DENOMINATOR: i32 = 45;
/// So do sums of more angles.
const MAX_ANGLES: usize = 4;

impl Algebra {
    /// (cos x, sin x)
    pub(super) fn cos_sin(&self, x: &Quotient) -> Result<(Quotient, Quotient), Halt> {
        if x.is_zero() {
            return Ok((Quotient::integer(1), Quotient::integer(0)));
        }
        if x.below != Polynomial::one() || x.above.0.len() > MAX_ANGLES {
            return self.kept_angle(x.clone());
        }
        let mut total = (Quotient::integer(1), Quotient::integer(0));
        for (monomial, coefficient) in &x.above.0 {
            let pi = monomial.0.len() == 1 && monomial.0.iter().all(|&(g, e)| e.is_one() && self.is(g, is_pi));
            let one = if pi {
                self.cos_sin_pi(coefficient)?
            } else {
                let times = coefficient.numer();
                let small = i32::try_from(times).ok().filter(|times| times.abs() <= MAX_MULTIPLE);
                let angle = |value: Rational| Quotient::whole(Polynomial::term(monomial.clone(), value));
                match small {
                    Some(times) => {
                        let unit = angle(Rational::new(1.into(), coefficient.denom().clone()));
                        self.multiple(self.kept_angle(unit)?, times)?
                    }
                    None => self.kept_angle(angle(coefficient.clone()))?,
                }
            };
            total = self.angle_sum(&total, &one)?;
        }
        Ok(total)
    }

    /// cos(a + b) and sin(a + b).
    fn angle_sum(&self, a: &(Quotient, Quotient), b: &(Quotient, Quotient)) -> Result<(Quotient, Quotient), Halt> {
        let times = |x: &Quotient, y: &Quotient| self.multiply(x, y);
        let cos = self.subtract(&times(&a.0, &b.0)?, &times(&a.1, &b.1)?)?;
        Ok((cos, self.add(&times(&a.1, &b.0)?, &times(&a.0, &b.1)?)?))
    }

    fn multiple(&self, angle: (Quotient, Quotient), times: i32) -> Result<(Quotient, Quotient), Halt> {
        let mut total = angle.clone();
        for _ in 1..times.abs() {
            total = self.angle_sum(&total, &angle)?;
        }
        if times < 0 {
            total.1 = total.1.negated();
        }
        Ok(total)
    }

    /// Generators for an angle that is not expanded, of one sign.
    fn kept_angle(&self, x: Quotient) -> Result<(Quotient, Quotient), Halt> {
        let negative = x.above.content().is_negative();
        let x = if negative { x.negated() } else { x };
        let cos = self.atom(Kind::Call(Function::Cos, vec![x.clone()]))?;
        let sin = self.atom(Kind::Call(Function::Sin, vec![x]))?;
        Ok((cos, if negative { sin.negated() } else { sin }))
    }

    /// (cos(r pi), sin(r pi))
    fn cos_sin_pi(&self, r: &Rational) -> Result<(Quotient, Quotient), Halt> {
        let two = Rational::from_integer(2.into());
        let turn = r - (r / &two).floor() * &two;
        let half = Rational::new(1.into(), 2.into());
        let cos = self.cos_pi(&turn)?;
        // sin t = cos(t - pi/2)
        let shifted = &turn - &half;
        let sin = self.cos_pi(&if shifted.is_negative() { -shifted } else { shifted })?;
        Ok((cos, sin))
    }

    /// cos(r pi) for 0 <= r < 2.
    fn cos_pi(&self, r: &Rational) -> Result<Quotient, Halt> {
        let one = Rational::one();
        let r = if *r > one { Rational::from_integer(2.into()) - r } else { r.clone() };
        let half = Rational::new(1.into(), 2.into());
        if r > half {
            return Ok(self.cos_pi(&(one - r))?.negated());
        }
        let Some(r) = small(&r) else { return Err(Halt::TooLarge) };
        let root = |inner: &Quotient| self.power(inner, &half);
        let number = |n: i64| root(&Quotient::integer(n));
        let over = |above: Quotient, n: i64| self.divide(&above, &Quotient::integer(n));
        let (n, d) = (*r.numer(), *r.denom());
        match (n, d) {
            (0, _) => Ok(Quotient::integer(1)),
            (1, 2) => Ok(Quotient::integer(0)),
            (1, 3) => over(Quotient::integer(1), 2),
            (1, 4) => over(number(2)?, 2),
            (1, 6) => over(number(3)?, 2),
            (1, 12) => over(self.add(&number(6)?, &number(2)?)?, 4),
            (5, 12) => over(self.subtract(&number(6)?, &number(2)?)?, 4),
            (1, 5) => over(self.add(&Quotient::integer(1), &number(5)?)?, 4),
            (2, 5) => over(self.subtract(&number(5)?, &Quotient::integer(1))?, 4),
            (1, 8) => over(root(&self.add(&Quotient::integer(2), &number(2)?)?)?, 2),
            (3, 8) => over(root(&self.subtract(&Quotient::integer(2), &number(2)?)?)?, 2),
            (1 | 3, 10) => {
                let twice = self.multiply(&Quotient::integer(2), &number(5)?)?;
                let ten = Quotient::integer(10);
                over(root(&if n == 1 { self.add(&ten, &twice)? } else { self.subtract(&ten, &twice)? })?, 4)
            }
            // cos(n t) is a polynomial in cos t, so that all multiples of one angle share a generator.
            (n, d) if n > 1 && d <= MAX_DENOMINATOR => {
                let unit = self.atom(Kind::CosPi(Exponent::new(1, d)))?;
                let twice = self.multiply(&Quotient::integer(2), &unit)?;
                let (mut last, mut cos) = (Quotient::integer(1), unit);
                for _ in 1..n {
                    let next = self.subtract(&self.multiply(&twice, &cos)?, &last)?;
                    last = std::mem::replace(&mut cos, next);
                }
                Ok(cos)
            }
            _ => self.atom(Kind::CosPi(r)),
        }
    }

    /// arcsin, arccos and arctan: the fraction of pi where there is one.
    pub(super) fn inverse(&self, function: Function, x: &Quotient) -> Result<Quotient, Halt> {
        if self.is_constant(&x.above) && self.is_constant(&x.below) {
            for (n, d) in [
                (0, 1),
                (1, 12),
                (1, 10),
                (1, 8),
                (1, 6),
                (1, 5),
                (1, 4),
                (3, 10),
                (1, 3),
                (3, 8),
                (2, 5),
                (5, 12),
                (1, 2),
            ] {
                for sign in [1, -1] {
                    let r = Rational::new((n * sign).into(), d.into());
                    let (cos, sin) = self.cos_sin_pi(&r)?;
                    let (value, angle) = match function {
                        Function::Arcsin => (sin, r),
                        // arccos(-t) = pi - arccos t
                        Function::Arccos => (cos.clone(), r.abs()),
                        _ if cos.is_zero() => continue,
                        _ => (self.divide(&sin, &cos)?, r),
                    };
                    let pi = |angle: Rational| self.multiply(&self.atom(Kind::Pi)?, &Quotient::rational(angle));
                    if self.subtract(x, &value)?.is_zero() {
                        return pi(angle);
                    }
                    if function == Function::Arccos && self.add(x, &value)?.is_zero() {
                        return pi(Rational::one() - angle);
                    }
                }
            }
        }
        let negative = function != Function::Arccos && x.above.content().is_negative();
        let inner = if negative { x.clone().negated() } else { x.clone() };
        let kept = self.atom(Kind::Call(function, vec![inner]))?;
        Ok(if negative { kept.negated() } else { kept })
    }
}

fn is_pi(kind: &Kind) -> bool {
    *kind == Kind::Pi
}

/// cos(r pi) as a root of unity and its inverse: the degree it has over Q is at most this.
pub(super) fn cosine_degree(r: Exponent) -> i64 {
    if r.is_zero() { 1 } else { i64::from(*r.denom()) }
}
