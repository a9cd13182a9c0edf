//! The difference between two models on the same questions.
//!
//! d_i = score of A - score of B on question i; the estimate is mean(d), SE = sd(d) / sqrt(n), interval mean ± 1.96 SE.
//! Pairing takes the difficulty of the questions out of the noise: SE² = SE_A² + SE_B² - 2·corr·SE_A·SE_B.
//! Source: E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, section 4.
//!
//! With fewer than 30 questions, or fewer than 10 questions' worth of difference or of agreement, the normal
//! approximation fails (at d_i all equal its width would be 0). The interval is then Bonett and Price's: add one
//! question of d = +1 and one of d = -1, and take m ± 1.96·sqrt((mean of d² - m²) / (n + 2)) over the n + 2, cut to [-1, 1].
//! Source: D. G. Bonett, R. M. Price, Adjusted Wald confidence interval for a difference of binomial proportions based on
//! paired data, J. Educ. Behav. Stat. 37 (2012); for fractional d it is the same shrinkage. Questions that share a stem count by
//! clusters, and the signs of a cluster flip together.

use super::clusters::{Clusters, Spread};
use super::{Bootstrap, Interval, Z95, detectable, sign_flip_p};
use serde::{Deserialize, Serialize};

/// How the interval of a difference was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceMethod {
    /// Mean ± 1.96 SE over the paired differences.
    Normal,
    /// The adjusted Wald interval for few questions.
    BonettPrice,
}

/// A paired difference of mean scores, first minus second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub value: f64,
    pub ci95: Interval,
    pub interval: DifferenceMethod,
    /// Standard error of the difference over questions, or clusters of them; `None` for a single one.
    pub standard_error: Option<f64>,
    /// Correlation of the two models' question scores; `None` where one of them does not vary.
    pub correlation: Option<f64>,
    /// Exact two-sided McNemar p-value; `None` unless both runs have one sample per question, and no two share a stem.
    pub mcnemar_p: Option<f64>,
    /// Two-sided p-value of the sign-flip test.
    pub sign_flip_p: f64,
    /// The smallest true difference that would be found in four of five repetitions; `None` for a single question.
    pub detectable: Option<f64>,
    pub problems: usize,
    /// Clusters of problems that share a stem, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<usize>,
}

/// The difference first - second over (first, second) scores of the same questions, which `clusters` groups; `None` without
/// questions. `flips` says how often the signs are flipped, and from which seed.
pub fn paired_difference(pairs: &[(f64, f64)], clusters: &Clusters, flips: &Bootstrap) -> Option<Difference> {
    if pairs.is_empty() {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| first - second).collect();
    let n = differences.len() as f64;
    let Spread { mean: value, standard_error, questions: worth } = clusters.spread(&differences);
    let moved = differences.iter().map(|d| d.abs()).sum::<f64>() / n;
    let few = clusters.count() < 30 || worth * moved < 10.0 || worth * (1.0 - value.abs()) < 10.0;
    let (ci95, interval) = match standard_error {
        Some(error) if !few && error > 0.0 => {
            (Interval::around(value, Z95 * error, -1.0, 1.0), DifferenceMethod::Normal)
        }
        _ => {
            let square = differences.iter().map(|d| d * d).sum::<f64>() / n;
            (bonett_price(value, square, worth), DifferenceMethod::BonettPrice)
        }
    };
    let rows: Vec<[f64; 1]> = differences.iter().map(|&d| [d]).collect();
    let sums: Vec<f64> = clusters.sums(&rows).into_iter().flatten().collect();
    Some(Difference {
        value,
        ci95,
        interval,
        standard_error,
        correlation: correlation(pairs),
        mcnemar_p: None,
        sign_flip_p: sign_flip_p(&sums, flips),
        detectable: standard_error.map(detectable),
        problems: pairs.len(),
        clusters: clusters.if_any(),
    })
}

/// From the mean of d and of d² over as many questions.
fn bonett_price(mean: f64, square: f64, questions: f64) -> Interval {
    let n = questions + 2.0;
    let squares = questions * square + 2.0;
    let mean = questions * mean / n;
    Interval::around(mean, Z95 * ((squares / n - mean * mean) / n).sqrt(), -1.0, 1.0)
}

fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let first = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
    let second = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (x, y) = (x - first, y - second);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    // Sums of squares of exact thirds and the like leave dust where there is no variation.
    (xx > 1e-12 && yy > 1e-12).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}
