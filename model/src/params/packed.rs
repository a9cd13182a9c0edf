//! Weights that are packed into another form as a model is built from them.

use super::{Init, Source};
use crate::Error;
use crate::checkpoint::{NumberFormat, Stored};
use candle_core::{DType, Device, Shape, Tensor};
use retort_kernels::StoredMatrix;

/// A source whose tensors are packed one by one, as a checkpoint of this format would hold them.
pub struct Packed {
    pub source: Box<dyn Source>,
    pub format: NumberFormat,
}

impl Source for Packed {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        let tensor = self.source.tensor(name, shape, init, device)?;
        let rounded = match self.format.stored(name).of_shape(shape.dims()) {
            Stored::Bf16 => tensor.to_dtype(DType::BF16)?,
            Stored::F16 => tensor.to_dtype(DType::F16)?,
            Stored::F32 | Stored::Fp8 | Stored::Quantised(_) => return Ok(tensor),
        };
        Ok(rounded.to_dtype(tensor.dtype())?)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        let pack = |numbers: &[f32], (o, i)| self.format.stored(name).of_shape(&[o, i]).pack(numbers, (o, i));
        if let Some(parts) = self.source.stored(name, shape)? {
            let packed: candle_core::Result<_> = parts.iter().map(|part| pack(&part.to_vec(), part.dims())).collect();
            return Ok(packed?);
        }
        let (e, o, i) = match *shape.dims() {
            [o, i] => (1, o, i),
            [e, o, i] => (e, o, i),
            _ => return Ok(None),
        };
        let numbers = self.source.tensor(name, shape, Init::Constant(0.0), &Device::Cpu)?;
        let numbers: Vec<f32> = numbers.flatten_all()?.to_vec1()?;
        let packed: candle_core::Result<_> = (0..e).map(|e| pack(&numbers[e * o * i..][..o * i], (o, i))).collect();
        Ok(packed?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fresh, frozen};
    use super::*;
    use retort_kernels::{Bits, Weight};

    #[test]
    fn matrices_are_packed_and_stay_close() -> Result<(), Error> {
        let shape = Shape::from((3, 32, 64));
        let init = Init::Normal { stdev: 1.0 };
        let numbers: Vec<f32> =
            Fresh { seed: 5 }.tensor("up_proj", &shape, init, &Device::Cpu)?.flatten_all()?.to_vec1()?;
        // About half a step at the largest numbers, some 4.5.
        let forms = [
            (NumberFormat::Quantised(Bits::Eight), 0.02),
            (NumberFormat::Quantised(Bits::Four), 0.3),
            (NumberFormat::Fp8, 0.3),
            (NumberFormat::Bf16, 0.01),
        ];
        for (format, room) in forms {
            let packed = Packed { source: Box::new(Given(numbers.clone())), format };
            let weight =
                frozen(Box::new(packed), &Device::Cpu, |params| params.weight("up_proj", shape.clone(), init))?;
            let Weight::Stored(parts) = weight else { panic!("not packed") };
            let back: Vec<f32> = parts.iter().flat_map(StoredMatrix::to_vec).collect();
            let error = numbers.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(parts.len() == 3 && error < room, "{format:?}: {error}");
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
