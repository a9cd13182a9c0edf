//! A fixed linear layer with a trained low-rank update beside it (LoRA, arXiv 2106.09685): y = x W^T + s (x A^T) B^T.
//!
//! Backward, with u = s x A^T: du = s dy B, dB = dy^T u, dA = du^T x, dx = dy W + du A. What the update adds is added as
//! the products are made, so that it costs no passes over y and dx of its own.

use crate::matmul::{Mat, MatMut, MatmulPrecision, matmul, product};
use crate::weight::Weight;
use crate::{Value, add, cpu, linear, scale};
use candle_core::{Result, bail};

/// y [.., o] for `x` [.., i], a weight [o, i], `a_ri` [r, i], `b_or` [o, r] and the factor `s`.
pub fn updated_linear(x: &Value, weight: &Weight, a_ri: &Value, b_or: &Value, s: f64) -> Result<Value> {
    let (i, o, r) = (weight.columns(), weight.rows(), a_ri.tensor().dims2()?.0);
    if x.dims().last() != Some(&i) || a_ri.dims() != [r, i] || b_or.dims() != [o, r] {
        bail!("updated_linear: x {:?}, weight [{o}, {i}], A {:?}, B {:?}", x.dims(), a_ri.dims(), b_or.dims());
    }
    let trained = a_ri.is_tracked() && b_or.is_tracked() && !weight.is_tracked();
    if !trained || !cpu::fast(&[x.tensor(), a_ri.tensor(), b_or.tensor()]) {
        // Where nothing is trained a row's result must not depend on the rows beside it, as products for training may; and
        // a weight that is trained itself wants its own gradient.
        return add(&weight.linear(x)?, &linear(&scale(&linear(x, a_ri)?, s)?, b_or)?);
    }
    let precision = MatmulPrecision::current();
    let how = precision.together();
    let (n, _) = cpu::rows(x.tensor())?;
    let (x_data, a, b) = (cpu::data(x.tensor())?, cpu::data(a_ri.tensor())?, cpu::data(b_or.tensor())?);
    let mut u = product(Mat::new(&x_data, n, i), Mat::new(&a, r, i).t(), how);
    u.iter_mut().for_each(|u| *u *= s as f32);
    let w = weight.to_value()?.into_tensor();
    let mut y = product(Mat::new(&x_data, n, i), Mat::new(&cpu::data(&w)?, o, i).t(), how);
    matmul(MatMut::new(&mut y, n, o), Mat::new(&u, n, r), Mat::new(&b, o, r).t(), true, how);
    drop(w);

    let (kept_x, dims, tracked) = (x.kept(), x.dims().to_vec(), x.is_tracked());
    let (a_t, b_t, weight) = (a_ri.tensor().clone(), b_or.tensor().clone(), weight.clone());
    let wide: Vec<usize> = dims[..dims.len() - 1].iter().copied().chain([o]).collect();
    Value::record(cpu::shaped(y, wide)?, [x, a_ri, b_or], move |dy, _| {
        let (dy, a, b) = (cpu::data(dy)?, cpu::data(&a_t)?, cpu::data(&b_t)?);
        let (dy, a, b) = (Mat::new(&dy, n, o), Mat::new(&a, r, i), Mat::new(&b, o, r));
        let mut du = product(dy, b, how);
        du.iter_mut().for_each(|du| *du *= s as f32);
        let du = Mat::new(&du, n, r);
        let db = product(dy.t(), Mat::new(&u, n, r), how);
        let da = product(du.t(), Mat::new(&cpu::data(&kept_x.tensor()?)?, n, i), how);
        let dx = match tracked {
            false => None,
            true => {
                let w = weight.to_value()?.into_tensor();
                let mut dx = product(dy, Mat::new(&cpu::data(&w)?, o, i), how);
                matmul(MatMut::new(&mut dx, n, i), du, a, true, how);
                Some(cpu::shaped(dx, dims.clone())?)
            }
        };
        Ok([dx, Some(cpu::shaped(da, (r, i))?), Some(cpu::shaped(db, (o, r))?)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, constant, random};
    use crate::{Bits, Format, StoredMatrix};
    use candle_core::{DType, Tensor, Var};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> Result<()> {
        for (n, i, o, r) in [(1, 3, 2, 1), (6, 5, 4, 2), (17, 33, 9, 8)] {
            let w = random(&[o, i], 3);
            let weight = |like: &Tensor| -> Result<Weight> {
                Ok(Weight::Plain(Value::constant(&w.to_dtype(like.dtype())?.to_device(like.device())?)?))
            };
            Case::new(vec![random(&[n, i], 1), random(&[r, i], 2), random(&[o, r], 4)]).agrees(
                |v| updated_linear(&v[0], &weight(v[0].tensor())?, &v[1], &v[2], 0.5),
                |v| {
                    let update = (v[0].matmul(&v[1].t()?)? * 0.5)?.matmul(&v[2].t()?)?;
                    v[0].matmul(&w.to_dtype(v[0].dtype())?.t()?)? + update
                },
            )?;
        }
        Ok(())
    }

    #[test]
    fn a_stored_weight_gives_what_its_numbers_would() -> Result<()> {
        let (n, i, o, r) = (5, 32, 16, 4);
        let numbers: Vec<f32> = random(&[o, i], 3).flatten_all()?.to_vec1()?;
        for stored in [
            StoredMatrix::rounded(&numbers, (o, i), Format::Bf16)?,
            StoredMatrix::quantised(&numbers, (o, i), Bits::Four)?,
        ] {
            let plain =
                Weight::Plain(Value::constant(&Tensor::from_vec(stored.to_vec(), (o, i), &candle_core::Device::Cpu)?)?);
            let vars = [random(&[n, i], 1), random(&[r, i], 2), random(&[o, r], 4)]
                .iter()
                .map(Var::from_tensor)
                .collect::<Result<Vec<_>>>()?;
            let values = vars.iter().map(|var| Value::new(var)).collect::<Result<Vec<_>>>()?;
            let gradients = |weight: &Weight| {
                let y = updated_linear(&values[0], weight, &values[1], &values[2], 2.0)?;
                linear(&y.reshape((1, n * o))?, &constant(&[1, n * o], 7))?.backward()
            };
            let (found, expected) = (gradients(&Weight::Stored([stored].into()))?, gradients(&plain)?);
            for var in &vars {
                let (found, expected) = (found.get(var).expect("found"), expected.get(var).expect("expected"));
                assert_eq!(found.flatten_all()?.to_vec1::<f32>()?, expected.flatten_all()?.to_vec1::<f32>()?);
            }
            assert_eq!(values[0].tensor().dtype(), DType::F32);
        }
        Ok(())
    }
}
