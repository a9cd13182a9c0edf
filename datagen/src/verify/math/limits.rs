//! What a comparison may cost. Every bound is a count, never a clock, so that the same pair gives the same grade on
//! every machine; whoever would pass one stops with a [`Halt`], which makes the grade `undecided`.

use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::Zero;
use std::cell::Cell;

/// Exact numbers.
pub(super) type Rational = Ratio<BigInt>;
/// Exponents; small, since a power is multiplied out.
pub(super) type Exponent = Ratio<i32>;

/// Bytes of one answer. The longest of MATH's golds has 159; ten times a long matrix still fits.
pub(super) const MAX_BYTES: usize = 4096;
/// Brackets, exponents and fractions inside one another. It bounds the recursion of everything that walks a tree.
pub(super) const MAX_DEPTH: usize = 48;
/// Nodes of one tree; a 10 by 10 matrix of fractions has 400.
pub(super) const MAX_NODES: usize = 2048;
/// Digits of one literal.
pub(super) const MAX_DIGITS: usize = 2048;
/// Bits of a numerator or denominator: 2006! has 19,000.
pub(super) const MAX_BITS: u64 = 1 << 16;
/// Terms of a polynomial: `(a + b + c + d)^10` has 286.
pub(super) const MAX_TERMS: usize = 1024;
/// Radicals, functions and names of one pair.
pub(super) const MAX_GENERATORS: usize = 64;
/// Answers that one text may spell out by plus-minus signs, a power of two.
pub(super) const MAX_BRANCHES: usize = 8;
/// Steps of one comparison; one is about a word of arithmetic, so all of them take some tens of milliseconds.
pub(super) const MAX_STEPS: u64 = 2_000_000;
/// Where intervals start ...
pub(super) const FIRST_PRECISION: u32 = 64;
/// ... and how far doubling takes them where no bound says how far is enough.
pub(super) const LAST_PRECISION: u32 = 1024;
/// How far it takes them where a bound does.
pub(super) const LAST_ALGEBRAIC_PRECISION: u32 = 8192;

/// Why a comparison stopped before it knew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    #[error("too long: over {MAX_BYTES} bytes")]
    TooLong,
    #[error("too deep: over {MAX_DEPTH} levels")]
    TooDeep,
    #[error("too large to compute")]
    TooLarge,
    #[error("too many steps")]
    TooManySteps,
    #[error("division by zero")]
    DivisionByZero,
    #[error("no real value")]
    NoValue,
    #[error("unreadable: {0}")]
    Unreadable(&'static str),
}

/// What is left of the steps.
#[derive(Debug)]
pub(super) struct Budget {
    steps: Cell<u64>,
}

impl Budget {
    pub(super) fn new(steps: u64) -> Self {
        Self { steps: Cell::new(steps) }
    }

    /// Takes steps before the work they stand for is done.
    pub(super) fn charge(&self, steps: u64) -> Result<(), Halt> {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Halt::TooManySteps)
    }

    #[cfg(test)]
    pub(super) fn spent(&self, of: u64) -> u64 {
        of - self.steps.get()
    }

    /// Lets a number through that later arithmetic can bear.
    pub(super) fn number(&self, value: Rational) -> Result<Rational, Halt> {
        let bits = value.numer().bits().max(value.denom().bits());
        if bits > MAX_BITS {
            return Err(Halt::TooLarge);
        }
        // Allocation, and the greatest common divisor that keeps it in lowest terms.
        let words = bits / 64;
        self.charge(8 + words * words / 8)?;
        Ok(value)
    }

    pub(super) fn multiply(&self, a: &Rational, b: &Rational) -> Result<Rational, Halt> {
        let words = |x: &Rational| 1 + (x.numer().bits() + x.denom().bits()) / 64;
        self.charge(words(a).saturating_mul(words(b)))?;
        // The divisor that a fraction is reduced by is found bit by bit, even where it is 1.
        let whole = a.is_integer() && b.is_integer();
        self.number(if whole { Rational::from_integer(a.numer() * b.numer()) } else { a * b })
    }

    pub(super) fn add(&self, a: &Rational, b: &Rational) -> Result<Rational, Halt> {
        let whole = a.is_integer() && b.is_integer();
        self.number(if whole { Rational::from_integer(a.numer() + b.numer()) } else { a + b })
    }

    pub(super) fn divide(&self, a: &Rational, b: &Rational) -> Result<Rational, Halt> {
        if b.is_zero() {
            return Err(Halt::DivisionByZero);
        }
        self.multiply(a, &b.recip())
    }

    /// `base^exponent`, refused before it is computed where it would be too large.
    pub(super) fn power(&self, base: &Rational, exponent: i64) -> Result<Rational, Halt> {
        let bits = base.numer().bits().max(base.denom().bits());
        let trivial = bits <= 1 && base.denom().bits() == 1;
        if exponent < 0 && base.is_zero() {
            return Err(Halt::DivisionByZero);
        }
        let size = exponent.unsigned_abs();
        if !trivial && bits.saturating_mul(size) > MAX_BITS {
            return Err(Halt::TooLarge);
        }
        // 0, 1 and -1 to any power: only whether the exponent is odd counts.
        let size = if trivial { size.min(2 + size % 2) } else { size };
        let words = 1 + bits.saturating_mul(size) / 64;
        self.charge(words.saturating_mul(words))?;
        let size = u32::try_from(size).map_err(|_| Halt::TooLarge)?;
        let power = Ratio::new_raw(base.numer().pow(size), base.denom().pow(size));
        self.number(if exponent < 0 { power.recip() } else { power })
    }
}
