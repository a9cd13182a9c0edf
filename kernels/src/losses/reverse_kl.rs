//! Reverse Kullback-Leibler divergence, KL(p || q) = sum_i p_i log(p_i / q_i): the student may keep to some of what the
//! teacher finds likely, but must leave what it does not (MiniLLM, arXiv 2306.08543).
//!
//! h = p (log(p / q) + 1), so the gradient in u is p (log(p / q) - KL).

use super::{Divergence, Pointwise};
use candle_core::{Result, Tensor};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReverseKl;

impl Pointwise for ReverseKl {
    #[inline(always)]
    fn term(&self, p: f32, _: f32, log_p: f32, log_q: f32) -> (f32, f32) {
        let f = p * (log_p - log_q);
        (f, f + p)
    }

    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
        log_p.exp()? * (log_p - log_q)?
    }

    fn divergence(&self) -> Divergence {
        Divergence::Reverse { alpha: 0.0 }
    }
}
