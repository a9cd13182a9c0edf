//! RMSNorm over the last dimension: y = x / sqrt(mean(x^2) + eps) * w (arXiv 1910.07467).
//!
//! Backward, with s = 1 / sqrt(mean(x^2) + eps) and g = dy * w:
//! dx = s (g - x s^2 mean(g x)), dw = sum over rows of dy x s.

use crate::{cpu, simd};
use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Normalises the rows of `x` [.., d] and scales them by `weight_d` [d].
pub fn rms_norm(x: &Tensor, weight_d: &Tensor, eps: f64) -> Result<Tensor> {
    if x.dim(D::Minus1)? != weight_d.dim(0)? {
        bail!("rms_norm: input {:?} does not fit weight {:?}", x.shape(), weight_d.shape());
    }
    if cpu::fast(&[x, weight_d]) {
        x.contiguous()?.apply_op2(&weight_d.contiguous()?, RmsNorm { eps: eps as f32 })
    } else {
        reference(x, weight_d, eps)
    }
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, weight_d: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&scale)?.broadcast_mul(weight_d)
}

struct RmsNorm {
    eps: f32,
}

impl RmsNorm {
    #[inline(always)]
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (simd::sum(x, |v| v * v) / x.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = cpu::rows(lx)?;
        let (x, w) = (cpu::slice(x, lx)?, cpu::slice(w, lw)?);
        let mut y = vec![0f32; x.len()];
        y.par_chunks_mut(d).zip(x.par_chunks(d)).with_min_len(64).for_each(|(y, x)| {
            simd::dispatch(
                #[inline(always)]
                || {
                    let s = self.scale(x);
                    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                        *y = x * s * w;
                    }
                },
            );
        });
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        const ROWS: usize = 256; // rows per partial sum of dw: fixed, so that the result does not depend on threads
        let d = w.dim(0)?;
        let (mut dx, mut dw) = (vec![0f32; x.elem_count()], vec![0f32; d]);
        cpu::with(x, |x| {
            cpu::with(w, |w| {
                cpu::with(dy, |dy| {
                    let span = ROWS * d;
                    let partials: Vec<Vec<f32>> = dx
                        .par_chunks_mut(span)
                        .zip(x.par_chunks(span))
                        .zip(dy.par_chunks(span))
                        .map(|((dx, x), dy)| {
                            let mut dw = vec![0f32; d];
                            for ((dx, x), dy) in dx.chunks_mut(d).zip(x.chunks(d)).zip(dy.chunks(d)) {
                                simd::dispatch(
                                    #[inline(always)]
                                    || self.row_backward(dx, &mut dw, x, w, dy),
                                );
                            }
                            dw
                        })
                        .collect();
                    for partial in partials {
                        dw.iter_mut().zip(partial).for_each(|(total, part)| *total += part);
                    }
                    Ok(())
                })
            })
        })?;
        Ok((Some(cpu::tensor(dx, x)?), Some(cpu::tensor(dw, w)?)))
    }
}

impl RmsNorm {
    #[inline(always)]
    fn row_backward(&self, dx: &mut [f32], dw: &mut [f32], x: &[f32], w: &[f32], dy: &[f32]) {
        let s = self.scale(x);
        // dx holds g = dy w for a moment, so that mean(g x) is a plain dot product.
        for ((dx, dy), w) in dx.iter_mut().zip(dy).zip(w) {
            *dx = dy * w;
        }
        let shared = s * s * s * simd::dot(dx, x) / x.len() as f32;
        for (((dx, dw), x), dy) in dx.iter_mut().zip(dw).zip(x).zip(dy) {
            *dx = s * *dx - x * shared;
            *dw += dy * x * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> candle_core::Result<()> {
        for dims in [vec![1, 5], vec![7, 16], vec![3, 4, 33], vec![600, 3]] {
            let d = *dims.last().expect("not empty");
            Case::new(vec![random(&dims, 1), random(&[d], 2)])
                .agrees(|a| super::rms_norm(&a[0], &a[1], 1e-6), |a| super::reference(&a[0], &a[1], 1e-6))?;
        }
        Ok(())
    }
}
