//! The exact McNemar test for two models with one sample per question.
//!
//! Only questions that exactly one model gets right carry information. If neither model were better, `gained` would be
//! binomial with gained + lost trials and probability 1/2; the two-sided p-value is min(1, 2·P(X <= min(gained, lost))).
//! Source: Q. McNemar, Psychometrika 12 (1947), in its exact form.

/// The two-sided p-value of `gained` against `lost` discordant questions; 1 when there are none.
pub fn mcnemar_exact(gained: u64, lost: u64) -> f64 {
    let trials = gained + lost;
    // Term k of the binomial over its largest value 2^trials, in logarithms: 2^-trials alone underflows at 1075 trials.
    let mut log_term = -(trials as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=gained.min(lost) {
        log_term += ((trials - k + 1) as f64 / k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}
