//! One linear layer per group of rows, for mixture-of-experts: rows sorted by expert, y_j = W_{e(j)} x_j.
//!
//! `offsets[e]..offsets[e + 1]` are the rows of expert e. Each expert's weights are read once. Backward as in
//! `linear`, expert by expert; an expert without rows gets a zero gradient. Where no gradient is wanted a row has the
//! same bits whatever rows lie beside it (see `row_products`).

use crate::matmul::{Mat, MatMut, MatmulPrecision, matmul};
use crate::row_products::{Plain, row_products};
use crate::value::Value;
use crate::{cpu, cuda, portable};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// y [m, o] for `x` [m, i] and `w_eoi` [e, o, i]; `offsets` has e + 1 entries from 0 to m.
pub fn grouped_linear(x: &Value, w_eoi: &Value, offsets: &Arc<[usize]>) -> Result<Value> {
    let (x_t, w_t) = (x.tensor(), w_eoi.tensor());
    let ((m, i), (e, o, wi)) = (x_t.dims2()?, w_t.dims3()?);
    let rising = offsets.is_sorted() && offsets.first() == Some(&0) && offsets.last() == Some(&m);
    if wi != i || offsets.len() != e + 1 || !rising {
        bail!("grouped_linear: input {:?}, weight {:?}, offsets {offsets:?}", x_t.shape(), w_t.shape());
    }
    let precision = MatmulPrecision::current();
    if !cpu::fast(&[x_t, w_t]) {
        return by_candle(x, w_eoi, offsets, precision);
    }
    let (x_data, w_data) = (cpu::data(x_t)?, cpu::data(w_t)?);
    let (x_all, w_all) = (&*x_data, &*w_data);
    let tracked = x.is_tracked() || w_eoi.is_tracked();
    let mut y = vec![0f32; m * o];
    by_expert(&mut y, offsets, o).into_par_iter().enumerate().for_each(|(expert, y)| {
        let n = offsets[expert + 1] - offsets[expert];
        let x = &x_all[offsets[expert] * i..][..n * i];
        let w = &w_all[expert * o * i..][..o * i];
        if tracked {
            matmul(MatMut::new(y, n, o), Mat::new(x, n, i), Mat::new(w, o, i).t(), false, precision.alone());
        } else {
            y.copy_from_slice(&row_products(x, i, n, &Plain { data: w, o, i }));
        }
    });
    let (x_kept, w_t, offsets) = (x.kept(), w_t.clone(), offsets.clone());
    Value::record(cpu::shaped(y, (m, o))?, [x, w_eoi], move |dy, _| {
        let x_t = x_kept.tensor()?;
        let (x_data, w_data, dy_data) = (cpu::data(&x_t)?, cpu::data(&w_t)?, cpu::data(dy)?);
        let (x, w, dy) = (&*x_data, &*w_data, &*dy_data);
        let (mut dx, mut dw) = (vec![0f32; x.len()], vec![0f32; w.len()]);
        let parts = by_expert(&mut dx, &offsets, i).into_par_iter().zip(dw.par_chunks_mut(o * i));
        parts.enumerate().for_each(|(expert, (dx, dw))| {
            let (start, n) = (offsets[expert], offsets[expert + 1] - offsets[expert]);
            let x = Mat::new(&x[start * i..][..n * i], n, i);
            let dy = Mat::new(&dy[start * o..][..n * o], n, o);
            let w = Mat::new(&w[expert * o * i..][..o * i], o, i);
            matmul(MatMut::new(dx, n, i), dy, w, false, precision.alone());
            matmul(MatMut::new(dw, o, i), dy.t(), x, false, precision.alone());
        });
        Ok([Some(cpu::tensor(dx, &x_t)?), Some(cpu::tensor(dw, &w_t)?)])
    })
}

/// The same on any device; expert by expert, but for the few rows of decoding.
fn by_candle(x: &Value, w_eoi: &Value, offsets: &Arc<[usize]>, precision: MatmulPrecision) -> Result<Value> {
    let (x_t, w_t) = (x.bare(), w_eoi.bare());
    if !x.is_tracked()
        && !w_eoi.is_tracked()
        && let Some(y) = cuda::few_rows(&x_t, &w_t, offsets)?
    {
        return Value::constant(&y);
    }
    let y = each_expert(&x_t, offsets, |expert, x| portable::product(x, &w_t.get(expert)?.t()?, precision))?;
    let y =
        if y.is_empty() { Tensor::zeros((0, w_t.dim(1)?), x_t.dtype(), x_t.device())? } else { Tensor::cat(&y, 0)? };
    let kept_x = w_eoi.is_tracked().then(|| x.kept());
    let kept_w = x.is_tracked().then(|| w_t.clone());
    let (shape, w_shape, offsets) = (x_t.shape().clone(), w_t.shape().clone(), offsets.clone());
    Value::record(y, [x, w_eoi], move |dy, _| {
        let dx = |w: &Tensor| {
            let parts = each_expert(dy, &offsets, |expert, dy| portable::product(dy, &w.get(expert)?, precision))?;
            if parts.is_empty() { Tensor::zeros(&shape, dy.dtype(), dy.device()) } else { Tensor::cat(&parts, 0) }
        };
        let dw = |x: &Tensor| {
            let parts = offsets.windows(2).map(|span| match span[1] - span[0] {
                0 => Tensor::zeros(&w_shape.dims()[1..], dy.dtype(), dy.device()),
                n => {
                    let (x, dy) = (x.narrow(0, span[0], n)?, dy.narrow(0, span[0], n)?);
                    portable::product(&dy.t()?, &x, precision)
                }
            });
            Tensor::stack(&parts.collect::<Result<Vec<_>>>()?, 0)
        };
        let dx = kept_w.as_ref().map(dx);
        let dw = kept_x.as_ref().map(|x| dw(&x.tensor()?));
        Ok([dx.transpose()?, dw.transpose()?])
    })
}

/// What `f` gives for the rows of each expert that has some.
fn each_expert(rows: &Tensor, offsets: &[usize], f: impl Fn(usize, &Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let spans = offsets.windows(2).enumerate().filter(|(_, span)| span[1] > span[0]);
    spans.map(|(expert, span)| f(expert, &rows.narrow(0, span[0], span[1] - span[0])?)).collect()
}

/// The oracle.
#[cfg(test)]
pub(crate) fn reference(x: &Tensor, w_eoi: &Tensor, offsets: &[usize]) -> Result<Tensor> {
    let mut parts = Vec::new();
    for (expert, span) in offsets.windows(2).enumerate() {
        if span[1] > span[0] {
            parts.push(x.narrow(0, span[0], span[1] - span[0])?.matmul(&w_eoi.get(expert)?.t()?)?);
        }
    }
    if parts.is_empty() { Tensor::zeros((0, w_eoi.dim(1)?), x.dtype(), x.device()) } else { Tensor::cat(&parts, 0) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, constant, random};

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
        let (x, w) = (constant(&[4, 2], 1), constant(&[2, 3, 2], 2));
        assert!(grouped_linear(&x, &w, &[0, 2, 3].into()).is_err());
        assert!(grouped_linear(&x, &w, &[0, 5, 4].into()).is_err());
    }
}
