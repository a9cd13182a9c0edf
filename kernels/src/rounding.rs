//! Numbers in bf16: to and fro, and tensors that are put aside in half their memory.

use crate::matmul::MatmulPrecision;
use crate::written::{PIECE, written};
use crate::{cpu, simd};
use candle_core::{Result, Shape, Tensor};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The same numbers in f32.
pub(crate) fn widen(row: &[bf16], out: &mut [f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(row.reinterpret_cast()) {
                *out = f32::from_bits(u32::from(*x).wrapping_shl(16));
            }
        },
    );
}

/// To the nearest bf16, to the even one of two; what is no number stays so.
pub(crate) fn round(numbers: &[f32], out: &mut [bf16]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for (out, x) in out.reinterpret_cast_mut().iter_mut().zip(numbers) {
                let bits = x.to_bits();
                let odd = bits.wrapping_shr(16) & 1;
                let nearest = bits.wrapping_add(0x7fff).wrapping_add(odd);
                *out = (if x.is_nan() { bits | 0x0040_0000 } else { nearest }).wrapping_shr(16) as u16;
            }
        },
    );
}

/// Numbers per unit of parallel work.
const SPAN: usize = 1 << 14;

/// An input put aside for the way back: as it is, or rounded to bf16 where the products that it goes into round it anyway.
#[derive(Clone)]
pub(crate) enum Aside {
    Exact(Tensor),
    Rounded(Arc<Vec<bf16>>, Shape),
}

impl Aside {
    pub(crate) fn new(tensor: &Tensor, precision: MatmulPrecision) -> Result<Self> {
        if precision == MatmulPrecision::F32 || !precision.is_here() {
            return Ok(Self::Exact(tensor.clone()));
        }
        let numbers = cpu::data(tensor)?;
        let mut rounded = vec![bf16::ZERO; numbers.len()];
        rounded.par_chunks_mut(SPAN).zip(numbers.par_chunks(SPAN)).for_each(|(out, x)| round(x, out));
        Ok(Self::Rounded(Arc::new(rounded), tensor.shape().clone()))
    }

    pub(crate) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Exact(tensor) => Ok(tensor.clone()),
            Self::Rounded(rounded, shape) => {
                let [numbers] = written(rounded.len(), 1, |range, [out]| widen(&rounded[range], out));
                cpu::shaped(numbers, shape.clone())
            }
        }
    }

    pub(crate) fn shape(&self) -> &Shape {
        match self {
            Self::Exact(tensor) => tensor.shape(),
            Self::Rounded(_, shape) => shape,
        }
    }

    /// Opens it for reading piece by piece, without ever having all of it in f32.
    pub(crate) fn pieces(&self) -> Result<Pieces<'_, impl Deref<Target = [f32]> + '_>> {
        Ok(match self {
            Self::Exact(tensor) => Pieces::Exact(cpu::data(tensor)?),
            Self::Rounded(rounded, _) => Pieces::Rounded(rounded),
        })
    }
}

/// Numbers that were put aside, to be read.
pub(crate) enum Pieces<'a, D> {
    Exact(D),
    Rounded(&'a [bf16]),
}

impl<D: Deref<Target = [f32]>> Pieces<'_, D> {
    /// The numbers `range`, at most [`PIECE`] of them, in `room` where they have to be widened.
    pub(crate) fn get<'b>(&'b self, range: Range<usize>, room: &'b mut [f32; PIECE]) -> &'b [f32] {
        match self {
            Self::Exact(numbers) => &numbers[range],
            Self::Rounded(rounded) => {
                let room = &mut room[..range.len()];
                widen(&rounded[range], room);
                room
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_come_back() -> Result<()> {
        let numbers =
            [0.0, -0.0, 1.0, 1.003, -2.5e-30, 3.4e38, f32::INFINITY, f32::MIN_POSITIVE, 1.003_906_2, 1.011_718_8];
        let tensor = Tensor::new(&numbers, &candle_core::Device::Cpu)?;
        let exact: Vec<f32> = Aside::new(&tensor, MatmulPrecision::F32)?.tensor()?.to_vec1()?;
        assert_eq!(exact, numbers);
        if MatmulPrecision::Bf16.is_here() {
            let found: Vec<f32> = Aside::new(&tensor, MatmulPrecision::Bf16)?.tensor()?.to_vec1()?;
            assert_eq!(found, numbers.map(|x| bf16::from_f32(x).to_f32()));
        }
        Ok(())
    }
}
