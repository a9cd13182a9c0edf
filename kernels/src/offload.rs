//! Weights of which not all fit into a device's memory: what does not lies in the host's, and comes over to be multiplied.
//!
//! Every token needs the matrices outside the experts, in turn, so that of those what has room from the beginning stays on
//! the device and the rest comes for each product: to keep the last ones used would be to have each leave before it is
//! needed again. Experts are needed as the router picks them, and of them those picked last are kept. Of an embedding only
//! rows are read, and it stays in the host's memory.

use crate::StoredMatrix;
use crate::device::{is_out_of_memory, named};
use crate::recent::Recent;
use candle_core::{Device, Result, Tensor};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Room on a device for the weights of one model.
pub struct Offload {
    device: Device,
    /// Bytes yet free for matrices that stay.
    free: AtomicUsize,
    experts: Mutex<Recent<u64, Tensor>>,
    next_expert: AtomicU64,
    moved: AtomicU64,
}

/// A matrix that comes to the device to be multiplied.
#[derive(Clone)]
pub(crate) struct Guest {
    offload: Arc<Offload>,
    /// What an expert is kept under.
    expert: Option<u64>,
}

impl Offload {
    /// Room for `fixed` bytes of matrices that stay, and for `experts` bytes of experts.
    pub fn new(device: &Device, fixed: usize, experts: usize) -> Arc<Self> {
        let (free, experts) = (fixed.into(), Mutex::new(Recent::new(experts)));
        Arc::new(Self { device: device.clone(), free, experts, next_expert: 0.into(), moved: 0.into() })
    }

    /// Bytes that came over for products, in the form in which they are stored.
    pub fn bytes_moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// An expert of the model.
    pub fn expert(self: &Arc<Self>, matrix: StoredMatrix) -> StoredMatrix {
        let expert = Some(self.next_expert.fetch_add(1, Relaxed));
        matrix.with_guest(Guest { offload: self.clone(), expert })
    }

    /// A table of which rows are read.
    pub fn table(self: &Arc<Self>, matrix: StoredMatrix) -> StoredMatrix {
        matrix.with_guest(Guest { offload: self.clone(), expert: None })
    }

    /// Any other matrix of it.
    pub fn other(self: &Arc<Self>, matrix: StoredMatrix) -> StoredMatrix {
        let stays = |free: usize| free.checked_sub(matrix.bytes_on_device());
        match self.free.fetch_update(Relaxed, Relaxed, stays) {
            Ok(_) => matrix,
            Err(_) => self.table(matrix),
        }
    }
}

impl Guest {
    pub(crate) fn device(&self) -> &Device {
        &self.offload.device
    }

