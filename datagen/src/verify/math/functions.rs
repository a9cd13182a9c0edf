//! Functions with a name: exact values where there are some, generators in normal form where there are none.

use super::algebra::{Algebra, Kind, Quotient};
use super::limits::{Exponent, Halt, MAX_BITS, Rational};
use super::polynomial::{Monomial, Polynomial};
use super::radicals::Factor;
use super::tree::Function;
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};
use std::cmp::Ordering;

impl Algebra {
    pub(super) fn call(&self, function: Function, arguments: Vec<Quotient>) -> Result<Quotient, Halt> {
        if let ([a, b], Function::Log | Function::Binomial) = (arguments.as_slice(), function) {
            return match function {
                Function::Log => self.divide(&self.ln(b)?, &self.ln(a)?),
                _ => self.binomial(a, b),
            };
        }
        let [x] = arguments.as_slice() else { return self.several(function, &arguments) };
        let one = Quotient::integer(1);
        match function {
            Function::Sin => Ok(self.cos_sin(x)?.1),
            Function::Cos => Ok(self.cos_sin(x)?.0),
            Function::Tan => self.cos_sin(x).and_then(|(cos, sin)| self.divide(&sin, &cos)),
            Function::Cot => self.cos_sin(x).and_then(|(cos, sin)| self.divide(&cos, &sin)),
            Function::Sec => self.cos_sin(x).and_then(|(cos, _)| self.divide(&one, &cos)),
            Function::Csc => self.cos_sin(x).and_then(|(_, sin)| self.divide(&one, &sin)),
            Function::Arcsin | Function::Arccos | Function::Arctan => self.inverse(function, x),
            Function::Sinh | Function::Cosh | Function::Tanh => {
                let (plus, minus) = (self.exp(x)?, self.exp(&x.clone().negated())?);
                let (sum, difference) = (self.add(&plus, &minus)?, self.subtract(&plus, &minus)?);
                match function {
                    Function::Sinh => self.divide(&difference, &Quotient::integer(2)),
                    Function::Cosh => self.divide(&sum, &Quotient::integer(2)),
                    _ => self.divide(&difference, &sum),
                }
            }
            Function::Exp => self.exp(x),
            Function::Ln => self.ln(x),
            Function::Abs => self.abs(x),
            Function::Floor => self.floor(x),
            Function::Ceil => Ok(self.floor(&x.clone().negated())?.negated()),
            Function::Factorial => self.factorial(x, function, 1),
            Function::DoubleFactorial => self.factorial(x, function, 2),
            _ => self.several(function, &arguments),
        }
    }

    fn kept(&self, function: Function, arguments: Vec<Quotient>) -> Result<Quotient, Halt> {
        self.atom(Kind::Call(function, arguments))
    }

    /// Functions of any number of integers.
    fn several(&self, function: Function, arguments: &[Quotient]) -> Result<Quotient, Halt> {
        let values: Option<Vec<Rational>> = arguments.iter().map(Quotient::as_rational).collect();
        let Some(values) = values.filter(|values| !values.is_empty()) else {
            return self.kept(function, arguments.to_vec());
        };
        let whole = values.iter().all(Rational::is_integer);
        let fold = |with: fn(&BigInt, &BigInt) -> BigInt| {
            let mut result = BigInt::zero();
            for (at, value) in values.iter().enumerate() {
                result = if at == 0 { value.numer().abs() } else { with(&result, value.numer()) };
            }
            self.budget.number(Rational::from_integer(result)).map(Quotient::rational)
        };
        let found = match function {
            Function::Gcd if whole => return fold(|a, b| a.gcd(b)),
            Function::Lcm if whole => return fold(|a, b| a.lcm(b)),
            Function::Min => values.iter().min(),
            Function::Max => values.iter().max(),
            _ => return Err(Halt::NoValue),
        };
        found.map(|value| Quotient::rational(value.clone())).ok_or(Halt::NoValue)
    }

    /// `n (n - step) (n - 2 step) ...`, down to what is still positive.
    fn factorial(&self, x: &Quotient, function: Function, step: usize) -> Result<Quotient, Halt> {
        let Some(value) = x.as_rational() else { return self.kept(function, vec![x.clone()]) };
        if !value.is_integer() || value.is_negative() {
            return Err(Halt::NoValue);
        }
        let n = value.to_integer().to_u64().ok_or(Halt::TooLarge)?;
        let bits = u64::from(64 - n.leading_zeros());
        if n.saturating_mul(bits.saturating_sub(2)) > MAX_BITS {
            return Err(Halt::TooLarge);
        }
        let mut product = BigInt::one();
        for factor in (1..=n).rev().step_by(step) {
            self.budget.charge(1 + product.bits() / 64)?;
            product *= factor;
        }
        self.budget.number(Rational::from_integer(product)).map(Quotient::rational)
    }

