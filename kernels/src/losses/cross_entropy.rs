//! Cross-entropy with one token: -log p_y, at temperature 1.
//!
//! Gradient: p - onehot(y).

use super::{Passed, RowLoss, Rows, Scratch, check_rows, log_p_of, of_rows, tokens_of, weighted_sum};
use crate::{cuda, simd};
use candle_core::{Result, Tensor, bail};

/// Row j predicts `targets[j]` with weight `weights[j]`; a row of weight 0 may name any target.
pub struct CrossEntropy<'a> {
    pub targets: &'a [u32],
    pub weights: &'a [f32],
}

impl RowLoss for CrossEntropy<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], _: &mut Scratch) -> f64 {
        let (target, weight) = (self.targets[row] as usize, self.weights[row]);
        let (total, at_target) = simd::dispatch(
            #[inline(always)]
            || gradient_row(logits, target, weight),
        );
        f64::from(weight) * (f64::from(total).ln() - f64::from(at_target))
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        check_rows("cross-entropy", n, self.targets.len())?;
        check_rows("cross-entropy", n, self.weights.len())?;
        match self.targets.iter().zip(self.weights).find(|&(&t, &w)| w != 0.0 && t as usize >= v) {
            Some((target, _)) => bail!("cross-entropy: target {target} with a vocabulary of {v}"),
            None => Ok(()),
        }
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let log_p_k = log_p_of(self.targets, self.weights, at, logits_kv)?;
        weighted_sum(&log_p_k.neg()?, self.weights, at)
    }

    fn in_passes(&self, Rows { at, logits, .. }: Rows, wants_gradient: bool) -> Result<Option<Passed>> {
        let tokens = tokens_of(self.targets, self.weights, at);
        let Some(found) = cuda::token_log_probs(logits, tokens)? else { return Ok(None) };
        let factors = of_rows(self.weights, at, logits)?.neg()?;
        let gradient = wants_gradient.then(|| cuda::token_gradient(logits, &found, &factors)).transpose()?;
        Ok(Some(Passed { loss: (&found.log_p * factors)?.sum_all()?, gradient }))
    }
}

/// Turns one row of logits into `weight * (softmax - onehot)`; returns their sum of exponentials and the target's own
/// logit, both relative to the largest logit.
#[inline(always)]
fn gradient_row(logits: &mut [f32], target: usize, weight: f32) -> (f32, f32) {
    let top = simd::max(logits);
    let at_target = logits[target] - top;
    for x in logits.iter_mut() {
        *x = simd::exp(*x - top);
    }
    let total = simd::sum(logits, |x| x);
    let scale = weight / total;
    for x in logits.iter_mut() {
        // What is smaller still would only become denormal numbers, which slow the products down tenfold.
        *x = if *x < 1e-25 { 0.0 } else { *x * scale };
    }
    logits[target] -= weight;
    (total, at_target)
}
