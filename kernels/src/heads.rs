//! Keys and values of multi-head latent attention, taken from what the latents were multiplied out to.
//!
//! `kv` [n, h, nope + cv] holds for each head the key's part without position, then the value. A key is that part
//! followed by the rotated part that all heads share: k = [kv[.., :nope] | k_pe]. Backward copies the parts back; the
//! shared part gets the sum over heads.

use crate::cpu;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Keys [n, h, nope + p] from `kv` [n, h, nope + cv] and the shared `k_pe` [n, 1, p].
pub fn join_keys(kv: &Tensor, k_pe: &Tensor, nope: usize) -> Result<Tensor> {
    let ((n, _, width), (pn, one, _)) = (kv.dims3()?, k_pe.dims3()?);
    if nope > width || pn != n || one != 1 {
        bail!("join_keys: kv {:?}, k_pe {:?}, {nope} columns", kv.shape(), k_pe.shape());
    }
    if cpu::fast(&[kv, k_pe]) {
        kv.contiguous()?.apply_op2(&k_pe.contiguous()?, JoinKeys { nope })
    } else {
        reference_keys(kv, k_pe, nope)
    }
}

/// Columns `start..` of the last dimension of `x` [n, h, width].
pub fn last_columns(x: &Tensor, start: usize) -> Result<Tensor> {
    let (_, _, width) = x.dims3()?;
    if start > width {
        bail!("last_columns: {:?} has no column {start}", x.shape());
    }
    if cpu::fast(&[x]) { x.contiguous()?.apply_op1(LastColumns { start }) } else { x.narrow(2, start, width - start) }
}

pub(crate) fn reference_keys(kv: &Tensor, k_pe: &Tensor, nope: usize) -> Result<Tensor> {
    let ((n, h, _), (_, _, p)) = (kv.dims3()?, k_pe.dims3()?);
    Tensor::cat(&[kv.narrow(2, 0, nope)?, k_pe.broadcast_as((n, h, p))?], 2)
}

struct JoinKeys {
    nope: usize,
}

impl CustomOp2 for JoinKeys {
    fn name(&self) -> &'static str {
        "join_keys"
    }

    fn cpu_fwd(&self, kv: &CpuStorage, lkv: &Layout, pe: &CpuStorage, lpe: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, h, width), (_, _, p)) = (lkv.shape().dims3()?, lpe.shape().dims3()?);
        let (kv, pe, nope) = (cpu::slice(kv, lkv)?, cpu::slice(pe, lpe)?, self.nope);
        let mut k = vec![0f32; n * h * (nope + p)];
        let tokens = k.par_chunks_mut(h * (nope + p)).zip(kv.par_chunks(h * width)).zip(pe.par_chunks(p));
        tokens.with_min_len(64).for_each(|((k, kv), pe)| {
            for (k, kv) in k.chunks_exact_mut(nope + p).zip(kv.chunks_exact(width)) {
                k[..nope].copy_from_slice(&kv[..nope]);
                k[nope..].copy_from_slice(pe);
            }
        });
        Ok((CpuStorage::F32(k), Shape::from((n, h, nope + p))))
    }

    fn bwd(&self, kv: &Tensor, pe: &Tensor, _k: &Tensor, dk: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((_, h, width), (_, _, p), nope) = (kv.dims3()?, pe.dims3()?, self.nope);
        let (mut dkv, mut dpe) = (vec![0f32; kv.elem_count()], vec![0f32; pe.elem_count()]);
        cpu::with(dk, |dk| {
            let tokens = dkv.par_chunks_mut(h * width).zip(dpe.par_chunks_mut(p)).zip(dk.par_chunks(h * (nope + p)));
            tokens.with_min_len(64).for_each(|((dkv, dpe), dk)| {
                for (dkv, dk) in dkv.chunks_exact_mut(width).zip(dk.chunks_exact(nope + p)) {
                    dkv[..nope].copy_from_slice(&dk[..nope]);
                    dpe.iter_mut().zip(&dk[nope..]).for_each(|(sum, x)| *sum += x);
                }
            });
            Ok(())
        })?;
        Ok((Some(cpu::tensor(dkv, kv)?), Some(cpu::tensor(dpe, pe)?)))
    }
}

struct LastColumns {
    start: usize,
}

impl CustomOp1 for LastColumns {
    fn name(&self) -> &'static str {
        "last_columns"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, h, width) = layout.shape().dims3()?;
        let (x, kept) = (cpu::slice(x, layout)?, width - self.start);
        let mut y = vec![0f32; n * h * kept];
        y.par_chunks_mut(kept.max(1)).zip(x.par_chunks(width)).with_min_len(512).for_each(|(y, x)| {
            y.copy_from_slice(&x[self.start..]);
        });
        Ok((CpuStorage::F32(y), Shape::from((n, h, kept))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, width) = x.dims3()?;
        let mut dx = vec![0f32; x.elem_count()];
        cpu::with(dy, |dy| {
            dx.par_chunks_mut(width)
                .zip(dy.par_chunks((width - self.start).max(1)))
                .with_min_len(512)
                .for_each(|(dx, dy)| dx[self.start..].copy_from_slice(dy));
            Ok(())
        })?;
        Ok(Some(cpu::tensor(dx, x)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn joining_agrees_with_the_reference() -> Result<()> {
        Case::new(vec![random(&[5, 3, 7], 1), random(&[5, 1, 2], 2)])
            .agrees(|a| join_keys(&a[0], &a[1], 4), |a| reference_keys(&a[0], &a[1], 4))
    }

    #[test]
    fn cutting_agrees_with_narrow() -> Result<()> {
        Case::new(vec![random(&[5, 3, 7], 1)]).agrees(|a| last_columns(&a[0], 4), |a| a[0].narrow(2, 4, 3))
    }
}
