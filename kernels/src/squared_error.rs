//! Weighted squared distances of rows from constants: sum_j w_j / d sum_i (x_ji - t_ji)^2.
//!
//! Gradient: 2 w_j / d (x_ji - t_ji). Rows of weight 0 count for nothing, whatever they hold.

use crate::cpu;
use crate::value::{Value, lift};
use candle_core::{D, Result, Tensor, bail};

/// Mean over the columns and weighted sum over the rows of `x_nd` [n, d] as a scalar.
pub fn squared_error(x_nd: &Value, targets_nd: &Tensor, weights: &[f32]) -> Result<Value> {
    let x_t = x_nd.tensor();
    let (n, d) = x_t.dims2()?;
    if targets_nd.dims() != x_t.dims() || weights.len() != n {
        bail!("squared_error: {:?}, targets {:?}, {} weights", x_t.shape(), targets_nd.shape(), weights.len());
    }
    let targets = targets_nd.contiguous()?;
    if !cpu::fast(&[x_t, &targets]) {
        let targets = targets.to_device(x_t.device())?.to_dtype(x_t.dtype())?;
        return lift([x_nd], |[x]| reference(x, &targets, weights));
    }
    let mut gradient = cpu::data(x_t)?.to_vec();
    let targets = cpu::data(&targets)?;
    let mut loss = 0f64;
    for ((row, targets), &weight) in gradient.chunks_mut(d).zip(targets.chunks(d)).zip(weights) {
        if weight == 0.0 {
            row.fill(0.0);
            continue;
        }
        let mut squares = 0f64;
        for (x, t) in row.iter_mut().zip(targets) {
            *x -= t;
            squares += f64::from(*x * *x);
            *x *= 2.0 * weight / d as f32;
        }
        loss += f64::from(weight) * squares / d as f64;
    }
    let gradient = cpu::tensor(gradient, x_t)?;
    Value::record(Tensor::new(loss as f32, x_t.device())?, [x_nd], move |dy, _| {
        Ok([Some((&gradient * f64::from(dy.to_scalar::<f32>()?))?)])
    })
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, targets: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let distances = (x - targets)?.sqr()?.mean(D::Minus1)?;
    (distances * Tensor::new(weights, x.device())?.to_dtype(x.dtype())?)?.sum_all()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, constant, random};

    #[test]
    fn agrees_with_the_reference() -> candle_core::Result<()> {
        let (targets, weights) = (random(&[4, 5], 2), [0.3, 0.0, 1.5, 0.2]);
        Case::new(vec![random(&[4, 5], 1)]).agrees(
            |a| super::squared_error(&a[0], &targets, &weights),
            |a| super::reference(&a[0], &targets.to_dtype(a[0].dtype())?, &weights),
        )?;
        assert!(super::squared_error(&constant(&[2, 5], 1), &targets, &weights).is_err());
        Ok(())
    }
}
