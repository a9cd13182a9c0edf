//! Polynomials over Q in generators, in canonical form: sorted monomials, no zero coefficient.
//!
//! A generator is a name, a constant, a radical or a function value; what its powers reduce to is the business of
//! `algebra.rs`, so products of monomials are formed there. Exponents are positive and may be fractions.

use super::limits::{Budget, Exponent, Halt, MAX_TERMS, Rational};
use num_traits::{CheckedAdd, One, Signed, Zero};
use std::collections::BTreeMap;

/// A generator by its place in the table of one comparison.
pub(super) type Generator = u32;

/// Generators in ascending order with their exponents; 1 is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Monomial(pub(super) Vec<(Generator, Exponent)>);

impl Monomial {
    pub(super) fn of(generator: Generator, exponent: Exponent) -> Self {
        Self(if exponent.is_zero() { vec![] } else { vec![(generator, exponent)] })
    }

    pub(super) fn is_one(&self) -> bool {
        self.0.is_empty()
    }

    /// The product, with exponents added and nothing reduced.
    pub(super) fn times(&self, other: &Self) -> Result<Self, Halt> {
        let mut product = self.0.clone();
        for &(generator, exponent) in &other.0 {
            match product.binary_search_by_key(&generator, |&(known, _)| known) {
                Ok(at) => product[at].1 = product[at].1.checked_add(&exponent).ok_or(Halt::TooLarge)?,
                Err(at) => product.insert(at, (generator, exponent)),
            }
        }
        product.retain(|(_, exponent)| !exponent.is_zero());
        Ok(Self(product))
    }

    pub(super) fn exponent(&self, generator: Generator) -> Exponent {
        self.0.iter().find(|(other, _)| *other == generator).map_or_else(Exponent::zero, |(_, exponent)| *exponent)
    }

    /// The part in generators that `keep` names, and the rest.
    pub(super) fn split(&self, keep: impl Fn(Generator) -> bool) -> (Self, Self) {
        let (kept, rest) = self.0.iter().copied().partition(|&(generator, _)| keep(generator));
        (Self(kept), Self(rest))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Polynomial(pub(super) BTreeMap<Monomial, Rational>);

impl Polynomial {
    pub(super) fn constant(value: Rational) -> Self {
        Self::term(Monomial::default(), value)
    }

    pub(super) fn one() -> Self {
        Self::constant(Rational::one())
    }

    pub(super) fn term(monomial: Monomial, coefficient: Rational) -> Self {
        let mut terms = BTreeMap::new();
        if !coefficient.is_zero() {
            terms.insert(monomial, coefficient);
        }
        Self(terms)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a polynomial without generators.
    pub(super) fn as_rational(&self) -> Option<Rational> {
        match self.0.len() {
            0 => Some(Rational::zero()),
            1 => self.0.iter().next().filter(|(monomial, _)| monomial.is_one()).map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// The one term of a monomial.
    pub(super) fn as_term(&self) -> Option<(&Monomial, &Rational)> {
        self.0.iter().next().filter(|_| self.0.len() == 1)
    }

    pub(super) fn add_term(&mut self, monomial: Monomial, value: &Rational, budget: &Budget) -> Result<(), Halt> {
        if self.0.len() > MAX_TERMS {
            return Err(Halt::TooLarge);
        }
        budget.charge(2)?;
        let sum = match self.0.remove(&monomial) {
            Some(old) => budget.add(&old, value)?,
            None => value.clone(),
        };
        if !sum.is_zero() {
            self.0.insert(monomial, sum);
        }
        Ok(())
    }

    pub(super) fn plus(mut self, other: &Self, budget: &Budget) -> Result<Self, Halt> {
        for (monomial, value) in &other.0 {
            self.add_term(monomial.clone(), value, budget)?;
        }
        Ok(self)
    }

    pub(super) fn scaled(mut self, factor: &Rational, budget: &Budget) -> Result<Self, Halt> {
        if factor.is_zero() {
            return Ok(Self::default());
        }
        if !factor.is_one() {
            for value in self.0.values_mut() {
                *value = budget.multiply(value, factor)?;
            }
        }
        Ok(self)
    }

    pub(super) fn negated(mut self) -> Self {
        for value in self.0.values_mut() {
            *value = -std::mem::take(value);
        }
        self
    }

    /// The rational of the leading term's sign that leaves coprime integers as coefficients.
    pub(super) fn content(&self) -> Rational {
        use num_integer::Integer;
        let mut values = self.0.values().rev();
        let Some(first) = values.next() else { return Rational::one() };
        let (mut above, mut below) = (first.numer().abs(), first.denom().clone());
        for value in values {
            above = above.gcd(value.numer());
            below = below.lcm(value.denom());
        }
        let content = Rational::new(above, below);
        if first.is_negative() { -content } else { content }
    }

    /// Every generator that occurs.
    pub(super) fn generators(&self) -> Vec<Generator> {
        let mut all: Vec<Generator> = self.0.keys().flat_map(|monomial| monomial.0.iter().map(|(g, _)| *g)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The greatest monomial that divides every term.
    pub(super) fn common_monomial(&self) -> Monomial {
        let mut terms = self.0.keys();
        let Some(first) = terms.next() else { return Monomial::default() };
        let mut common = first.clone();
        for monomial in terms {
            for (generator, exponent) in &mut common.0 {
                *exponent = (*exponent).min(monomial.exponent(*generator));
            }
        }
        common.0.retain(|(_, exponent)| exponent.is_positive());
        common
    }
}
