//! SwiGLU's gate: y = silu(gate) * up, from two tensors or from the two halves of one (arXiv 2002.05202).
//!
//! Backward, with s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.

use crate::matmul::MatmulPrecision;
use crate::rounding::Aside;
use crate::value::Value;
use crate::written::{PIECE, written};
use crate::{cpu, cuda, simd};
use candle_core::{D, Result, Tensor, bail};

/// silu(gate) * up for two values [.., f].
pub fn swiglu(gate: &Value, up: &Value) -> Result<Value> {
    let (gate_t, up_t) = (gate.tensor(), up.tensor());
    if gate_t.shape() != up_t.shape() {
        bail!("swiglu: gate {:?} and up {:?} differ", gate_t.shape(), up_t.shape());
    }
    if !cpu::fast(&[gate_t, up_t]) {
        let (gate_t, up_t) = (gate.bare(), up.bare());
        let again = (gate_t.clone(), up_t.clone());
        let y = Value::record(elsewhere(&gate_t, &up_t)?, [gate, up], move |dy, _| {
            Ok(elsewhere_backward(&gate_t, &up_t, dy)?.map(Some))
        })?;
        return Ok(y.forgettable(move || elsewhere(&again.0, &again.1)));
    }
    let y = gated(&Aside::Exact(gate_t.clone()), &Aside::Exact(up_t.clone()))?;
    if !gate.is_tracked() && !up.is_tracked() {
        return Value::record(y, [gate, up], |_, _| Ok([None, None]));
    }
    let precision = MatmulPrecision::current();
    let kept = (Aside::new(gate_t, precision)?, Aside::new(up_t, precision)?);
    let again = kept.clone();
    let y = Value::record(y, [gate, up], move |dy, _| {
        let (gate, up, dy_data) = (kept.0.pieces()?, kept.1.pieces()?, cpu::data(dy)?);
        let [dgate, dup] = written(dy_data.len(), 1, |range, [dgate, dup]| {
            let [mut g, mut u] = [[0f32; PIECE]; 2];
            let (g, u) = (gate.get(range.clone(), &mut g), up.get(range.clone(), &mut u));
            backward(dgate, dup, g, u, &dy_data[range]);
        });
        Ok([Some(cpu::tensor(dgate, dy)?), Some(cpu::tensor(dup, dy)?)])
    })?;
    Ok(y.forgettable(move || gated(&again.0, &again.1)))
}

/// silu(gate) * up
fn gated(gate: &Aside, up: &Aside) -> Result<Tensor> {
    let (g, u) = (gate.pieces()?, up.pieces()?);
    let [y] = written(gate.shape().elem_count(), 1, |range, [y]| {
        let [mut a, mut b] = [[0f32; PIECE]; 2];
        forward(y, g.get(range.clone(), &mut a), u.get(range, &mut b));
    });
    cpu::shaped(y, gate.shape())
}

/// silu of the first half of the last dimension times the second half: [.., 2f] to [.., f].
pub fn swiglu_halves(gate_up: &Value) -> Result<Value> {
    let x_t = gate_up.tensor();
    let (n, width) = cpu::rows(x_t)?;
    if width % 2 != 0 {
        bail!("swiglu_halves: the last dimension of {:?} is not two equal halves", x_t.shape());
    }
    if !cpu::fast(&[x_t]) {
        let (kept, again) = (gate_up.bare(), gate_up.bare());
        let y = Value::record(halves_elsewhere(&kept)?, [gate_up], move |dy, _| {
            let [gate, up] = halves(&kept)?;
            Ok([Some(Tensor::cat(&elsewhere_backward(&gate, &up, dy)?, D::Minus1)?)])
        })?;
        return Ok(y.forgettable(move || halves_elsewhere(&again)));
    }
    let f = width / 2;
    let y = gated_halves(x_t, n, f)?;
    if !gate_up.is_tracked() {
        return Value::record(y, [gate_up], |_, _| Ok([None]));
    }
    let kept = Aside::new(x_t, MatmulPrecision::current())?;
    let again = kept.clone();
    let y = Value::record(y, [gate_up], move |dy, _| {
        let x_t = kept.tensor()?;
        let (x, dy) = (cpu::data(&x_t)?, cpu::data(dy)?);
        let [dx] = written(x.len(), width, |range, [dx]| {
            let dy = dy[range.start / 2..range.end / 2].chunks(f);
            for ((dx, x), dy) in dx.chunks_mut(width).zip(x[range].chunks(width)).zip(dy) {
                let (dgate, dup) = dx.split_at_mut(f);
                backward(dgate, dup, &x[..f], &x[f..], dy);
            }
        });
        Ok([Some(cpu::tensor(dx, &x_t)?)])
    })?;
    Ok(y.forgettable(move || gated_halves(&again.tensor()?, n, f)))
}

