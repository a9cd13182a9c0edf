//! Exact arithmetic on quotients of polynomials, and what the powers of each generator reduce to.
//!
//! Radicals of primes with exponents in [0, 1), the imaginary unit and names are linearly independent over Q
//! (Besicovitch 1940 for the radicals), so a polynomial in them is zero only if it has no terms. Every other generator
//! may hide a relation; for those `zero.rs` looks at the value.

use super::limits::{Budget, Exponent, Halt, MAX_GENERATORS, MAX_TERMS, Rational};
use super::polynomial::{Generator, Monomial, Polynomial};
use super::tree::Function;
use super::units::Base;
use num_traits::{One, Signed, ToPrimitive, Zero};
use std::cell::RefCell;

/// What a generator stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A variable, taken as real.
    Symbol(String),
    Pi,
    Euler,
    Imaginary,
    Infinity,
    Unit(Base),
    Noun(String),
    /// A prime below a radical.
    Prime(u64),
    /// A polynomial of several terms below a radical.
    Base(Polynomial),
    /// `e ^ monomial`; every power with names in its exponent becomes one.
    Exp(Monomial),
    /// cos(r pi) with 0 < r < 1/2 that has no simpler radicals.
    CosPi(Exponent),
    Call(Function, Vec<Quotient>),
    /// Known by name only; equal where name and parts are.
    Opaque(String, Vec<Quotient>),
}

