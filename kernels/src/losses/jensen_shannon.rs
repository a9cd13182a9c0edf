//! Generalised Jensen-Shannon divergence, beta KL(q || m) + (1 - beta) KL(p || m) with m = beta q + (1 - beta) p: between
//! forward (beta to 0) and reverse (beta to 1) KL, and bounded (GKD, arXiv 2306.13649, section 2).
//!
//! h = (1 - beta) p log(p / m). As published the value itself goes to 0 with beta and with 1 - beta; only beta strictly
//! between the two is meant.

use super::{Divergence, Pointwise, TINY, at_least};
use crate::simd;
use candle_core::{Result, Tensor};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JensenShannon {
    pub beta: f64,
}

impl Pointwise for JensenShannon {
    #[inline(always)]
    fn term(&self, p: f32, q: f32, log_p: f32, log_q: f32) -> (f32, f32) {
        let (b, c) = (self.beta as f32, (1.0 - self.beta) as f32);
        let log_m = simd::ln(at_least(TINY, b * q + c * p));
        let h = c * p * (log_p - log_m);
        (b * q * (log_q - log_m) + h, h)
    }

    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
        let (q, p) = ((log_q.exp()? * self.beta)?, (log_p.exp()? * (1.0 - self.beta))?);
        let log_m = ((&q + &p)? + f64::from(TINY))?.log()?;
        (q * (log_q - &log_m)?)? + (p * (log_p - &log_m)?)?
    }

    fn divergence(&self) -> Divergence {
        Divergence::JensenShannon { beta: self.beta }
    }
}