/// The same for the halves of n rows, [.., f].
fn gated_halves(x_t: &Tensor, n: usize, f: usize) -> Result<Tensor> {
    let x = cpu::data(x_t)?;
    let [y] = written(n * f, f, |range, [y]| {
        let x = x[2 * range.start..2 * range.end].chunks(2 * f);
        y.chunks_mut(f).zip(x).for_each(|(y, x)| forward(y, &x[..f], &x[f..]));
    });
    let mut dims = x_t.dims().to_vec();
    dims[x_t.rank() - 1] = f;
    cpu::shaped(y, dims)
}

/// silu(gate) * up on another device.
fn elsewhere(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match cuda::swiglu(gate, up)? {
        Some(y) => Ok(y),
        None => gate.silu()? * up,
    }
}

fn halves_elsewhere(gate_up: &Tensor) -> Result<Tensor> {
    let [gate, up] = halves(gate_up)?;
    elsewhere(&gate, &up)
}

/// [dgate, dup] on another device.
fn elsewhere_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    if let Some(gradients) = cuda::swiglu_backward(gate, up, dy)? {
        return Ok(gradients);
    }
    let s = ((gate.neg()?.exp()? + 1.0)?.recip())?;
    let dup = (dy * (gate * &s)?)?;
    let slope = ((gate * (1.0 - &s)?)? + 1.0)?;
    Ok([(((dy * up)? * s)? * slope)?, dup])
}

/// Both halves of the last dimension.
fn halves(gate_up: &Tensor) -> Result<[Tensor; 2]> {
    let f = gate_up.dim(D::Minus1)? / 2;
    Ok([gate_up.narrow(D::Minus1, 0, f)?.contiguous()?, gate_up.narrow(D::Minus1, f, f)?.contiguous()?])
}

/// The oracle.
#[cfg(test)]
pub(crate) fn reference(gate_up: &Tensor) -> Result<Tensor> {
    let [gate, up] = halves(gate_up)?;
    gate.silu()? * up
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-x))
}

/// silu(gate) * up, number by number.
pub(crate) fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = g * sigmoid(*g) * u;
            }
        },
    );
}

fn backward(dgate: &mut [f32], dup: &mut [f32], gate: &[f32], up: &[f32], dy: &[f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for ((((dg, du), g), u), dy) in dgate.iter_mut().zip(dup).zip(gate).zip(up).zip(dy) {
                let s = sigmoid(*g);
                *dg = dy * u * s * (1.0 + g * (1.0 - s));
                *du = dy * g * s;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> Result<()> {
        for dims in [vec![1, 2], vec![5, 18], vec![2, 3, 40]] {
            Case::new(vec![(random(&dims, 4) * 6.0)?]).agrees(|a| swiglu_halves(&a[0]), |a| reference(&a[0]))?;
            let inputs = vec![(random(&dims, 4) * 6.0)?, random(&dims, 5)];
            Case::new(inputs).agrees(|a| swiglu(&a[0], &a[1]), |a| a[0].silu()? * &a[1])?;
        }
        Ok(())
    }
}
