//! Skewed Kullback-Leibler divergences (DistiLLM, arXiv 2402.03898, section 3.1): one side mixed with a share alpha of the
//! other, which bounds the gradient where the two disagree. DistiLLM found alpha = 0.1 best.
//!
//! Forward: KL(q || alpha q + (1 - alpha) p), h = -(1 - alpha) q p / m.
//! Reverse: KL(p || (1 - alpha) q + alpha p), h = p (log(p / m) + 1 - alpha p / m).

use super::{Divergence, Pointwise, TINY, at_least};
use crate::simd;
use candle_core::{Result, Tensor};

/// The forward form; alpha = 0 is forward KL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkewedKl {
    pub alpha: f64,
}

/// The reverse form; alpha = 0 is reverse KL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkewedReverseKl {
    pub alpha: f64,
}

impl Pointwise for SkewedKl {
    #[inline(always)]
    fn term(&self, p: f32, q: f32, _: f32, log_q: f32) -> (f32, f32) {
        let (a, b) = (self.alpha as f32, (1.0 - self.alpha) as f32);
        let m = at_least(TINY, a * q + b * p);
        (q * (log_q - simd::ln(m)), -b * q * (p / m))
    }

    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
        let q = log_q.exp()?;
        let m = ((&q * self.alpha)? + (log_p.exp()? * (1.0 - self.alpha))?)?;
        q * (log_q - (m + f64::from(TINY))?.log()?)?
    }

    fn divergence(&self) -> Divergence {
        Divergence::Forward { alpha: self.alpha }
    }
}

impl Pointwise for SkewedReverseKl {
    #[inline(always)]
    fn term(&self, p: f32, q: f32, log_p: f32, _: f32) -> (f32, f32) {
        let (a, b) = (self.alpha as f32, (1.0 - self.alpha) as f32);
        let m = at_least(TINY, b * q + a * p);
        let f = p * (log_p - simd::ln(m));
        (f, f + p * (1.0 - a * (p / m)))
    }

    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
        let p = log_p.exp()?;
        let m = ((log_q.exp()? * (1.0 - self.alpha))? + (&p * self.alpha)?)?;
        p * (log_p - (m + f64::from(TINY))?.log()?)?
    }

    fn divergence(&self) -> Divergence {
        Divergence::Reverse { alpha: self.alpha }
    }
}
