//! RMSNorm over the last dimension: y = x / sqrt(mean(x^2) + eps) * w (arXiv 1910.07467).
//!
//! Backward, with s = 1 / sqrt(mean(x^2) + eps) and g = dy * w:
//! dx = s (g - x s^2 mean(g x)), dw = sum over rows of dy x s.

use crate::value::Value;
use crate::written::written;
use crate::{cpu, cuda, simd};
use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

/// Rows per partial sum of dw: fixed, so that the result does not depend on threads.
const ROWS: usize = 256;

/// Normalises the rows of `x` [.., d] and scales them by `weight_d` [d].
pub fn rms_norm(x: &Value, weight_d: &Value, eps: f64) -> Result<Value> {
    let (x_t, w_t) = (x.tensor(), weight_d.tensor());
    let d = w_t.dims1()?;
    if x_t.dim(D::Minus1)? != d {
        bail!("rms_norm: input {:?} does not fit weight {:?}", x_t.shape(), w_t.shape());
    }
    if !cpu::fast(&[x_t, w_t]) {
        return elsewhere(x, weight_d, eps);
    }
    let norm = RmsNorm { eps: eps as f32 };
    let (x_t, w_t) = (x_t.clone(), w_t.clone());
    let again = (x_t.clone(), w_t.clone());
    let y = Value::record(norm.rows(&x_t, &w_t)?, [x, weight_d], move |dy, _| {
        let (x_data, w_data, dy) = (cpu::data(&x_t)?, cpu::data(&w_t)?, cpu::data(dy)?);
        let w = &*w_data;
        let (mut dx, mut dw) = (vec![0f32; x_data.len()], vec![0f32; d]);
        let span = ROWS * d;
        let partials: Vec<Vec<f32>> = dx
            .par_chunks_mut(span)
            .zip(x_data.par_chunks(span))
            .zip(dy.par_chunks(span))
            .map(|((dx, x), dy)| {
                let mut dw = vec![0f32; d];
                for ((dx, x), dy) in dx.chunks_mut(d).zip(x.chunks(d)).zip(dy.chunks(d)) {
                    simd::dispatch(
                        #[inline(always)]
                        || norm.row_backward(dx, &mut dw, x, w, dy),
                    );
                }
                dw
            })
            .collect();
        for partial in partials {
            dw.iter_mut().zip(partial).for_each(|(total, part)| *total += part);
        }
        Ok([Some(cpu::tensor(dx, &x_t)?), Some(cpu::tensor(dw, &w_t)?)])
    })?;
    Ok(y.forgettable(move || norm.rows(&again.0, &again.1)))
}

/// The same on another device.
fn elsewhere(x: &Value, weight_d: &Value, eps: f64) -> Result<Value> {
    let forward = move |x: &Tensor, w: &Tensor| match cuda::rms_norm(x, w, eps)? {
        Some(y) => Ok(y),
        None => reference(x, w, eps),
    };
    let (x_t, w_t) = (x.bare(), weight_d.bare());
    let again = (x_t.clone(), w_t.clone());
    let y = Value::record(forward(&x_t, &w_t)?, [x, weight_d], move |dy, _| {
        let gradients = match cuda::rms_norm_backward(&x_t, &w_t, dy, eps)? {
            Some(gradients) => gradients,
            None => reference_backward(&x_t, &w_t, dy, eps)?,
        };
        Ok(gradients.map(Some))
    })?;
    Ok(y.forgettable(move || forward(&again.0, &again.1)))
}

/// [dx, dw] in candle's own ops.
fn reference_backward(x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<[Tensor; 2]> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.powf(-0.5)?;
    let (normal, g) = (x.broadcast_mul(&scale)?, dy.broadcast_mul(w)?);
    let shared = (&g * &normal)?.mean_keepdim(D::Minus1)?;
    let dx = (g - normal.broadcast_mul(&shared)?)?.broadcast_mul(&scale)?;
    let dw = (dy * normal)?.reshape(((), w.elem_count()))?.sum(0)?;
    Ok([dx, dw])
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, weight_d: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&scale)?.broadcast_mul(weight_d)
}

#[derive(Clone, Copy)]
struct RmsNorm {
    eps: f32,
}

impl RmsNorm {
    fn rows(&self, x_t: &Tensor, w_t: &Tensor) -> Result<Tensor> {
        let (x, w_data) = (cpu::data(x_t)?, cpu::data(w_t)?);
        let w = &*w_data;
        let d = w.len();
        let [y] = written(x.len(), d, |range, [y]| {
            simd::dispatch(
                #[inline(always)]
                || y.chunks_mut(d).zip(x[range].chunks(d)).for_each(|(y, x)| self.row(y, x, w)),
            );
        });
        cpu::tensor(y, x_t)
    }

    #[inline(always)]
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (simd::sum(x, |v| v * v) / x.len() as f32 + self.eps).sqrt()
    }

    #[inline(always)]
    fn row(&self, y: &mut [f32], x: &[f32], w: &[f32]) {
        let s = self.scale(x);
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * s * w;
        }
    }

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
