//! Softmax over the last dimension: y_j = exp(x_j - max x) / sum_k exp(x_k - max x).
//!
//! Backward: dx = y (dy - sum(dy y)).

use crate::{cpu, simd};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Softmax over the last dimension of `x`.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if cpu::fast(&[x]) { x.contiguous()?.apply_op1(Softmax) } else { reference(x) }
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// Turns one row of scores into probabilities; a row of -inf only becomes zeros.
#[inline(always)]
pub(crate) fn softmax_row(row: &mut [f32]) {
    let top = simd::max(row);
    if top == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    for x in row.iter_mut() {
        *x = simd::exp(*x - top);
    }
    let inverse = 1.0 / simd::sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= inverse;
    }
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = cpu::rows(layout)?;
        let mut y = cpu::slice(x, layout)?.to_vec();
        y.par_chunks_mut(d).with_min_len(64).for_each(|row| {
            simd::dispatch(
                #[inline(always)]
                || softmax_row(row),
            );
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let d = y.dim(D::Minus1)?;
        let mut dx = vec![0f32; y.elem_count()];
        cpu::with(y, |values| {
            cpu::with(dy, |dy| {
                dx.par_chunks_mut(d).zip(values.par_chunks(d)).zip(dy.par_chunks(d)).with_min_len(64).for_each(
                    |((dx, y), dy)| {
                        simd::dispatch(
                            #[inline(always)]
                            || {
                                let shared = simd::dot(dy, y);
                                for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                                    *dx = y * (dy - shared);
                                }
                            },
                        );
                    },
                );
                Ok(())
            })
        })?;
        Ok(Some(cpu::tensor(dx, y)?))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> candle_core::Result<()> {
        for dims in [vec![1, 1], vec![5, 9], vec![2, 3, 40]] {
            Case::new(vec![(random(&dims, 4) * 5.0)?])
                .agrees(|a| super::softmax(&a[0]), |a| super::reference(&a[0]))?;
        }
        Ok(())
    }

    #[test]
    fn large_scores_stay_finite() -> candle_core::Result<()> {
        let x = candle_core::Tensor::new(&[[1e4f32, 0.0, -1e4]], &candle_core::Device::Cpu)?;
        assert_eq!(super::softmax(&x)?.to_vec2::<f32>()?, [[1.0, 0.0, 0.0]]);
        Ok(())
    }
}
