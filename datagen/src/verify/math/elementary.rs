//! Elementary functions on intervals: Taylor series in interval arithmetic, with the remainder added as an interval of
//! its own, so that every result encloses the true value.

use super::interval::{Interval, Precision};
use super::limits::Halt;
use std::cmp::Ordering;

/// Bits beyond those asked for, for the roundings on the way.
const GUARD: u32 = 32;

impl Interval {
    pub(super) fn pi(at: Precision) -> Result<Self, Halt> {
        // Machin: pi = 16 atan(1/5) - 4 atan(1/239).
        let inner = at.with(at.bits + GUARD);
        let part = |below: i64| Self::integer(1).divide(&Self::integer(below), inner)?.small_arctan(inner);
        part(5)?.shifted(4).minus(&part(239)?.shifted(2), at)
    }

    fn ln_two(at: Precision) -> Result<Self, Halt> {
        // ln 2 = 2 artanh(1/3)
        Ok(Self::integer(1).divide(&Self::integer(3), at)?.small_artanh(at)?.shifted(1))
    }

    /// `sum x^(2n+1) / (2n+1)` for |x| < 1/2.
    fn small_artanh(&self, at: Precision) -> Result<Self, Halt> {
        self.odd_series(at, false)
    }

    /// `sum (-1)^n x^(2n+1) / (2n+1)` for |x| < 1/2.
    fn small_arctan(&self, at: Precision) -> Result<Self, Halt> {
        self.odd_series(at, true)
    }

    fn odd_series(&self, at: Precision, alternating: bool) -> Result<Self, Halt> {
        if self.sign() == Some(Ordering::Equal) {
            return Ok(Self::integer(0));
        }
        let step = self.square(at)?;
        // Each term is at least twice as small as `magnitude` says of the step.
        let size = self.magnitude();
        if size > -1 {
            return Err(Halt::NoValue);
        }
        let mut power = self.clone();
        let mut sum = self.clone();
        let mut n: i64 = 1;
        while power.magnitude() > size - i64::from(at.bits) {
            power = power.times(&step, at)?;
            n += 2;
            let term = power.divide(&Self::integer(n), at)?;
            sum = if alternating && n % 4 == 3 { sum.minus(&term, at)? } else { sum.plus(&term, at)? };
        }
        // The rest is less than a geometric series with ratio 1/4.
        sum.plus(&Self::around_zero(power.magnitude()), at)
    }

    pub(super) fn exp(&self, at: Precision) -> Result<Self, Halt> {
        let size = self.magnitude().max(-8);
        if size > 16 {
            return Err(Halt::TooLarge);
        }
        // Halved until it is below 2^-8, squared again at the end.
        let halvings = (size + 8) as u32;
        let inner = at.with(at.bits + GUARD + 2 * halvings);
        let reduced = self.clone().shifted(-i64::from(halvings));
        let mut term = Self::integer(1);
        let mut sum = Self::integer(1);
        let mut n = 0;
        while term.magnitude() > -i64::from(inner.bits) {
            n += 1;
            term = term.times(&reduced, inner)?.divide(&Self::integer(n), inner)?;
            sum = sum.plus(&term, inner)?;
        }
        sum = sum.plus(&Self::around_zero(term.magnitude()), inner)?;
        for _ in 0..halvings {
            sum = sum.square(inner)?;
        }
        sum.plus(&Self::integer(0), at)
    }

    pub(super) fn ln(&self, at: Precision) -> Result<Self, Halt> {
        if self.sign() != Some(Ordering::Greater) {
            return Err(Halt::NoValue);
        }
        let inner = at.with(at.bits + GUARD);
        // x = m 2^k with m in [1/2, 1]; then ln m = 8 artanh((r - 1) / (r + 1)) with r the fourth root of m.
        let k = self.magnitude();
        let root = self.clone().shifted(-k).root(4, inner)?;
        let ratio = root.minus(&Self::integer(1), inner)?.divide(&root.plus(&Self::integer(1), inner)?, inner)?;
        let scaled = Self::ln_two(inner)?.times(&Self::integer(k), inner)?;
        ratio.small_artanh(inner)?.shifted(3).plus(&scaled, at)
    }

    pub(super) fn arctan(&self, at: Precision) -> Result<Self, Halt> {
        let inner = at.with(at.bits + GUARD);
        // atan x = 2 atan(x / (1 + sqrt(1 + x^2))), four times.
        let mut reduced = self.clone();
        for _ in 0..4 {
            let below = reduced.square(inner)?.plus(&Self::integer(1), inner)?.root(2, inner)?;
            reduced = reduced.divide(&below.plus(&Self::integer(1), inner)?, inner)?;
        }
        reduced.small_arctan(inner)?.shifted(4).plus(&Self::integer(0), at)
    }

    pub(super) fn cos(&self, at: Precision) -> Result<Self, Halt> {
        let size = self.magnitude();
        if size > 64 {
            return Err(Halt::TooLarge);
        }
        let inner = at.with(at.bits + 2 * GUARD + size.max(0) as u32);
        let mut reduced = self.clone();
        if size > 3 {
            // Whole turns go.
            let turn = Self::pi(inner)?.shifted(1);
            let turns = reduced.divide(&turn, inner)?.floor().ok_or(Halt::NoValue)?;
            let turns = Self::rational(&turns.into(), inner)?;
            reduced = reduced.minus(&turn.times(&turns, inner)?, inner)?;
        }
        let halvings = (reduced.magnitude().max(-8) + 8) as u32;
        let step = reduced.shifted(-i64::from(halvings)).square(inner)?;
        let mut term = Self::integer(1);
        let mut sum = Self::integer(1);
        let mut n = 0;
        while term.magnitude() > -i64::from(inner.bits) {
            n += 2;
            term = term.times(&step, inner)?.divide(&Self::integer(-n * (n - 1)), inner)?;
            sum = sum.plus(&term, inner)?;
        }
        sum = sum.plus(&Self::around_zero(term.magnitude()), inner)?;
        // cos 2t = 2 cos^2 t - 1
        for _ in 0..halvings {
            sum = sum.square(inner)?.shifted(1).minus(&Self::integer(1), inner)?;
        }
        sum.plus(&Self::integer(0), at)
    }

    pub(super) fn sin(&self, at: Precision) -> Result<Self, Halt> {
        let inner = at.with(at.bits + GUARD);
        Self::pi(inner)?.shifted(-1).minus(self, inner)?.cos(at)
    }

    pub(super) fn arcsin(&self, at: Precision) -> Result<Self, Halt> {
        let inner = at.with(at.bits + GUARD);
        let below = Self::integer(1).minus(&self.square(inner)?, inner)?.root(2, inner)?;
        self.divide(&below, inner)?.arctan(at)
    }
}
