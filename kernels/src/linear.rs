//! Linear layer: y = x W^T, with x [.., i], W [o, i] and y [.., o].
//!
//! Backward: dx = dy W and dW = dy^T x, each in its own layout. Where no gradient is wanted a row of y has the same bits
//! whatever rows lie beside it (see `row_products`).

use crate::matmul::{Mat, MatmulPrecision, product};
use crate::row_products::{Plain, row_products};
use crate::value::Value;
use crate::{cpu, cuda, portable};
use candle_core::{D, Result, bail};

/// Rows for which a pass of our own reads a weight once; for more cuBLAS does, in one call.
const FEW: usize = 4;

/// y = x W^T for `x` [.., i] and `w_oi` [o, i].
pub fn linear(x: &Value, w_oi: &Value) -> Result<Value> {
    let (x_t, w_t) = (x.tensor(), w_oi.tensor());
    if x_t.dim(D::Minus1)? != w_t.dims2()?.1 {
        bail!("linear: input {:?} does not fit weight {:?}", x_t.shape(), w_t.shape());
    }
    let precision = MatmulPrecision::current();
    if !cpu::fast(&[x_t, w_t]) {
        return by_candle(x, w_oi, precision);
    }
    let ((n, i), o) = (cpu::rows(x_t)?, w_t.dim(0)?);
    let (x_data, w_data) = (cpu::data(x_t)?, cpu::data(w_t)?);
    let y = if x.is_tracked() || w_oi.is_tracked() {
        product(Mat::new(&x_data, n, i), Mat::new(&w_data, o, i).t(), precision.together())
    } else {
        row_products(&x_data, i, n, &Plain { data: &w_data, o, i })
    };
    let mut dims = x_t.dims().to_vec();
    dims[x_t.rank() - 1] = o;
    // Each side is kept for the other's gradient only: a frozen weight keeps no activations.
    let kept_x = w_oi.is_tracked().then(|| x.kept());
    let kept_w = x.is_tracked().then(|| w_t.clone());
    let shape = x_t.shape().clone();
    Value::record(cpu::shaped(y, dims)?, [x, w_oi], move |dy, _| {
        let dy = cpu::data(dy)?;
        let dy = Mat::new(&dy, n, o);
        let dx = kept_w.as_ref().map(|w_t| {
            let dx = product(dy, Mat::new(&cpu::data(w_t)?, o, i), precision.together());
            cpu::shaped(dx, shape.clone())
        });
        let dw = kept_x.as_ref().map(|x| {
            let dw = product(dy.t(), Mat::new(&cpu::data(&x.tensor()?)?, n, i), precision.together());
            cpu::shaped(dw, (o, i))
        });
        Ok([dx.transpose()?, dw.transpose()?])
    })
}

/// The same on any device.
fn by_candle(x: &Value, w_oi: &Value, precision: MatmulPrecision) -> Result<Value> {
    let (x_t, w_t) = (x.bare(), w_oi.bare());
    let ((n, i), o) = (cpu::rows(&x_t)?, w_t.dim(0)?);
    let mut dims = x_t.dims().to_vec();
    dims[x_t.rank() - 1] = o;
    let x_ni = x_t.reshape((n, i))?;
    if !x.is_tracked()
        && !w_oi.is_tracked()
        && n <= FEW
        && let Some(y) = cuda::few_rows(&x_ni, &w_t.unsqueeze(0)?, &[0, n])?
    {
        return Value::constant(&y.reshape(dims)?);
    }
    let y = portable::product(&x_ni, &w_t.t()?, precision)?.reshape(dims)?;
    let kept_x = w_oi.is_tracked().then(|| x.kept());
    let kept_w = x.is_tracked().then(|| w_t.clone());
    let shape = x_t.shape().clone();
    Value::record(y, [x, w_oi], move |dy, _| {
        let dy = dy.reshape((n, o))?;
        let dx = kept_w.as_ref().map(|w_t| portable::product(&dy, w_t, precision)?.reshape(&shape));
        let dw = kept_x.as_ref().map(|x| portable::product(&dy.t()?, &x.tensor()?.reshape((n, i))?, precision));
        Ok([dx.transpose()?, dw.transpose()?])
    })
}

/// The oracle.
#[cfg(test)]
pub(crate) fn reference(x: &candle_core::Tensor, w_oi: &candle_core::Tensor) -> Result<candle_core::Tensor> {
    x.broadcast_matmul(&w_oi.t()?)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, constant, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> candle_core::Result<()> {
        for (n, i, o) in [(1, 3, 2), (6, 5, 4), (17, 33, 9)] {
            Case::new(vec![random(&[n, i], 1), random(&[o, i], 2)])
                .agrees(|a| super::linear(&a[0], &a[1]), |a| super::reference(&a[0], &a[1]))?;
        }
        Ok(())
    }

    #[test]
    fn a_wrong_width_is_an_error() {
        let (x, w) = (constant(&[2, 3], 1), constant(&[4, 5], 2));
        assert!(super::linear(&x, &w).is_err());
    }
}