    fn binomial(&self, above: &Quotient, below: &Quotient) -> Result<Quotient, Halt> {
        let (Some(n), Some(k)) = (above.as_integer(), below.as_integer()) else {
            return self.kept(Function::Binomial, vec![above.clone(), below.clone()]);
        };
        if n < 0 || k < 0 {
            return Err(Halt::NoValue);
        }
        let k = k.min(n - k);
        if k.saturating_mul(n.ilog2_or_zero()) > MAX_BITS as i64 {
            return Err(Halt::TooLarge);
        }
        let mut result = BigInt::from(i64::from(k >= 0));
        for step in 1..=k {
            self.budget.charge(1 + result.bits() / 32)?;
            result = result * (n - k + step) / step;
        }
        self.budget.number(Rational::from_integer(result)).map(Quotient::rational)
    }

    /// e to the power of `x`, a product over the terms of `x`.
    pub(super) fn exp(&self, x: &Quotient) -> Result<Quotient, Halt> {
        let mut result = Quotient::integer(1);
        let shared = x.below.as_rational().is_none();
        for (monomial, coefficient) in &x.above.0 {
            if shared {
                break;
            }
            let imaginary = |g| self.is(g, |kind| *kind == Kind::Imaginary);
            let (turn, rest) = monomial.split(imaginary);
            let factor = if !turn.is_one() {
                // e^(i t) = cos t + i sin t
                let (cos, sin) = self.cos_sin(&Quotient::whole(Polynomial::term(rest, coefficient.clone())))?;
                self.add(&cos, &self.multiply(&sin, &self.atom(Kind::Imaginary)?)?)?
            } else if monomial.is_one() {
                self.power(&self.atom(Kind::Euler)?, coefficient)?
            } else {
                match self.logarithm_of(monomial) {
                    // e^(c ln q) = q^c
                    Some(argument) => self.power(&argument, coefficient)?,
                    None => self.power(&self.atom(Kind::Exp(monomial.clone()))?, coefficient)?,
                }
            };
            result = self.multiply(&result, &factor)?;
        }
        if shared { self.kept(Function::Exp, vec![x.clone()]) } else { Ok(result) }
    }

    /// The argument of a monomial that is one logarithm.
    fn logarithm_of(&self, monomial: &Monomial) -> Option<Quotient> {
        let [(generator, exponent)] = monomial.0.as_slice() else { return None };
        match self.kind(*generator) {
            Kind::Call(Function::Ln, mut arguments) if exponent.is_one() => arguments.pop(),
            _ => None,
        }
    }

    /// The natural logarithm, a sum over the factors of `x`.
    pub(super) fn ln(&self, x: &Quotient) -> Result<Quotient, Halt> {
        if x.is_zero() {
            return Err(Halt::NoValue);
        }
        let above = self.ln_polynomial(&x.above)?;
        if x.below == Polynomial::one() { Ok(above) } else { self.subtract(&above, &self.ln_polynomial(&x.below)?) }
    }

    fn ln_polynomial(&self, x: &Polynomial) -> Result<Quotient, Halt> {
        if self.is_constant(x) && self.sign_of(x)? == Some(Ordering::Less) {
            return Err(Halt::NoValue);
        }
        let Some((monomial, coefficient)) = x.as_term() else {
            let content = x.content().abs();
            let inner = x.clone().scaled(&content.recip(), &self.budget)?;
            let rest = self.kept(Function::Ln, vec![Quotient::whole(inner)])?;
            return self.add(&self.ln_rational(&content)?, &rest);
        };
        if coefficient.is_negative() {
            return self.kept(Function::Ln, vec![Quotient::whole(x.clone())]);
        }
        let mut sum = self.ln_rational(coefficient)?;
        for &(generator, exponent) in &monomial.0 {
            let of = |kind: Kind| self.atom(kind);
            let part = match self.kind(generator) {
                Kind::Euler => Quotient::integer(1),
                Kind::Prime(prime) => self.ln_rational(&Rational::from_integer(prime.into()))?,
                Kind::Exp(inner) => Quotient::whole(Polynomial::term(inner, Rational::one())),
                Kind::Base(inner) => self.kept(Function::Ln, vec![Quotient::whole(inner)])?,
                Kind::Imaginary | Kind::Infinity | Kind::Unit(_) | Kind::Noun(_) => return Err(Halt::NoValue),
                // ln x^2 = 2 ln |x|, also where x is negative.
                kind if exponent.numer() % 2 == 0 => self.kept(Function::Ln, vec![self.abs(&of(kind)?)?])?,
                kind => self.kept(Function::Ln, vec![of(kind)?])?,
            };
            let times = Rational::new((*exponent.numer()).into(), (*exponent.denom()).into());
            sum = self.add(&sum, &self.multiply(&part, &Quotient::rational(times))?)?;
        }
        Ok(sum)
    }

