//! Forward Kullback-Leibler divergence, KL(q || p) = sum_i q_i log(q_i / p_i): the student must cover all that the teacher
//! finds likely (Hinton et al., arXiv 1503.02531).
//!
//! h = -q, so the gradient in u is p - q.

use super::{Divergence, Pointwise};
use candle_core::{Result, Tensor};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForwardKl;

impl Pointwise for ForwardKl {
    #[inline(always)]
    fn term(&self, _: f32, q: f32, log_p: f32, log_q: f32) -> (f32, f32) {
        (q * (log_q - log_p), -q)
    }

    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
        log_q.exp()? * (log_q - log_p)?
    }

    fn divergence(&self) -> Divergence {
        Divergence::Forward { alpha: 0.0 }
    }
}
