//! Wilson's score interval for a proportion.
//!
//! With p = successes / n and z the normal quantile, the interval is
//! (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n): the set of true proportions that a score test does not reject.
//! It stays inside [0, 1], is never of width 0, and holds its level at small n, where mean ± 1.96 SE does not.
//! Source: E. B. Wilson, JASA 22 (1927); recommended by Brown, Cai, DasGupta, Statistical Science 16 (2001).

use super::{Interval, Z95};

/// The 95% interval of a proportion `p` seen over `n` trials; `n` is at least 1, and whole unless trials depend on each other.
///
/// `p` may be the mean of fractional scores: a variable within [0, 1] with mean p has a variance of at most p(1-p),
/// so the interval is then too wide rather than too narrow.
pub fn wilson(p: f64, n: f64) -> Interval {
    let z2 = Z95 * Z95;
    let shrink = 1.0 + z2 / n;
    let centre = (p + z2 / (2.0 * n)) / shrink;
    let half = Z95 / shrink * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // At p = 0 and p = 1 the end is exactly 0 and 1; rounding must not move it past the point estimate.
    let interval = Interval::around(centre, half, 0.0, 1.0);
    Interval { lo: interval.lo.min(p), hi: interval.hi.max(p) }
}