impl Kind {
    /// The generators it is made of.
    fn parts(&self) -> Vec<Generator> {
        match self {
            Kind::Base(base) => base.generators(),
            Kind::Exp(monomial) => monomial.0.iter().map(|(generator, _)| *generator).collect(),
            Kind::Call(_, arguments) => arguments.iter().flat_map(Quotient::generators).collect(),
            _ => vec![],
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quotient {
    pub(super) above: Polynomial,
    pub(super) below: Polynomial,
}

impl Quotient {
    pub(super) fn rational(value: Rational) -> Self {
        Self { above: Polynomial::constant(value), below: Polynomial::one() }
    }

    pub(super) fn integer(value: i64) -> Self {
        Self::rational(Rational::from_integer(value.into()))
    }

    pub(super) fn whole(above: Polynomial) -> Self {
        Self { above, below: Polynomial::one() }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.above.is_zero()
    }

    pub(super) fn as_rational(&self) -> Option<Rational> {
        let (above, below) = (self.above.as_rational()?, self.below.as_rational()?);
        (!below.is_zero()).then(|| above / below)
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        self.as_rational().filter(Rational::is_integer).and_then(|value| value.to_integer().to_i64())
    }

    pub(super) fn negated(self) -> Self {
        Self { above: self.above.negated(), below: self.below }
    }

    /// Every generator above or below.
    pub(super) fn generators(&self) -> Vec<Generator> {
        let mut all = self.above.generators();
        all.extend(self.below.generators());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A generator and what is known of everything it is made of.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// It is a name, or one occurs inside.
    symbolic: bool,
    /// `i` occurs inside, so that its value need not be real.
    complex: bool,
}

/// The generators of one comparison and its budget.
pub(super) struct Algebra {
    entries: RefCell<Vec<Entry>>,
    pub(super) budget: Budget,
}

impl Algebra {
    pub(super) fn new(steps: u64) -> Self {
        Self { entries: RefCell::new(Vec::new()), budget: Budget::new(steps) }
    }

    pub(super) fn kind(&self, generator: Generator) -> Kind {
        // Every generator comes from `generator`, below.
        self.entries.borrow().get(generator as usize).map_or(Kind::Infinity, |entry| entry.kind.clone())
    }

    pub(super) fn is(&self, generator: Generator, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.entries.borrow().get(generator as usize).is_some_and(|entry| wanted(&entry.kind))
    }

    /// Whether a name occurs in it, at any depth.
    pub(super) fn is_symbolic(&self, generator: Generator) -> bool {
        self.entries.borrow().get(generator as usize).is_some_and(|entry| entry.symbolic)
    }

    /// Whether `i` occurs inside a radical or a function, at any depth.
    pub(super) fn is_complex_inside(&self, generator: Generator) -> bool {
        self.entries.borrow().get(generator as usize).is_some_and(|entry| entry.complex)
    }

    /// The number of a generator, new or known.
    pub(super) fn generator(&self, kind: Kind) -> Result<Generator, Halt> {
        let mut entries = self.entries.borrow_mut();
        self.budget.charge(1 + entries.len() as u64)?;
        if let Some(at) = entries.iter().position(|known| known.kind == kind) {
            return Ok(at as Generator);
        }
        if entries.len() >= MAX_GENERATORS {
            return Err(Halt::TooLarge);
        }
        let named = matches!(kind, Kind::Symbol(_) | Kind::Unit(_) | Kind::Noun(_) | Kind::Infinity | Kind::Opaque(..));
        let parts = kind.parts();
        let mut inner = parts.iter().filter_map(|&part| entries.get(part as usize));
        let entry = Entry {
            symbolic: named || inner.clone().any(|part| part.symbolic),
            complex: inner.any(|part| part.complex || part.kind == Kind::Imaginary),
            kind,
        };
        entries.push(entry);
        Ok(entries.len() as Generator - 1)
    }

    pub(super) fn atom(&self, kind: Kind) -> Result<Quotient, Halt> {
        let monomial = Monomial::of(self.generator(kind)?, Exponent::one());
        Ok(Quotient::whole(Polynomial::term(monomial, Rational::one())))
    }

    /// Multiplies two terms; powers that reduce may leave several.
    fn term_product(&self, a: (&Monomial, &Rational), b: (&Monomial, &Rational)) -> Result<Polynomial, Halt> {
        let coefficient = self.budget.multiply(a.1, b.1)?;
        if a.0.is_one() || b.0.is_one() {
            let monomial = if a.0.is_one() { b.0 } else { a.0 };
            return Ok(Polynomial::term(monomial.clone(), coefficient));
        }
        self.reduce(a.0.times(b.0)?, coefficient)
    }

    /// Brings exponents that a power has raised too far back into their range.
    pub(super) fn reduce(&self, monomial: Monomial, mut coefficient: Rational) -> Result<Polynomial, Halt> {
        self.budget.charge(1 + monomial.0.len() as u64)?;
        let mut kept = Vec::with_capacity(monomial.0.len());
        let mut factors: Vec<(Polynomial, i64)> = Vec::new();
        for (generator, exponent) in monomial.0 {
            let whole = exponent.floor().to_integer();
            let part = exponent - whole;
            let left = match self.kind(generator) {
                Kind::Prime(prime) => {
                    let power = self.budget.power(&Rational::from_integer(prime.into()), whole.into())?;
                    coefficient = self.budget.multiply(&coefficient, &power)?;
                    part
                }
                Kind::Imaginary => {
                    if whole.rem_euclid(4) >= 2 {
                        coefficient = -coefficient;
                    }
                    Exponent::from_integer(whole.rem_euclid(2))
                }
                Kind::Base(base) if whole >= 1 => {
                    factors.push((base, whole.into()));
                    part
                }
                Kind::Call(Function::Sin, arguments) if whole >= 2 => {
                    let cos = self.generator(Kind::Call(Function::Cos, arguments))?;
                    let square = Polynomial::term(Monomial::of(cos, Exponent::from_integer(2)), -Rational::one());
                    factors.push((square.plus(&Polynomial::one(), &self.budget)?, i64::from(whole / 2)));
                    part + whole % 2
                }
                Kind::Call(Function::Abs, arguments) if whole >= 2 && part.is_zero() => {
                    let [argument] = arguments.as_slice() else { return Err(Halt::NoValue) };
                    // The argument of an absolute value that is kept as one has no denominator.
                    factors.push((argument.above.clone(), i64::from(whole - whole % 2)));
                    Exponent::from_integer(whole % 2)
                }
                _ => exponent,
            };
            if !left.is_zero() {
                kept.push((generator, left));
            }
        }
        let mut result = Polynomial::term(Monomial(kept), coefficient);
        for (factor, times) in factors {
            let power = self.integer_power(&factor, times)?;
            result = self.product(&result, &power)?;
        }
        Ok(result)
    }

    pub(super) fn product(&self, a: &Polynomial, b: &Polynomial) -> Result<Polynomial, Halt> {
        self.budget.charge((a.0.len() as u64).saturating_mul(b.0.len() as u64))?;
        let mut result = Polynomial::default();
        for left in &a.0 {
            for right in &b.0 {
                let part = self.term_product(left, right)?;
                if result.is_zero() {
                    result = part;
                } else {
                    result = result.plus(&part, &self.budget)?;
                }
            }
        }
        Ok(result)
    }

    pub(super) fn integer_power(&self, base: &Polynomial, exponent: i64) -> Result<Polynomial, Halt> {
        if let Some(value) = base.as_rational() {
            return Ok(Polynomial::constant(self.budget.power(&value, exponent)?));
        }
        if base.0.len() > 1 && exponent > MAX_TERMS as i64 {
            return Err(Halt::TooLarge);
        }
        if let Some((monomial, value)) = base.as_term() {
            let exponent_small = i32::try_from(exponent).map_err(|_| Halt::TooLarge)?;
            let scaled = scale_exponents(monomial, Exponent::from_integer(exponent_small))?;
            return self.reduce(scaled, self.budget.power(value, exponent)?);
        }
        let mut result = Polynomial::one();
        let mut square = base.clone();
        let mut left = exponent;
        while left > 0 {
            if left % 2 == 1 {
                result = self.product(&result, &square)?;
            }
            left /= 2;
            if left > 0 {
                square = self.product(&square, &square)?;
            }
        }
        Ok(result)
    }

    pub(super) fn add(&self, a: &Quotient, b: &Quotient) -> Result<Quotient, Halt> {
        if a.below == b.below {
            return self.quotient(a.above.clone().plus(&b.above, &self.budget)?, a.below.clone());
        }
        let left = self.product(&a.above, &b.below)?;
        let right = self.product(&b.above, &a.below)?;
        self.quotient(left.plus(&right, &self.budget)?, self.product(&a.below, &b.below)?)
    }

    pub(super) fn subtract(&self, a: &Quotient, b: &Quotient) -> Result<Quotient, Halt> {
        self.add(a, &b.clone().negated())
    }

    pub(super) fn multiply(&self, a: &Quotient, b: &Quotient) -> Result<Quotient, Halt> {
        self.quotient(self.product(&a.above, &b.above)?, self.product(&a.below, &b.below)?)
    }

    pub(super) fn divide(&self, a: &Quotient, b: &Quotient) -> Result<Quotient, Halt> {
        if b.is_zero() {
            return Err(Halt::DivisionByZero);
        }
        self.quotient(self.product(&a.above, &b.below)?, self.product(&a.below, &b.above)?)
    }

    /// `above / below` with the denominator made primitive, and gone where it is one term of numbers.
    pub(super) fn quotient(&self, above: Polynomial, below: Polynomial) -> Result<Quotient, Halt> {
        if below.is_zero() {
            return Err(Halt::DivisionByZero);
        }
        if above.is_zero() {
            return Ok(Quotient::integer(0));
        }
        if below == Polynomial::one() {
            return Ok(Quotient::whole(above));
        }
        let content = below.content();
        let scale = self.budget.divide(&Rational::one(), &content)?;
        let (mut above, mut below) = (above.scaled(&scale, &self.budget)?, below.scaled(&scale, &self.budget)?);
        // Powers that both sides share go, and radicals and `i` go above: 1 / 2^(1/2) = 2^(1/2) / 2.
        let shared = below.common_monomial();
        if !shared.is_one() {
            let common = above.common_monomial();
            let mut factor = Vec::new();
            for &(generator, exponent) in &shared.0 {
                let invertible = self.is(generator, |kind| matches!(kind, Kind::Prime(_) | Kind::Imaginary));
                let cancels = if invertible { exponent } else { exponent.min(common.exponent(generator)) };
                if cancels.is_positive() {
                    factor.push((generator, -cancels));
                }
            }
            let factor = self.reduce(Monomial(factor), Rational::one())?;
            above = self.product(&above, &factor)?;
            below = self.product(&below, &factor)?;
        }
        match below.as_rational() {
            Some(value) => Ok(Quotient::whole(above.scaled(&value.recip(), &self.budget)?)),
            None => {
                // The same up to a number: `(2x + 2) / (x + 1)`.
                let ratio = above.content() / below.content();
                if above.0.len() == below.0.len() && above == below.clone().scaled(&ratio, &self.budget)? {
                    return Ok(Quotient::rational(ratio));
                }
                Ok(Quotient { above, below })
            }
        }
    }
}

/// `monomial ^ exponent`.
pub(super) fn scale_exponents(monomial: &Monomial, exponent: Exponent) -> Result<Monomial, Halt> {
    use num_traits::CheckedMul;
    let scaled: Option<Vec<_>> =
        monomial.0.iter().map(|&(generator, old)| Some((generator, old.checked_mul(&exponent)?))).collect();
    let scaled = scaled.ok_or(Halt::TooLarge)?;
    Ok(Monomial(scaled.into_iter().filter(|(_, exponent)| !exponent.is_zero()).collect()))
}
