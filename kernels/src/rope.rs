//! Rotary position embedding (arXiv 2104.09864) in both layouts in use.
//!
//! Pair i of a head is rotated by the angle of its position: (a, b) -> (a cos - b sin, a sin + b cos). The pair is
//! (x_i, x_{i + p/2}) in the half-split layout (Llama, Qwen) and (x_{2i}, x_{2i+1}) in the interleaved one (DeepSeek).
//! Heads may be wider than what is rotated: the numbers before the last p pass through (DeepSeek's `nope` part).
//! Backward is the rotation by the negative angle.

use crate::value::Value;
use crate::written::written;
use crate::{cpu, cuda, simd};
use candle_core::{Result, Tensor, bail};

/// Which two elements of a head make a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// (x_i, x_{i + p/2}), as in Llama and Qwen.
    HalfSplit,
    /// (x_{2i}, x_{2i+1}), as in DeepSeek.
    Interleaved,
}

impl RopeLayout {
    #[inline(always)]
    fn pair(self, i: usize, p: usize) -> (usize, usize) {
        match self {
            Self::HalfSplit => (i, i + p / 2),
            Self::Interleaved => (2 * i, 2 * i + 1),
        }
    }
}

/// Rotates the last p numbers of each head of `x` [n, h, c]; `cos` and `sin` are [n, p/2], a row for each token.
pub fn rope(x: &Value, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Value> {
    let x_t = x.tensor();
    let ((n, h, c), (rows, half)) = (x_t.dims3()?, cos.dims2()?);
    if rows != n || 2 * half > c || half == 0 || sin.dims2()? != (n, half) {
        bail!("rope: input {:?} does not fit tables {:?} and {:?}", x_t.shape(), cos.shape(), sin.shape());
    }
    if !cpu::fast(&[x_t, cos, sin]) {
        let fitted = |table: &Tensor| table.to_device(x_t.device())?.to_dtype(x_t.dtype())?.contiguous();
        let (cos, sin) = (fitted(cos)?, fitted(sin)?);
        let turned = move |x: &Tensor, sin: &Tensor, direction: f32| match cuda::rope(x, &cos, sin, layout, direction)?
        {
            Some(y) => Ok(y),
            None => reference(x, &cos, &(sin * f64::from(direction))?, layout),
        };
        return Value::record(turned(&x.bare(), &sin, 1.0)?, [x], move |dy, _| Ok([Some(turned(dy, &sin, -1.0)?)]));
    }
    let rotation = Rotation { cos: cos.contiguous()?, sin: sin.contiguous()?, p: 2 * half, layout };
    let y = cpu::tensor(rotation.turn(x_t, h, c, 1.0)?, x_t)?;
    Value::record(y, [x], move |dy, _| Ok([Some(cpu::tensor(rotation.turn(dy, h, c, -1.0)?, dy)?)]))
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Tensor> {
    let ((n, h, c), p) = (x.dims3()?, 2 * cos.dim(1)?);
    if c > p {
        let rotated = reference(&x.narrow(2, c - p, p)?, cos, sin, layout)?;
        return Tensor::cat(&[&x.narrow(2, 0, c - p)?, &rotated], 2);
    }
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    let (a, b) = match layout {
        RopeLayout::HalfSplit => (x.narrow(2, 0, p / 2)?, x.narrow(2, p / 2, p / 2)?),
        RopeLayout::Interleaved => {
            let pairs = x.reshape((n, h, p / 2, 2))?;
            (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
        }
    };
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
    match layout {
        RopeLayout::HalfSplit => Tensor::cat(&[first, second], 2),
        RopeLayout::Interleaved => Tensor::stack(&[first, second], 3)?.reshape((n, h, p)),
    }
}

struct Rotation {
    cos: Tensor,
    sin: Tensor,
    /// Rotated numbers per head.
    p: usize,
    layout: RopeLayout,
}

impl Rotation {
    /// Rotates heads of width `c` by the table's angles, or back with `direction` -1.
    fn turn(&self, x: &Tensor, h: usize, c: usize, direction: f32) -> Result<Vec<f32>> {
        let p = self.p;
        let (x, cos, sin) = (cpu::data(x)?, cpu::data(&self.cos)?, cpu::data(&self.sin)?);
        let [y] = written(x.len(), h * c, |range, [y]| {
            y.copy_from_slice(&x[range.clone()]);
            let first = range.start / (h * c);
            let tokens = cos[first * p / 2..].chunks(p / 2).zip(sin[first * p / 2..].chunks(p / 2));
            simd::dispatch(
                #[inline(always)]
                || {
                    for (y, (cos, sin)) in y.chunks_exact_mut(h * c).zip(tokens) {
                        for head in y.chunks_exact_mut(c) {
                            self.turn_head(&mut head[c - p..], cos, sin, direction);
                        }
                    }
                },
            );
        });
        Ok(y)
    }

    #[inline(always)]
    fn turn_head(&self, head: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
        for i in 0..self.p / 2 {
            let (first, second) = self.layout.pair(i, self.p);
            let (a, b, s) = (head[first], head[second], sin[i] * direction);
            head[first] = a * cos[i] - b * s;
            head[second] = a * s + b * cos[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};
    use candle_core::{DType, Device};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> Result<()> {
        for layout in [RopeLayout::HalfSplit, RopeLayout::Interleaved] {
            let (cos, sin) = (random(&[5, 4], 8), random(&[5, 4], 9));
            for c in [8, 13] {
                Case::new(vec![random(&[5, 3, c], 1)]).agrees(
                    |a| {
                        let dtype = a[0].tensor().dtype();
                        rope(&a[0], &cos.to_dtype(dtype)?, &sin.to_dtype(dtype)?, layout)
                    },
                    |a| reference(&a[0], &cos.to_dtype(DType::F64)?, &sin.to_dtype(DType::F64)?, layout),
                )?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_quarter_turn_by_hand() -> Result<()> {
        let x = Tensor::new(&[[[1f32, 2.0, 3.0, 4.0]]], &Device::Cpu)?;
        let (cos, sin) = (Tensor::new(&[[0f32, 1.0]], &Device::Cpu)?, Tensor::new(&[[1f32, 0.0]], &Device::Cpu)?);
        let turned = |layout| rope(&Value::constant(&x)?, &cos, &sin, layout)?.tensor().flatten_all()?.to_vec1::<f32>();
        assert_eq!(turned(RopeLayout::HalfSplit)?, [-3.0, 2.0, 1.0, 4.0]);
        assert_eq!(turned(RopeLayout::Interleaved)?, [-2.0, 1.0, 3.0, 4.0]);
        Ok(())
    }
}
