//! Moving rows: gathering them (embedding, expert dispatch) and adding weighted rows back (expert combine).
//!
//! gather: y_j = x_{index_j}; backward adds dy_j to dx_{index_j}.
//! scatter: y_t = sum over {j: token_j = t} of w_j x_j; backward dx_j = w_j dy_{token_j}, dw_j = <x_j, dy_{token_j}>.
//! Sums run in the order of j, so the result does not depend on threads.

use crate::value::Value;
use crate::{cpu, cuda, simd};
use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Picks rows of `x` [n, d] by `index`, giving [index.len(), d].
pub fn gather_rows(x: &Value, index: &[u32]) -> Result<Value> {
    let x_t = x.tensor();
    let (n, d) = x_t.dims2()?;
    if let Some(bad) = index.iter().find(|&&row| row as usize >= n) {
        bail!("gather_rows: row {bad} of a table with {n} rows");
    }
    if !cpu::fast(&[x_t]) {
        let y = widened(&reference_gather(&x.bare(), index)?)?;
        if let Some(rows) = Value::lookup(y.clone(), x, index) {
            return Ok(rows);
        }
        let index: Arc<[u32]> = index.into();
        return Value::record(y, [x], move |dy, _| Ok([Some(sum_rows(n, &index, dy)?)]));
    }
    let table = cpu::data(x_t)?;
    let mut y = vec![0f32; index.len() * d];
    y.par_chunks_mut(d).zip(index.par_iter()).with_min_len(256).for_each(|(y, &row)| {
        y.copy_from_slice(&table[row as usize * d..][..d]);
    });
    let y = cpu::shaped(y, (index.len(), d))?;
    if let Some(rows) = Value::lookup(y.clone(), x, index) {
        return Ok(rows);
    }
    let index: Arc<[u32]> = index.into();
    Value::record(y, [x], move |dy, _| {
        let mut dx = vec![0f32; n * d];
        for (&row, dy) in index.iter().zip(cpu::data(dy)?.chunks(d)) {
            add_scaled(&mut dx[row as usize * d..][..d], dy, 1.0);
        }
        Ok([Some(cpu::shaped(dx, (n, d))?)])
    })
}

/// Adds the rows of `x` [m, d], each times its entry of `weight` [m], into `n` rows chosen by `token`.
pub fn scatter_rows_weighted(x: &Value, weight: &Value, token: &[u32], n: usize) -> Result<Value> {
    let (x_t, w_t) = (x.tensor(), weight.tensor());
    let (m, d) = x_t.dims2()?;
    if w_t.dims1()? != m || token.len() != m || token.iter().any(|&t| t as usize >= n) {
        bail!("scatter_rows_weighted: {m} rows, {:?} weights, {} targets below {n}", w_t.shape(), token.len());
    }
    if !cpu::fast(&[x_t, w_t]) {
        let (x_t, w_t, token): (_, _, Arc<[u32]>) = (x.bare(), weight.bare().unsqueeze(1)?, token.into());
        let y = sum_rows(n, &token, &x_t.broadcast_mul(&w_t)?)?;
        return Value::record(y, [x, weight], move |dy, _| {
            let dy = reference_gather(dy, &token)?;
            Ok([Some(dy.broadcast_mul(&w_t)?), Some((&x_t * &dy)?.sum(1)?)])
        });
    }
    let mut y = vec![0f32; n * d];
    for ((x, &w), &token) in cpu::data(x_t)?.chunks(d).zip(cpu::data(w_t)?.iter()).zip(token) {
        add_scaled(&mut y[token as usize * d..][..d], x, w);
    }
    let (x_t, w_t, token): (_, _, Arc<[u32]>) = (x_t.clone(), w_t.clone(), token.into());
    Value::record(cpu::shaped(y, (n, d))?, [x, weight], move |dy, _| {
        let (x_data, w_data, dy) = (cpu::data(&x_t)?, cpu::data(&w_t)?, cpu::data(dy)?);
        let (mut dx, mut dw) = (vec![0f32; m * d], vec![0f32; m]);
        let rows = dx.par_chunks_mut(d).zip(dw.par_iter_mut()).zip(x_data.par_chunks(d));
        rows.zip(w_data.par_iter()).zip(token.par_iter()).with_min_len(256).for_each(
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
        Ok([Some(cpu::tensor(dx, &x_t)?), Some(cpu::tensor(dw, &w_t)?)])
    })
}

fn add_scaled(out: &mut [f32], x: &[f32], weight: f32) {
    simd::dispatch(
        #[inline(always)]
        || out.iter_mut().zip(x).for_each(|(out, x)| *out += weight * x),
    );
}

/// y [n, d] with y_t = sum over {j: rows_j = t} of x_j, on another device.
pub(crate) fn sum_rows(n: usize, rows: &[u32], x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    match cuda::sum_rows(n, rows, &x)? {
        Some(y) => Ok(y),
        None => Tensor::zeros((n, x.dim(1)?), x.dtype(), x.device())?.index_add(&Tensor::new(rows, x.device())?, &x, 0),
    }
}

/// What is kept in 16 bits, in f32.
fn widened(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::BF16 | DType::F16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

pub(crate) fn reference_gather(x: &Tensor, index: &[u32]) -> Result<Tensor> {
    x.index_select(&Tensor::new(index, x.device())?, 0)
}

#[cfg(test)]
pub(crate) fn reference_scatter(x: &Tensor, weight: &Tensor, token: &[u32], n: usize) -> Result<Tensor> {
    let rows = x.broadcast_mul(&weight.unsqueeze(1)?)?;
    Tensor::zeros((n, x.dim(1)?), x.dtype(), x.device())?.index_add(&Tensor::new(token, x.device())?, &rows, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, constant, random};

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
        assert!(gather_rows(&constant(&[2, 3], 1), &[2]).is_err());
        assert!(scatter_rows_weighted(&constant(&[1, 3], 1), &constant(&[1], 2), &[4], 4).is_err());
    }
}
