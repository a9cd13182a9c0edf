//! Sums: two values, a bias for every row, a value times a constant.

use crate::cpu;
use crate::value::{Value, lift};
use candle_core::{D, Result, bail};
use rayon::prelude::*;

/// Elements per unit of parallel work.
const SPAN: usize = 1 << 15;

/// a + b, of one shape.
pub fn add(a: &Value, b: &Value) -> Result<Value> {
    let (a_t, b_t) = (a.tensor(), b.tensor());
    if a_t.shape() != b_t.shape() {
        bail!("add: {:?} and {:?} differ", a_t.shape(), b_t.shape());
    }
    if !cpu::fast(&[a_t, b_t]) {
        return lift([a, b], |[a, b]| a + b);
    }
    let mut y = cpu::data(a_t)?.to_vec();
    let b_data = cpu::data(b_t)?;
    y.par_chunks_mut(SPAN)
        .zip(b_data.par_chunks(SPAN))
        .for_each(|(y, b)| y.iter_mut().zip(b).for_each(|(y, b)| *y += b));
    Value::record(cpu::tensor(y, a_t)?, [a, b], |dy, _| Ok([Some(dy.clone()), Some(dy.clone())]))
}

/// `x` [.., o] plus `bias_o` [o] in every row.
pub fn add_bias(x: &Value, bias_o: &Value) -> Result<Value> {
    let (x_t, bias_t) = (x.tensor(), bias_o.tensor());
    let o = bias_t.dims1()?;
    if x_t.dim(D::Minus1)? != o {
        bail!("add_bias: {:?} does not fit bias {:?}", x_t.shape(), bias_t.shape());
    }
    if !cpu::fast(&[x_t, bias_t]) {
        return lift([x, bias_o], |[x, bias]| x.broadcast_add(bias));
    }
    let mut y = cpu::data(x_t)?.to_vec();
    let bias = cpu::data(bias_t)?;
    y.chunks_mut(o).for_each(|row| row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b));
    Value::record(cpu::tensor(y, x_t)?, [x, bias_o], move |dy, _| {
        let mut dbias = vec![0f32; o];
        cpu::data(dy)?.chunks(o).for_each(|row| dbias.iter_mut().zip(row).for_each(|(sum, x)| *sum += x));
        Ok([Some(dy.clone()), Some(cpu::shaped(dbias, o)?)])
    })
}

/// `factor` times `x`.
pub fn scale(x: &Value, factor: f64) -> Result<Value> {
    lift([x], |[x]| x * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn agree_with_candle() -> Result<()> {
        let two = vec![random(&[4, 3], 1), random(&[4, 3], 2)];
        Case::new(two).agrees(|a| add(&a[0], &a[1]), |a| &a[0] + &a[1])?;
        let biased = vec![random(&[4, 3], 1), random(&[3], 2)];
        Case::new(biased).agrees(|a| add_bias(&a[0], &a[1]), |a| a[0].broadcast_add(&a[1]))?;
        Case::new(vec![random(&[4], 1)]).agrees(|a| scale(&a[0], 0.3), |a| &a[0] * 0.3)
    }
}
