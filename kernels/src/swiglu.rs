//! SwiGLU's gate: y = silu(gate) * up, both halves in one tensor [.., gate f | up f] (arXiv 2002.05202).
//!
//! Backward, with s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.

use crate::{cpu, simd};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// silu of the first half of the last dimension times the second half: [.., 2f] to [.., f].
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if gate_up.dim(D::Minus1)? % 2 != 0 {
        bail!("swiglu: the last dimension of {:?} is not two equal halves", gate_up.shape());
    }
    if cpu::fast(&[gate_up]) { gate_up.contiguous()?.apply_op1(SwiGlu) } else { reference(gate_up) }
}

/// The same in candle's own ops.
pub(crate) fn reference(gate_up: &Tensor) -> Result<Tensor> {
    let f = gate_up.dim(D::Minus1)? / 2;
    gate_up.narrow(D::Minus1, 0, f)?.silu()? * gate_up.narrow(D::Minus1, f, f)?
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-x))
}

struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, width) = cpu::rows(layout)?;
        let f = width / 2;
        let x = cpu::slice(x, layout)?;
        let mut y = vec![0f32; n * f];
        y.par_chunks_mut(f).zip(x.par_chunks(width)).with_min_len(64).for_each(|(y, x)| {
            simd::dispatch(
                #[inline(always)]
                || {
                    let (gate, up) = x.split_at(f);
                    for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                        *y = g * sigmoid(*g) * u;
                    }
                },
            );
        });
        let mut dims = layout.dims().to_vec();
        *dims.last_mut().expect("rows() refused scalars") = f;
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let width = x.dim(D::Minus1)?;
        let f = width / 2;
        let mut dx = vec![0f32; x.elem_count()];
        cpu::with(x, |x| {
            cpu::with(dy, |dy| {
                dx.par_chunks_mut(width).zip(x.par_chunks(width)).zip(dy.par_chunks(f)).with_min_len(64).for_each(
                    |((dx, x), dy)| {
                        simd::dispatch(
                            #[inline(always)]
                            || {
                                let (gate, up) = x.split_at(f);
                                let (dgate, dup) = dx.split_at_mut(f);
                                for i in 0..f {
                                    let s = sigmoid(gate[i]);
                                    dgate[i] = dy[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                                    dup[i] = dy[i] * gate[i] * s;
                                }
                            },
                        );
                    },
                );
                Ok(())
            })
        })?;
        Ok(Some(cpu::tensor(dx, x)?))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> candle_core::Result<()> {
        for dims in [vec![1, 2], vec![5, 18], vec![2, 3, 40]] {
            Case::new(vec![(random(&dims, 4) * 6.0)?]).agrees(|a| super::swiglu(&a[0]), |a| super::reference(&a[0]))?;
        }
        Ok(())
    }
}
