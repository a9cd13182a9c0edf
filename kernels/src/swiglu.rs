//! SwiGLU's gate: y = silu(gate) * up, from two tensors or from the two halves of one (arXiv 2002.05202).
//!
//! Backward, with s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.

use crate::{cpu, simd};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// silu(gate) * up for two tensors [.., f].
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("swiglu: gate {:?} and up {:?} differ", gate.shape(), up.shape());
    }
    if cpu::fast(&[gate, up]) { gate.contiguous()?.apply_op2(&up.contiguous()?, Pair) } else { gate.silu()? * up }
}

/// silu of the first half of the last dimension times the second half: [.., 2f] to [.., f].
pub fn swiglu_halves(gate_up: &Tensor) -> Result<Tensor> {
    if gate_up.dim(D::Minus1)? % 2 != 0 {
        bail!("swiglu_halves: the last dimension of {:?} is not two equal halves", gate_up.shape());
    }
    if cpu::fast(&[gate_up]) { gate_up.contiguous()?.apply_op1(Halves) } else { reference(gate_up) }
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

fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = g * sigmoid(*g) * u;
            }
        },
    );
}

fn backward(dgate: &mut [f32], dup: &mut [f32], gate: &[f32], up: &[f32], dy: &[f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for ((((dg, du), g), u), dy) in dgate.iter_mut().zip(dup).zip(gate).zip(up).zip(dy) {
                let s = sigmoid(*g);
                *dg = dy * u * s * (1.0 + g * (1.0 - s));
                *du = dy * g * s;
            }
        },
    );
}

/// Elements per unit of parallel work of [`Pair`].
const SPAN: usize = 1 << 14;

struct Pair;

impl CustomOp2 for Pair {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, gate: &CpuStorage, lg: &Layout, up: &CpuStorage, lu: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (cpu::slice(gate, lg)?, cpu::slice(up, lu)?);
        let mut y = vec![0f32; gate.len()];
        y.par_chunks_mut(SPAN)
            .zip(gate.par_chunks(SPAN))
            .zip(up.par_chunks(SPAN))
            .for_each(|((y, g), u)| forward(y, g, u));
        Ok((CpuStorage::F32(y), lg.shape().clone()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut dgate, mut dup) = (vec![0f32; gate.elem_count()], vec![0f32; gate.elem_count()]);
        cpu::with(gate, |g| {
            cpu::with(up, |u| {
                cpu::with(dy, |dy| {
                    let out = dgate.par_chunks_mut(SPAN).zip(dup.par_chunks_mut(SPAN));
                    let inputs = g.par_chunks(SPAN).zip(u.par_chunks(SPAN)).zip(dy.par_chunks(SPAN));
                    out.zip(inputs).for_each(|((dg, du), ((g, u), dy))| backward(dg, du, g, u, dy));
                    Ok(())
                })
            })
        })?;
        Ok((Some(cpu::tensor(dgate, gate)?), Some(cpu::tensor(dup, up)?)))
    }
}

struct Halves;

impl CustomOp1 for Halves {
    fn name(&self) -> &'static str {
        "swiglu_halves"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, width) = cpu::rows(layout)?;
        let f = width / 2;
        let x = cpu::slice(x, layout)?;
        let mut y = vec![0f32; n * f];
        y.par_chunks_mut(f).zip(x.par_chunks(width)).with_min_len(64).for_each(|(y, x)| forward(y, &x[..f], &x[f..]));
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
                        let (dgate, dup) = dx.split_at_mut(f);
                        backward(dgate, dup, &x[..f], &x[f..], dy);
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
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> Result<()> {
        for dims in [vec![1, 2], vec![5, 18], vec![2, 3, 40]] {
            Case::new(vec![(random(&dims, 4) * 6.0)?]).agrees(|a| swiglu_halves(&a[0]), |a| reference(&a[0]))?;
            let inputs = vec![(random(&dims, 4) * 6.0)?, random(&dims, 5)];
            Case::new(inputs).agrees(|a| swiglu(&a[0], &a[1]), |a| a[0].silu()? * &a[1])?;
        }
        Ok(())
    }
}
