//! Cutting and joining along the last dimension. Backward joins and cuts.

use crate::cpu;
use crate::value::Value;
use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Rows per unit of parallel work.
const ROWS: usize = 512;

/// Columns `range` of the last dimension of `x`.
pub fn columns(x: &Value, range: Range<usize>) -> Result<Value> {
    let x_t = x.tensor();
    let (n, width) = cpu::rows(x_t)?;
    let kept = range.len();
    if range.end > width || kept == 0 {
        bail!("columns: {range:?} of {:?}", x_t.shape());
    }
    if !cpu::fast(&[x_t]) {
        let (before, after) = (range.start, width - range.end);
        return Value::record(x.bare().narrow(D::Minus1, before, kept)?, [x], move |dy, _| {
            Ok([Some(dy.pad_with_zeros(D::Minus1, before, after)?)])
        });
    }
    let mut y = vec![0f32; n * kept];
    let x_data = cpu::data(x_t)?;
    let rows = y.par_chunks_mut(kept).zip(x_data.par_chunks(width)).with_min_len(ROWS);
    rows.for_each(|(y, x)| y.copy_from_slice(&x[range.clone()]));
    let (mut dims, shape) = (x_t.dims().to_vec(), x_t.shape().clone());
    dims[x_t.rank() - 1] = kept;
    Value::record(cpu::shaped(y, dims)?, [x], move |dy, _| {
        let mut dx = vec![0f32; n * width];
        let dy = cpu::data(dy)?;
        let rows = dx.par_chunks_mut(width).zip(dy.par_chunks(kept)).with_min_len(ROWS);
        rows.for_each(|(dx, dy)| dx[range.clone()].copy_from_slice(dy));
        Ok([Some(cpu::shaped(dx, shape.clone())?)])
    })
}

/// `a` [n, i] and `b` [n, j] side by side: [n, i + j].
pub fn join_columns(a: &Value, b: &Value) -> Result<Value> {
    let (a_t, b_t) = (a.tensor(), b.tensor());
    let ((n, i), (bn, j)) = (a_t.dims2()?, b_t.dims2()?);
    if n != bn {
        bail!("join_columns: {:?} and {:?} differ in rows", a_t.shape(), b_t.shape());
    }
    if !cpu::fast(&[a_t, b_t]) {
        return Value::record(Tensor::cat(&[a.bare(), b.bare()], 1)?, [a, b], move |dy, _| {
            Ok([Some(dy.narrow(1, 0, i)?.contiguous()?), Some(dy.narrow(1, i, j)?.contiguous()?)])
        });
    }
    let mut y = vec![0f32; n * (i + j)];
    for ((y, a), b) in y.chunks_mut(i + j).zip(cpu::data(a_t)?.chunks(i)).zip(cpu::data(b_t)?.chunks(j)) {
        y[..i].copy_from_slice(a);
        y[i..].copy_from_slice(b);
    }
    Value::record(cpu::shaped(y, (n, i + j))?, [a, b], move |dy, _| {
        let (mut da, mut db) = (Vec::with_capacity(n * i), Vec::with_capacity(n * j));
        for row in cpu::data(dy)?.chunks(i + j) {
            da.extend_from_slice(&row[..i]);
            db.extend_from_slice(&row[i..]);
        }
        Ok([Some(cpu::shaped(da, (n, i))?), Some(cpu::shaped(db, (n, j))?)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, constant, random};

    #[test]
    fn cutting_agrees_with_narrow() -> Result<()> {
        for dims in [vec![5, 3, 7], vec![4, 7]] {
            Case::new(vec![random(&dims, 1)]).agrees(|a| columns(&a[0], 2..6), |a| a[0].narrow(D::Minus1, 2, 4))?;
        }
        assert!(columns(&constant(&[2, 3], 1), 2..4).is_err());
        Ok(())
    }

    #[test]
    fn joining_agrees_with_cat() -> Result<()> {
        Case::new(vec![random(&[5, 3], 1), random(&[5, 2], 2)])
            .agrees(|a| join_columns(&a[0], &a[1]), |a| Tensor::cat(&[&a[0], &a[1]], 1))
    }
}
