//! Weights that are packed into another form as a model is built from them.

use super::{Init, Source};
use crate::Error;
use crate::checkpoint::Fp8Block;
use candle_core::{Device, Shape, Tensor};
use retort_kernels::{Bits, Format, StoredMatrix};
use std::sync::Arc;

/// How matrices are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Bf16,
    /// e4m3 with a scale for each 128 x 128 block.
    Fp8,
    Quantised(Bits),
}

impl Kept {
    /// A matrix [o, i] of these numbers.
    pub fn pack(self, numbers: &[f32], (o, i): (usize, usize)) -> candle_core::Result<StoredMatrix> {
        match self {
            Self::Bf16 => StoredMatrix::rounded(numbers, (o, i), Format::Bf16),
            Self::Quantised(bits) => StoredMatrix::quantised(numbers, (o, i), bits),
            Self::Fp8 => {
                let Fp8Block { bytes, scale_inv } = Fp8Block::quantise(numbers, o, i);
                let (range, format) = (0..bytes.len(), Format::Fp8 { scale_inv: scale_inv.into() });
                StoredMatrix::new(Arc::new(bytes), range, format, (o, i))
            }
        }
    }
}

/// A source whose matrices are packed one by one; norms, biases and the router stay as they are.
pub struct Packed {
    pub source: Box<dyn Source>,
    pub kept: Kept,
}

impl Source for Packed {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        self.source.tensor(name, shape, init, device)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        if let Some(parts) = self.source.stored(name, shape)? {
            let pack = |part: StoredMatrix| self.kept.pack(&part.to_vec(), part.dims());
            return Ok(Some(parts.into_iter().map(pack).collect::<candle_core::Result<_>>()?));
        }
        let (e, o, i) = match *shape.dims() {
            [o, i] => (1, o, i),
            [e, o, i] => (e, o, i),
            _ => return Ok(None),
        };
        let numbers = self.source.tensor(name, shape, Init::Constant(0.0), &Device::Cpu)?;
        let numbers: Vec<f32> = numbers.flatten_all()?.to_vec1()?;
        let matrices = (0..e).map(|e| self.kept.pack(&numbers[e * o * i..][..o * i], (o, i)));
        Ok(Some(matrices.collect::<candle_core::Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fresh, frozen};
    use super::*;
    use retort_kernels::Weight;

    #[test]
    fn matrices_are_packed_and_stay_close() -> Result<(), Error> {
        let shape = Shape::from((3, 20, 70));
        let init = Init::Normal { stdev: 1.0 };
        let numbers: Vec<f32> = Fresh { seed: 5 }.tensor("w", &shape, init, &Device::Cpu)?.flatten_all()?.to_vec1()?;
        // About half a step at the largest numbers, some 4.5.
        let forms = [
            (Kept::Quantised(Bits::Eight), 0.02),
            (Kept::Quantised(Bits::Four), 0.3),
            (Kept::Fp8, 0.3),
            (Kept::Bf16, 0.01),
        ];
        for (kept, room) in forms {
            let packed = Packed { source: Box::new(Given(numbers.clone())), kept };
            let weight = frozen(Box::new(packed), &Device::Cpu, |params| params.weight("w", shape.clone(), init))?;
            let Weight::Stored(parts) = weight else { panic!("not packed") };
            let back: Vec<f32> = parts.iter().flat_map(StoredMatrix::to_vec).collect();
            let error = numbers.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(parts.len() == 3 && error < room, "{kept:?}: {error}");
        }
        Ok(())
    }

    struct Given(Vec<f32>);

    impl Source for Given {
        fn tensor(&self, _: &str, shape: &Shape, _: Init, device: &Device) -> Result<Tensor, Error> {
            Ok(Tensor::from_slice(&self.0, shape, device)?)
        }
    }
}