    fn ln_rational(&self, value: &Rational) -> Result<Quotient, Halt> {
        let mut sum = Quotient::integer(0);
        for (part, sign) in [(value.numer(), 1), (value.denom(), -1)] {
            for (factor, times) in self.factors(&part.abs())? {
                let inner = match factor {
                    Factor::Prime(prime) => Quotient::rational(Rational::from_integer(prime.into())),
                    Factor::Unknown(rest) => Quotient::rational(Rational::from_integer(rest)),
                };
                let part = self.kept(Function::Ln, vec![inner])?;
                sum = self.add(&sum, &self.multiply(&part, &Quotient::integer(i64::from(sign * times)))?)?;
            }
        }
        Ok(sum)
    }

    fn abs(&self, x: &Quotient) -> Result<Quotient, Halt> {
        if let Some(value) = x.as_rational() {
            return Ok(Quotient::rational(value.abs()));
        }
        let imaginary = x.generators().into_iter().any(|g| self.is(g, |kind| *kind == Kind::Imaginary));
        if x.generators().into_iter().any(|generator| self.is_complex_inside(generator)) {
            return self.kept(Function::Abs, vec![x.clone()]);
        }
        if imaginary {
            // |a + bi|^2 = a^2 + b^2, above and below.
            let square = self.quotient(self.norm(&x.above)?, self.norm(&x.below)?)?;
            return self.power(&square, &Rational::new(1.into(), 2.into()));
        }
        let part = |polynomial: &Polynomial| -> Result<Quotient, Halt> {
            if self.is_constant(polynomial) {
                let whole = Quotient::whole(polynomial.clone());
                return match self.sign_of(polynomial)? {
                    Some(Ordering::Less) => Ok(whole.negated()),
                    Some(_) => Ok(whole),
                    None => self.kept(Function::Abs, vec![whole]),
                };
            }
            let content = polynomial.content();
            let inner = polynomial.clone().scaled(&content.recip(), &self.budget)?;
            let kept = self.kept(Function::Abs, vec![Quotient::whole(inner)])?;
            self.multiply(&kept, &Quotient::rational(content.abs()))
        };
        self.divide(&part(&x.above)?, &part(&x.below)?)
    }

    fn norm(&self, x: &Polynomial) -> Result<Polynomial, Halt> {
        let (real, imaginary) = self.parts(x);
        self.product(&real, &real)?.plus(&self.product(&imaginary, &imaginary)?, &self.budget)
    }

    /// Real and imaginary part, where everything but `i` is real.
    pub(super) fn parts(&self, x: &Polynomial) -> (Polynomial, Polynomial) {
        let (mut real, mut imaginary) = (Polynomial::default(), Polynomial::default());
        for (monomial, value) in &x.0 {
            let (turn, rest) = monomial.split(|g| self.is(g, |kind| *kind == Kind::Imaginary));
            if turn.is_one() { &mut real } else { &mut imaginary }.0.insert(rest, value.clone());
        }
        (real, imaginary)
    }

    fn floor(&self, x: &Quotient) -> Result<Quotient, Halt> {
        if let Some(value) = x.as_rational() {
            return Ok(Quotient::rational(value.floor()));
        }
        match self.floor_of(x)? {
            Some(floor) => Ok(Quotient::rational(Rational::from_integer(floor))),
            None => self.kept(Function::Floor, vec![x.clone()]),
        }
    }
}

trait BinaryLog {
    fn ilog2_or_zero(self) -> i64;
}

impl BinaryLog for i64 {
    fn ilog2_or_zero(self) -> i64 {
        self.checked_ilog2().map_or(0, i64::from) + 1
    }
}

/// Exponents that are rationals of the grader's size.
pub(super) fn small(value: &Rational) -> Option<Exponent> {
    Some(Exponent::new(value.numer().to_i32()?, value.denom().to_i32()?))
}
