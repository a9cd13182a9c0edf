//! Reverse KL from one token that the student itself drew: for y drawn from p, log p_y - log q_y has the expectation
//! KL(p || q), and (log p_y - log q_y) times the gradient of log p_y has that of its gradient (the score function
//! estimator; on-policy distillation as in arXiv 2306.08543 and 2306.13649 with a teacher that tells only the
//! log-probability of what was written).
//!
//! Slope: log p_y - log q_y, as a constant. It is not the derivative of the value: that of a single draw says nothing.

use super::{OfToken, check_rows, of_rows};
use candle_core::{Result, Tensor};

/// The teacher gives `log_probs[j]` to the token that row j drew.
pub struct SampledReverseKl<'a> {
    pub log_probs: &'a [f32],
}

impl OfToken for SampledReverseKl<'_> {
    fn of(&self, row: usize, log_p: f32) -> (f32, f32) {
        let excess = log_p - self.log_probs[row];
        (excess, excess)
    }

    fn check(&self, n: usize) -> Result<()> {
        check_rows("sampled reverse KL", n, self.log_probs.len())
    }

    fn reference(&self, at: &[usize], log_p_k: &Tensor) -> Result<Tensor> {
        let excess = (log_p_k - of_rows(self.log_probs, at, log_p_k)?)?.detach();
        // The value of `excess` with the gradient of `excess * log_p`.
        let surrogate = (&excess * log_p_k)?;
        (&excess + &surrogate)? - surrogate.detach()
    }
}
