//! Softmax over the last dimension: y_j = exp(x_j - max x) / sum_k exp(x_k - max x).
//!
//! Backward: dx = y (dy - sum(dy y)).

use crate::value::{Value, lift};
use crate::{cpu, simd};
use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

/// Softmax over the last dimension of `x`.
pub fn softmax(x: &Value) -> Result<Value> {
    if !cpu::fast(&[x.tensor()]) {
        return lift([x], |[x]| reference(x));
    }
    let (_, d) = cpu::rows(x.tensor())?;
    let mut y = cpu::data(x.tensor())?.to_vec();
    y.par_chunks_mut(d).with_min_len(64).for_each(|row| {
        simd::dispatch(
            #[inline(always)]
            || softmax_row(row),
        );
    });
    let y = cpu::tensor(y, x.tensor())?;
    Value::record(y.clone(), [x], move |dy, _| {
        let (y_data, dy) = (cpu::data(&y)?, cpu::data(dy)?);
        let mut dx = vec![0f32; y_data.len()];
        let rows = dx.par_chunks_mut(d).zip(y_data.par_chunks(d)).zip(dy.par_chunks(d)).with_min_len(64);
        rows.for_each(|((dx, y), dy)| {
            simd::dispatch(
                #[inline(always)]
                || {
                    let shared = simd::dot(dy, y);
                    for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                        *dx = y * (dy - shared);
                    }
                },
            );
        });
        Ok([Some(cpu::tensor(dx, &y)?)])
    })
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
        // The largest number was found past any NaN, which must stay one.
        row.iter_mut().for_each(|x| *x = if x.is_nan() { *x } else { 0.0 });
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
        let y = super::softmax(&super::Value::constant(&x)?)?;
        assert_eq!(y.tensor().to_vec2::<f32>()?, [[1.0, 0.0, 0.0]]);
        Ok(())
    }

    #[test]
    fn not_a_number_stays_one() {
        let mut row = [f32::NAN, f32::NEG_INFINITY];
        super::softmax_row(&mut row);
        assert!(row[0].is_nan());
        let mut row = [f32::NEG_INFINITY; 3];
        super::softmax_row(&mut row);
        assert_eq!(row, [0.0; 3]);
    }
}
