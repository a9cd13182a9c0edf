//! The entropy of the student's own distribution, -sum_i p_i log p_i, at temperature 1: how open its choice of the next
//! token is.
//!
//! Gradient in z: -p_i (log p_i + H).

use super::{RowLoss, Scratch, check_rows, log_normaliser, log_softmax, weighted_sum};
use crate::simd;
use candle_core::{D, Result, Tensor};

/// The entropy of row j with weight `weights[j]`.
pub struct Entropy<'a> {
    pub weights: &'a [f32],
}

impl RowLoss for Entropy<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], _: &mut Scratch) -> f64 {
        let weight = self.weights[row];
        let entropy = simd::dispatch(
            #[inline(always)]
            || gradient_row(logits, weight),
        );
        f64::from(weight) * f64::from(entropy)
    }

    fn check(&self, n: usize, _: usize) -> Result<()> {
        check_rows("entropy", n, self.weights.len())
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let log_p = log_softmax(logits_kv, 1.0)?;
        weighted_sum(&(log_p.exp()? * log_p)?.sum(D::Minus1)?.neg()?, self.weights, at)
    }
}

/// Turns logits into `weight` times the gradient of their entropy, which is returned.
#[inline(always)]
fn gradient_row(logits: &mut [f32], weight: f32) -> f32 {
    let log_z = log_normaliser(logits, 1.0);
    // An outcome that is impossible has no part in it.
    let term = |z: f32| {
        let log_p = (z - log_z).max(super::LOWEST);
        (simd::exp(log_p), log_p)
    };
    let entropy = -simd::sum(logits, |z| {
        let (p, log_p) = term(z);
        p * log_p
    });
    for z in logits.iter_mut() {
        let (p, log_p) = term(*z);
        *z = -weight * p * (log_p + entropy);
    }
    entropy
}

#[cfg(test)]
mod tests {
    use super::super::{CrossEntropy, Told};
    use super::*;
    use crate::linear_loss::testing::agrees;

    #[test]
    fn entropy_agrees_with_its_reference() -> Result<()> {
        let weights = [0.3, 0.0, 1.1, 0.2, 0.7];
        agrees((5, 37), None, &[&Entropy { weights: &weights }])
    }

    #[test]
    fn what_is_told_alone_has_a_value_and_no_gradient() -> Result<()> {
        let weights = [0.5, 1.0];
        let loss = CrossEntropy { targets: &[2, 0], weights: &weights };
        let logits = [0.3f32, -1.0, 2.0];
        let (mut own, mut told) = (logits, logits);
        let value = loss.row(0, &mut own, &[], &mut Scratch::default());
        assert_eq!(Told(loss).row(0, &mut told, &[], &mut Scratch::default()), value);
        assert!(own.iter().all(|x| *x != 0.0) && told == [0.0; 3]);
        Ok(())
    }
}
