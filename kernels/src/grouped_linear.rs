//! One linear layer per group of rows, for mixture-of-experts: rows sorted by expert, y_j = W_{e(j)} x_j.
//!
//! `offsets[e]..offsets[e + 1]` are the rows of expert e. Each expert's weights are read once. Backward as in
//! `linear`, expert by expert; an expert without rows gets a zero gradient.

use crate::cpu;
use crate::matmul::{Mat, MatMut, Threads, matmul};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// y [m, o] for `x` [m, i] and `w_eoi` [e, o, i]; `offsets` has e + 1 entries from 0 to m.
pub fn grouped_linear(x: &Tensor, w_eoi: &Tensor, offsets: &Arc<[usize]>) -> Result<Tensor> {
    let (m, i) = x.dims2()?;
    let (e, _, wi) = w_eoi.dims3()?;
    let rising = offsets.is_sorted() && offsets.first() == Some(&0) && offsets.last() == Some(&m);
    if wi != i || offsets.len() != e + 1 || !rising {
        bail!("grouped_linear: input {:?}, weight {:?}, offsets {offsets:?}", x.shape(), w_eoi.shape());
    }
    if cpu::fast(&[x, w_eoi]) {
        x.contiguous()?.apply_op2(&w_eoi.contiguous()?, GroupedLinear { offsets: offsets.clone() })
    } else {
        reference(x, w_eoi, offsets)
    }
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, w_eoi: &Tensor, offsets: &[usize]) -> Result<Tensor> {
    let mut parts = Vec::new();
    for (expert, span) in offsets.windows(2).enumerate() {
        if span[1] > span[0] {
            parts.push(x.narrow(0, span[0], span[1] - span[0])?.matmul(&w_eoi.get(expert)?.t()?)?);
        }
    }
    if parts.is_empty() { Tensor::zeros((0, w_eoi.dim(1)?), x.dtype(), x.device()) } else { Tensor::cat(&parts, 0) }
}

struct GroupedLinear {
    offsets: Arc<[usize]>,
}

/// Cuts `rows` (rows of `width` numbers, sorted by expert) into one mutable slice per expert.
fn by_expert<'a>(mut rows: &'a mut [f32], offsets: &[usize], width: usize) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(offsets.len() - 1);
    for span in offsets.windows(2) {
        let (head, tail) = std::mem::take(&mut rows).split_at_mut((span[1] - span[0]) * width);
        parts.push(head);
        rows = tail;
    }
    parts
}

impl CustomOp2 for GroupedLinear {
    fn name(&self) -> &'static str {
        "grouped_linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, i) = lx.shape().dims2()?;
        let (_, o, _) = lw.shape().dims3()?;
        let (x, w) = (cpu::slice(x, lx)?, cpu::slice(w, lw)?);
        let mut y = vec![0f32; m * o];
        by_expert(&mut y, &self.offsets, o).into_par_iter().enumerate().for_each(|(expert, y)| {
            let n = y.len() / o;
            let x = Mat::new(&x[self.offsets[expert] * i..][..n * i], n, i);
            let w = Mat::new(&w[expert * o * i..][..o * i], o, i);
            matmul(MatMut::new(y, n, o), x, w.t(), false, Threads::One);
        });
        Ok((CpuStorage::F32(y), Shape::from((m, o))))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, i) = x.dims2()?;
        let (_, o, _) = w.dims3()?;
        let (mut dx, mut dw) = (vec![0f32; x.elem_count()], vec![0f32; w.elem_count()]);
        cpu::with(x, |x| {
            cpu::with(w, |w| {
                cpu::with(dy, |dy| {
                    let parts = by_expert(&mut dx, &self.offsets, i).into_par_iter().zip(dw.par_chunks_mut(o * i));
                    parts.enumerate().for_each(|(expert, (dx, dw))| {
                        let n = dx.len() / i;
                        let start = self.offsets[expert];
                        let x = Mat::new(&x[start * i..][..n * i], n, i);
                        let dy = Mat::new(&dy[start * o..][..n * o], n, o);
                        let w = Mat::new(&w[expert * o * i..][..o * i], o, i);
                        matmul(MatMut::new(dx, n, i), dy, w, false, Threads::One);
                        matmul(MatMut::new(dw, o, i), dy.t(), x, false, Threads::One);
                    });
                    Ok(())
                })
            })
        })?;
        Ok((Some(cpu::tensor(dx, x)?), Some(cpu::tensor(dw, w)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_with_empty_experts_too() -> Result<()> {
        for offsets in [[0, 3, 3, 9, 10], [0, 0, 0, 10, 10]] {
            let offsets: Arc<[usize]> = offsets.into();
            Case::new(vec![random(&[10, 6], 1), random(&[4, 5, 6], 2)])
                .agrees(|a| grouped_linear(&a[0], &a[1], &offsets), |a| reference(&a[0], &a[1], &offsets))?;
        }
        Ok(())
    }

    #[test]
    fn offsets_that_do_not_cover_the_rows_are_an_error() {
        let (x, w) = (random(&[4, 2], 1), random(&[2, 3, 2], 2));
        assert!(grouped_linear(&x, &w, &[0, 2, 3].into()).is_err());
        assert!(grouped_linear(&x, &w, &[0, 5, 4].into()).is_err());
    }
}
