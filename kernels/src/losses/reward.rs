//! Reverse KL from one token that the student itself drew: for y drawn from p, log p_y - log q_y has the expectation
//! KL(p || q), and (log p_y - log q_y) times the gradient of log p_y has that of its gradient (the score function
//! estimator; on-policy distillation as in arXiv 2306.08543 and 2306.13649 with a teacher that tells only the
//! log-probability of what was written). At temperature 1.
//!
//! Gradient in z: (log p_y - log q_y) (onehot(y) - p), the first factor being a constant. It is not the derivative of the
//! value: that of a single draw says nothing.

use super::{RowLoss, Scratch, check_rows, log_softmax, weighted_sum};
use crate::simd;
use candle_core::{Result, Tensor, bail};

/// Row j drew `tokens[j]`, to which the teacher gives `log_probs[j]`.
pub struct SampledReverseKl<'a> {
    pub tokens: &'a [u32],
    pub log_probs: &'a [f32],
    pub weights: &'a [f32],
}

impl RowLoss for SampledReverseKl<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], _: &mut Scratch) -> f64 {
        let (token, weight) = (self.tokens[row] as usize, self.weights[row]);
        let z = logits[token];
        let log_z = simd::dispatch(
            #[inline(always)]
            || super::log_normaliser(logits, 1.0),
        );
        let excess = z - log_z - self.log_probs[row];
        let scale = -weight * excess;
        simd::dispatch(
            #[inline(always)]
            || logits.iter_mut().for_each(|x| *x = scale * simd::exp(*x - log_z)),
        );
        logits[token] -= scale;
        f64::from(weight) * f64::from(excess)
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        for given in [self.tokens.len(), self.log_probs.len(), self.weights.len()] {
            check_rows("sampled reverse KL", n, given)?;
        }
        match self.tokens.iter().zip(self.weights).find(|&(&t, &w)| w != 0.0 && t as usize >= v) {
            Some((token, _)) => bail!("sampled reverse KL: token {token} with a vocabulary of {v}"),
            None => Ok(()),
        }
    }

    fn reference(&self, logits_nv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let picked = self.tokens.iter().zip(self.weights).map(|(&t, &w)| if w == 0.0 { 0 } else { t });
        let index = Tensor::from_iter(picked, logits_nv.device())?.unsqueeze(1)?;
        let log_p = log_softmax(logits_nv, 1.0)?.gather(&index, 1)?.squeeze(1)?;
        let log_q = Tensor::new(self.log_probs, logits_nv.device())?.to_dtype(logits_nv.dtype())?;
        let excess = (&log_p - log_q)?.detach();
        // The value of `excess` with the gradient of `excess * log_p`.
        let surrogate = (&excess * &log_p)?;
        weighted_sum(&((&excess + &surrogate)? - surrogate.detach())?, self.weights)
    }
}
