//! Moving rows: gathering them (embedding, expert dispatch) and adding weighted rows back (expert combine).
//!
//! gather: y_j = x_{index_j}; backward adds dy_j to dx_{index_j}.
//! scatter: y_t = sum over {j: token_j = t} of w_j x_j; backward dx_j = w_j dy_{token_j}, dw_j = <x_j, dy_{token_j}>.
//! Sums run in the order of j, so the result does not depend on threads.

use crate::{cpu, simd};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Picks rows of `x` [n, d] by `index`, giving [index.len(), d].
pub fn gather_rows(x: &Tensor, index: &[u32]) -> Result<Tensor> {
    let (n, _) = x.dims2()?;
    if let Some(bad) = index.iter().find(|&&row| row as usize >= n) {
        bail!("gather_rows: row {bad} of a table with {n} rows");
    }
    if cpu::fast(&[x]) { x.contiguous()?.apply_op1(Gather { index: index.into() }) } else { reference_gather(x, index) }
}

/// Adds the rows of `x` [m, d], each times its entry of `weight` [m], into `n` rows chosen by `token`.
pub fn scatter_rows_weighted(x: &Tensor, weight: &Tensor, token: &[u32], n: usize) -> Result<Tensor> {
    let (m, _) = x.dims2()?;
    if weight.dims1()? != m || token.len() != m || token.iter().any(|&t| t as usize >= n) {
        bail!("scatter_rows_weighted: {m} rows, {:?} weights, {} targets below {n}", weight.shape(), token.len());
    }
    if cpu::fast(&[x, weight]) {
        x.contiguous()?.apply_op2(&weight.contiguous()?, Scatter { token: token.into(), n })
    } else {
        reference_scatter(x, weight, token, n)
    }
}

pub(crate) fn reference_gather(x: &Tensor, index: &[u32]) -> Result<Tensor> {
    x.index_select(&Tensor::new(index, x.device())?, 0)
}

pub(crate) fn reference_scatter(x: &Tensor, weight: &Tensor, token: &[u32], n: usize) -> Result<Tensor> {
    let rows = x.broadcast_mul(&weight.unsqueeze(1)?)?;
    Tensor::zeros((n, x.dim(1)?), x.dtype(), x.device())?.index_add(&Tensor::new(token, x.device())?, &rows, 0)
}

struct Gather {
    index: Arc<[u32]>,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = cpu::rows(layout)?;
        let x = cpu::slice(x, layout)?;
        let mut y = vec![0f32; self.index.len() * d];
        y.par_chunks_mut(d).zip(self.index.par_iter()).with_min_len(256).for_each(|(y, &row)| {
            y.copy_from_slice(&x[row as usize * d..][..d]);
        });
        Ok((CpuStorage::F32(y), Shape::from((self.index.len(), d))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, d) = x.dims2()?;
        let mut dx = vec![0f32; x.elem_count()];
        cpu::with(dy, |dy| {
            for (&row, dy) in self.index.iter().zip(dy.chunks(d)) {
                add_scaled(&mut dx[row as usize * d..][..d], dy, 1.0);
            }
            Ok(())
        })?;
        Ok(Some(cpu::tensor(dx, x)?))
    }
}

fn add_scaled(out: &mut [f32], x: &[f32], weight: f32) {
    simd::dispatch(
        #[inline(always)]
        || out.iter_mut().zip(x).for_each(|(out, x)| *out += weight * x),
    );
}

struct Scatter {
    token: Arc<[u32]>,
    n: usize,
}

impl CustomOp2 for Scatter {
    fn name(&self) -> &'static str {
        "scatter_rows_weighted"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = cpu::rows(lx)?;
        let (x, w) = (cpu::slice(x, lx)?, cpu::slice(w, lw)?);
        let mut y = vec![0f32; self.n * d];
        for ((x, &w), &token) in x.chunks(d).zip(w).zip(self.token.iter()) {
            add_scaled(&mut y[token as usize * d..][..d], x, w);
        }
        Ok((CpuStorage::F32(y), Shape::from((self.n, d))))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (m, d) = x.dims2()?;
        let (mut dx, mut dw) = (vec![0f32; m * d], vec![0f32; m]);
        cpu::with(x, |x| {
            cpu::with(w, |w| {
                cpu::with(dy, |dy| {
                    let rows = dx.par_chunks_mut(d).zip(dw.par_iter_mut()).zip(x.par_chunks(d));
                    rows.zip(w.par_iter()).zip(self.token.par_iter()).with_min_len(256).for_each(
                        |((((dx, dw), x), &w), &token)| {
                            let dy = &dy[token as usize * d..][..d];
                            simd::dispatch(
                                #[inline(always)]
                                || {
                                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = w * dy);
                                    *dw = simd::dot(x, dy);
                                },
                            );
                        },
                    );
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
    fn gathering_agrees_with_the_reference() -> Result<()> {
        let index = [3, 0, 3, 1, 1, 1];
        Case::new(vec![random(&[5, 7], 1)]).agrees(|a| gather_rows(&a[0], &index), |a| reference_gather(&a[0], &index))
    }

    #[test]
    fn scattering_agrees_with_the_reference() -> Result<()> {
        let token = [2, 0, 2, 3, 0, 2];
        Case::new(vec![random(&[6, 5], 1), random(&[6], 2)])
            .agrees(|a| scatter_rows_weighted(&a[0], &a[1], &token, 4), |a| reference_scatter(&a[0], &a[1], &token, 4))
    }

    #[test]
    fn rows_out_of_range_are_errors() {
        assert!(gather_rows(&random(&[2, 3], 1), &[2]).is_err());
        assert!(scatter_rows_weighted(&random(&[1, 3], 1), &random(&[1], 2), &[4], 4).is_err());
    }
}