    /// The matrix on the device.
    pub(crate) fn visit(&self, matrix: &StoredMatrix) -> Result<Tensor> {
        let Offload { device, experts, moved, .. } = &*self.offload;
        let come = || {
            moved.fetch_add(matrix.bytes().len() as u64, Relaxed);
            let (o, i) = matrix.dims();
            named(|| format!("a weight [{o}, {i}] that comes from the host"), || matrix.on(device))
        };
        let mut experts = experts.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.expert.and_then(|expert| experts.get(&expert).cloned());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let bytes = matrix.bytes_on_device();
        if self.expert.is_some() {
            experts.make_room(bytes);
        }
        let come = match come() {
            // Experts can come again.
            Err(error) if is_out_of_memory(&error) && !experts.make_room(usize::MAX).is_empty() => come()?,
            come => come?,
        };
        if let Some(expert) = self.expert {
            experts.put(expert, bytes, come.clone());
        }
        Ok(come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantised::Bits;
    use crate::testing::{close, gpu, random};
    use crate::{FP8_BLOCK, Format, Value, Weight, portably};
    use candle_core::DType;

    fn matrices(count: u64, (o, i): (usize, usize)) -> Result<Vec<StoredMatrix>> {
        let matrix = |at| {
            let numbers = random(&[o * i], at).to_vec1::<f32>()?;
            if at.is_multiple_of(2) {
                StoredMatrix::rounded(&numbers, (o, i), Format::Bf16)
            } else {
                StoredMatrix::quantised(&numbers, (o, i), Bits::Eight)
            }
        };
        (0..count).map(matrix).collect()
    }

    /// Over a device, or the CPU in its place.
    fn elsewhere(check: fn(&Device) -> Result<()>) -> Result<()> {
        portably(|| check(&Device::Cpu))?;
        gpu().map_or(Ok(()), |gpu| check(&gpu))
    }

    #[test]
    fn weights_that_come_over_multiply_like_those_that_stay() -> Result<()> {
        elsewhere(|device| {
            let (o, i) = (16, 64);
            let (plain, bytes) = (matrices(4, (o, i))?, 2 * o * i);
            // As they are stored: bf16, and 8 bits with a scale of 16 for each 32.
            let [wide, packed] = [bytes as u64, (o * (i + 2 * i / 32)) as u64];
            let x = Value::constant(&random(&[7, i], 9).to_device(device)?)?;
            let offload = Offload::new(device, bytes, 2 * bytes);
            let others: Vec<_> = plain.iter().cloned().map(|matrix| offload.other(matrix)).collect();
            assert_eq!(others.iter().map(StoredMatrix::is_guest).collect::<Vec<_>>(), [false, true, true, true]);
            let experts = plain.iter().cloned().map(|matrix| offload.expert(matrix)).collect::<Vec<_>>();
            let [plain, others, experts] = [plain, others, experts].map(|parts| Weight::Stored(parts.into()));
            close("others", others.linear(&x)?.tensor(), plain.linear(&x)?.tensor(), 0.0)?;
            let mut moved = wide + 2 * packed;
            assert_eq!(offload.bytes_moved(), moved);
            let deep = others.linear(&x.reshape((7, 1, i))?)?;
            assert_eq!(deep.dims(), [7, 1, 4 * o]);
            moved += wide + 2 * packed;
            // Two experts have room: 0 and 3 come, stay, and leave when 1 and 2 come.
            for (offsets, come) in [
                ([0, 4, 4, 4, 7], wide + packed),
                ([0, 1, 1, 1, 7], 0),
                ([0, 0, 3, 7, 7], wide + packed),
                ([0, 7, 7, 7, 7], wide),
            ] {
                let [found, expected] = [&experts, &plain].map(|weight| weight.grouped_linear(&x, &offsets.into()));
                close("experts", found?.tensor(), expected?.tensor(), 0.0)?;
                moved += come;
                assert_eq!(offload.bytes_moved(), moved, "{offsets:?}");
            }
            let none = Value::constant(&x.tensor().narrow(0, 0, 0)?)?;
            assert_eq!(experts.grouped_linear(&none, &[0; 5].into())?.dims(), [0, o]);
            // Rows of a table are all that comes of it.
            let table = Weight::Stored([offload.table(matrices(1, (o, i))?.remove(0))].into());
            let rows = table.gather_rows(&[3, 3, 0])?;
            assert!(rows.tensor().device().same_device(device) && offload.bytes_moved() == moved);
            Ok(())
        })
    }

    #[test]
    fn numbers_come_over_in_16_bits() -> Result<()> {
        elsewhere(|device| {
            for (o, i) in [(3, 32), (37, 70), (130, 300)] {
                let numbers = random(&[o * i], 5).to_vec1::<f32>()?;
                let scale_inv = (0..o.div_ceil(FP8_BLOCK) * i.div_ceil(FP8_BLOCK)).map(|at| 0.5 + at as f32).collect();
                let codes = (0..o * i).map(|at| (at * 37 % 127) as u8).collect::<Vec<_>>();
                for matrix in [
                    StoredMatrix::rounded(&numbers, (o, i), Format::Bf16)?,
                    StoredMatrix::rounded(&numbers, (o, i), Format::F16)?,
                    StoredMatrix::quantised(&numbers, (o, i), Bits::Four)?,
                    StoredMatrix::quantised(&numbers, (o, i), Bits::Eight)?,
                    StoredMatrix::new(Arc::new(codes), 0..o * i, Format::Fp8 { scale_inv }, (o, i))?,
                ] {
                    let there = matrix.on(device)?;
                    assert_eq!((there.dtype().size_in_bytes(), there.dims()), (2, &[o, i][..]));
                    let expected = Tensor::from_vec(matrix.to_vec(), (o, i), &Device::Cpu)?.to_dtype(there.dtype())?;
                    let wide = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32);
                    close("numbers", &wide(&there)?, &wide(&expected)?, 0.0)?;
                }
            }
            Ok(())
        })
    }
}
