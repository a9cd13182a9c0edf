//! The estimators behind every figure of a report; each file states its formula and its source.
//!
//! The unit is the question: a model's score on a question is the mean over its samples, and questions are what the
//! benchmark drew from the world. Two models are always compared on the same questions, paired.

mod bootstrap;
mod clusters;
mod holm;
mod mcnemar;
mod mean;
mod paired;
mod power;
mod ratio;
mod sampled;
mod sign_flip;
mod wilson;

pub use bootstrap::{Bootstrap, quantile};
pub use clusters::Clusters;
pub use holm::holm;
pub use mcnemar::mcnemar_exact;
pub use mean::{Mean, Method, Question, mean_score};
pub use paired::{Difference, DifferenceMethod, paired_difference};
pub use power::{detectable, problems_needed};
pub use ratio::{Estimate, Triple, gap_recovered, share_of};
pub use sampled::{Vote, all_of_k, consensus_at_k, pass_at_k};
pub use sign_flip::sign_flip_p;
pub use wilson::wilson;

use serde::{Deserialize, Serialize};

/// The 97.5% quantile of the standard normal distribution: every interval here is a 95% interval.
pub const Z95: f64 = 1.959963984540054;

/// A closed interval; two numbers in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Interval {
    pub lo: f64,
    pub hi: f64,
}

impl Interval {
    /// `centre` plus and minus `half`, cut to [`lowest`, `highest`].
    fn around(centre: f64, half: f64, lowest: f64, highest: f64) -> Self {
        Self { lo: (centre - half).max(lowest), hi: (centre + half).min(highest) }
    }

    /// Whether `x` lies in the interval, its ends included.
    pub fn holds(self, x: f64) -> bool {
        self.lo <= x && x <= self.hi
    }
}

impl From<[f64; 2]> for Interval {
    fn from([lo, hi]: [f64; 2]) -> Self {
        Self { lo, hi }
    }
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.lo, interval.hi]
    }
}

/// The sample mean and the standard error of that mean, sd(x) / sqrt(n) with n - 1 in the sd; `None` below two values.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let clusters::Spread { mean, standard_error, .. } = Clusters::alone(values.len()).spread(values);
    (mean, standard_error)
}

#[cfg(test)]
mod clustered;
#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
