//! AdamW in one pass over each parameter (arXiv 1711.05101), moments kept outside the autograd graph.
//!
//! m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
//! w = w - lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w), as `torch.optim.AdamW` computes it.

use crate::{cpu, simd};
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;
use std::sync::Mutex;

/// Settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Counted from 1.
    pub step: u64,
    /// Multiplies every gradient first: clipping and averaging in the same pass.
    pub gradient_scale: f64,
}

/// Moves `parameter` by its gradient and updates its moments `m` and `v`, all of the same length.
pub fn adamw_step(parameter: &Var, gradient: &Tensor, m: &mut [f32], v: &mut [f32], settings: AdamW) -> Result<()> {
    let n = parameter.elem_count();
    if gradient.elem_count() != n || m.len() != n || v.len() != n || settings.step == 0 {
        bail!("adamw: {n} weights, {} gradients, moments {} and {}", gradient.elem_count(), m.len(), v.len());
    }
    if !cpu::fast(&[parameter, gradient]) {
        bail!("adamw: weights and gradients must be f32 on the CPU, got {:?}", parameter.dtype());
    }
    parameter.inplace_op2(&gradient.contiguous()?, &Step { moments: Mutex::new((m, v)), settings })
}

/// Sum of squares in f64, in a fixed order.
pub fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    if !cpu::fast(&[tensor]) {
        return tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from);
    }
    let parts: Vec<f64> = cpu::data(&tensor.contiguous()?)?
        .par_chunks(1 << 14)
        .map(|chunk| {
            f64::from(simd::dispatch(
                #[inline(always)]
                || simd::sum(chunk, |x| x * x),
            ))
        })
        .collect();
    Ok(parts.iter().sum())
}

struct Step<'a> {
    moments: Mutex<(&'a mut [f32], &'a mut [f32])>,
    settings: AdamW,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, lw: &Layout, g: &CpuStorage, lg: &Layout) -> Result<()> {
        let (w, g) = (cpu::slice_mut(w, lw)?, cpu::slice(g, lg)?);
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (m, v) = &mut *moments;
        let s = self.settings;
        let (b1, b2) = (s.beta1 as f32, s.beta2 as f32);
        let correction1 = 1.0 - s.beta1.powf(s.step as f64);
        let correction2 = (1.0 - s.beta2.powf(s.step as f64)).sqrt();
        let (rate, decay) = ((s.learning_rate / correction1) as f32, (1.0 - s.learning_rate * s.weight_decay) as f32);
        let (root, eps, scale) = ((1.0 / correction2) as f32, s.eps as f32, s.gradient_scale as f32);
        let span = 1 << 14;
        let moments = m.par_chunks_mut(span).zip(v.par_chunks_mut(span));
        w.par_chunks_mut(span).zip(g.par_chunks(span)).zip(moments).for_each(|((w, g), (m, v))| {
            simd::dispatch(
                #[inline(always)]
                || {
                    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m.iter_mut()).zip(v.iter_mut()) {
                        let g = g * scale;
                        *m = b1 * *m + (1.0 - b1) * g;
                        *v = b2 * *v + (1.0 - b2) * g * g;
                        *w = *w * decay - rate * *m / (v.sqrt() * root + eps);
                    }
                },
            );
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;
    use candle_core::Device;

    #[test]
    fn follows_the_formula_in_f64() -> Result<()> {
        let mut settings = AdamW {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 1,
            gradient_scale: 0.5,
        };
        let weights = Var::from_tensor(&random(&[37], 1))?;
        let mut exact: Vec<f64> = weights.to_dtype(DType::F64)?.to_vec1()?;
        let (mut m, mut v) = (vec![0f32; 37], vec![0f32; 37]);
        let (mut m64, mut v64) = (vec![0f64; 37], vec![0f64; 37]);
        for step in 1..=5 {
            settings.step = step;
            let gradient = random(&[37], 10 + step);
            adamw_step(&weights, &gradient, &mut m, &mut v, settings)?;
            let g: Vec<f64> = gradient.to_dtype(DType::F64)?.to_vec1()?;
            for i in 0..37 {
                let g = g[i] * 0.5;
                m64[i] = 0.9 * m64[i] + 0.1 * g;
                v64[i] = 0.95 * v64[i] + 0.05 * g * g;
                let (mh, vh) = (m64[i] / (1.0 - 0.9f64.powi(step as i32)), v64[i] / (1.0 - 0.95f64.powi(step as i32)));
                exact[i] -= 0.01 * (mh / (vh.sqrt() + 1e-8) + 0.1 * exact[i]);
            }
        }
        for (found, expected) in weights.to_vec1::<f32>()?.iter().zip(&exact) {
            assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} against {expected}");
        }
        Ok(())
    }

    #[test]
    fn sum_of_squares_by_hand() -> Result<()> {
        assert_eq!(sum_of_squares(&Tensor::new(&[3f32, -4.0], &Device::Cpu)?)?, 25.0);
        Ok(())
    }
}
