//! How small a difference a comparison can see, and how many questions it would take to see another.
//!
//! For a paired difference with standard deviation s over n questions, a two-sided test at 5% finds a true difference d with
//! probability 80% where d = (1.96 + 0.842) s / sqrt(n). Source: E. Miller, arXiv 2411.00640, section 5.

use super::Z95;

/// The 80% quantile of the standard normal distribution.
const Z80: f64 = 0.8416212335729143;

/// The smallest true difference that would be found in four of five repetitions, for this standard error.
pub fn detectable(standard_error: f64) -> f64 {
    (Z95 + Z80) * standard_error
}

/// Questions that it takes to find a true difference of `delta` in four of five repetitions, where `problems` gave this
/// standard error; `None` for a difference of 0.
pub fn problems_needed(delta: f64, standard_error: f64, problems: usize) -> Option<u64> {
    let needed = (detectable(standard_error) / delta).powi(2) * problems as f64;
    // Compensates for rounding where the number is whole.
    needed.is_finite().then(|| (needed - 1e-6).ceil().max(1.0) as u64)
}
