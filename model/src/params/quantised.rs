//! Weights that are packed into quantised blocks as a model is built from them.

use super::{Init, Source};
use crate::Error;
use candle_core::{Device, Shape, Tensor};
use retort_kernels::{Bits, Format, StoredMatrix};

/// A source whose matrices are quantised one by one; norms, biases and the router stay as they are.
pub struct Quantised {
    pub source: Box<dyn Source>,
    pub bits: Bits,
}

impl Source for Quantised {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        self.source.tensor(name, shape, init, device)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        if let Some(parts) = self.source.stored(name, shape)? {
            let pack = |part: StoredMatrix| match part.format() {
                Format::Quantised(_) => Ok(part),
                _ => StoredMatrix::quantised(&part.to_vec(), part.dims(), self.bits),
            };
            return Ok(Some(parts.into_iter().map(pack).collect::<candle_core::Result<_>>()?));
        }
        let numbers = self.source.tensor(name, shape, Init::Constant(0.0), &Device::Cpu)?;
        let (e, o, i) = match *shape.dims() {
            [o, i] => (1, o, i),
            [e, o, i] => (e, o, i),
            _ => return Ok(None),
        };
        let numbers: Vec<f32> = numbers.flatten_all()?.to_vec1()?;
        let matrices = (0..e).map(|e| StoredMatrix::quantised(&numbers[e * o * i..][..o * i], (o, i), self.bits));
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
        for (bits, room) in [(Bits::Eight, 0.02), (Bits::Four, 0.3)] {
            let source = Given(numbers.clone());
            let quantised = Quantised { source: Box::new(source), bits };
            let weight = frozen(Box::new(quantised), &Device::Cpu, |params| params.weight("w", shape.clone(), init))?;
            let Weight::Stored(parts) = weight else { panic!("not packed") };
            let back: Vec<f32> = parts.iter().flat_map(StoredMatrix::to_vec).collect();
            let error = numbers.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(parts.len() == 3 && error < room, "{bits:?}: {error}");
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
