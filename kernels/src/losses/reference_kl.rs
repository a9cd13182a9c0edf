//! KL to a reference policy from the token that was drawn, without ever being negative (the estimator k3 of
//! http://joschu.net/blog/kl-approx.html; DeepSeekMath, arXiv 2402.03300, equation 4): with d = log q_y - log p_y it is
//! exp(d) - d - 1, whose expectation over y drawn from p is KL(p || q).
//!
//! Slope in log p_y: 1 - exp(d).

use super::{OfToken, check_rows, of_rows};
use candle_core::{Result, Tensor};

/// The reference gives `log_probs[j]` to the token of row j.
pub struct ReferenceKl<'a> {
    pub log_probs: &'a [f32],
}

impl OfToken for ReferenceKl<'_> {
    fn of(&self, row: usize, log_p: f32) -> (f32, f32) {
        let d = self.log_probs[row] - log_p;
        // exp_m1 keeps the digits where the two are close.
        let excess = d.exp_m1();
        (excess - d, -excess)
    }

    fn check(&self, n: usize) -> Result<()> {
        check_rows("KL to a reference", n, self.log_probs.len())
    }

    fn reference(&self, at: &[usize], log_p_k: &Tensor) -> Result<Tensor> {
        let d = (of_rows(self.log_probs, at, log_p_k)? - log_p_k)?;
        (d.exp()? - d)? - 1.0
    }
}
