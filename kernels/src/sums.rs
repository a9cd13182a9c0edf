//! Sums: two values, a bias for every row, a value times a constant.

use crate::cpu;
use crate::value::Value;
use crate::written::written;
use candle_core::{D, Result, bail};
use rayon::prelude::*;

/// a + b, of one shape.
pub fn add(a: &Value, b: &Value) -> Result<Value> {
    let (a_t, b_t) = (a.tensor(), b.tensor());
    if a_t.shape() != b_t.shape() {
        bail!("add: {:?} and {:?} differ", a_t.shape(), b_t.shape());
    }
    if !cpu::fast(&[a_t, b_t]) {
        return Value::record((a.bare() + b.bare())?, [a, b], |dy, _| Ok([Some(dy.clone()), Some(dy.clone())]));
    }
    let (a_data, b_data) = (cpu::data(a_t)?, cpu::data(b_t)?);
    let [y] = written(a_data.len(), 1, |range, [y]| {
        let parts = a_data[range.clone()].iter().zip(&b_data[range]);
        y.iter_mut().zip(parts).for_each(|(y, (a, b))| *y = a + b);
    });
    Value::record(cpu::tensor(y, a_t)?, [a, b], |dy, _| Ok([Some(dy.clone()), Some(dy.clone())]))
}

/// Columns of a bias that one thread sums.
const COLUMNS: usize = 64;

/// `x` [.., o] plus `bias_o` [o] in every row.
pub fn add_bias(x: &Value, bias_o: &Value) -> Result<Value> {
    let (x_t, bias_t) = (x.tensor(), bias_o.tensor());
    let o = bias_t.dims1()?;
    if x_t.dim(D::Minus1)? != o {
        bail!("add_bias: {:?} does not fit bias {:?}", x_t.shape(), bias_t.shape());
    }
    if !cpu::fast(&[x_t, bias_t]) {
        return Value::record(x.bare().broadcast_add(&bias_o.bare())?, [x, bias_o], move |dy, _| {
            Ok([Some(dy.clone()), Some(dy.reshape(((), o))?.sum(0)?)])
        });
    }
    let (x_data, bias) = (cpu::data(x_t)?, cpu::data(bias_t)?);
    let [y] = written(x_data.len(), o, |range, [y]| {
        for (y, x) in y.chunks_mut(o).zip(x_data[range].chunks(o)) {
            y.iter_mut().zip(x.iter().zip(bias.iter())).for_each(|(y, (x, b))| *y = x + b);
        }
    });
    Value::record(cpu::tensor(y, x_t)?, [x, bias_o], move |dy, _| {
        // Columns side by side, each summed from the first row to the last.
        let (dy_data, mut dbias) = (cpu::data(dy)?, vec![0f32; o]);
        dbias.par_chunks_mut(COLUMNS).enumerate().for_each(|(at, sums)| {
            for row in dy_data.chunks(o) {
                sums.iter_mut().zip(&row[at * COLUMNS..]).for_each(|(sum, x)| *sum += x);
            }
        });
        Ok([Some(dy.clone()), Some(cpu::shaped(dbias, o)?)])
    })
}

/// `factor` times `x`.
pub fn scale(x: &Value, factor: f64) -> Result<Value> {
    Value::record((x.bare() * factor)?, [x], move |dy, _| Ok([Some((dy * factor)?)]))
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
