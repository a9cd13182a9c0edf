//! Weights of which not all fit into a device's memory: what does not lies in the host's, and comes over to be multiplied.
//!
//! Every token needs the matrices outside the experts, in turn, so that of those the first ones stay on the device and the
//! others come for each product: to keep the last ones used would be to have each leave before it is needed again. Experts
//! are needed as the router picks them, and of them those picked last are kept.

use crate::StoredMatrix;
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
    names: AtomicU64,
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
        Arc::new(Self { device: device.clone(), free, experts, names: 0.into(), moved: 0.into() })
    }

    /// Bytes that came over for products, as numbers of 16 bits.
    pub fn bytes_moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// An expert of the model.
    pub fn expert(self: &Arc<Self>, matrix: StoredMatrix) -> StoredMatrix {
        let expert = Some(self.names.fetch_add(1, Relaxed));
        matrix.with_guest(Guest { offload: self.clone(), expert })
    }

    /// Any other matrix of it.
    pub fn other(self: &Arc<Self>, matrix: StoredMatrix) -> StoredMatrix {
        let stays = |free: usize| free.checked_sub(matrix.bytes_on_device());
        match self.free.fetch_update(Relaxed, Relaxed, stays) {
            Ok(_) => matrix,
            Err(_) => matrix.with_guest(Guest { offload: self.clone(), expert: None }),
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
        let bytes = matrix.bytes_on_device();
        let come = || {
            moved.fetch_add(bytes as u64, Relaxed);
            matrix.on(device)
        };
        let Some(expert) = self.expert else { return come() };
        let mut experts = experts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = experts.get(&expert) {
            return Ok(kept.clone());
        }
        experts.make_room(bytes);
        let come = come()?;
        experts.put(expert, bytes, come.clone());
        Ok(come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantised::Bits;
    use crate::testing::{close, constant, random};
    use crate::{Format, Weight, portably};

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

    #[test]
    fn weights_that_come_over_multiply_like_those_that_stay() -> Result<()> {
        let (o, i) = (16, 64);
        let bytes = 2 * o * i;
        let (plain, x) = (matrices(4, (o, i))?, constant(&[7, i], 9));
        let offload = Offload::new(&Device::Cpu, bytes, 2 * bytes);
        let others: Vec<_> = plain.iter().cloned().map(|matrix| offload.other(matrix)).collect();
        assert_eq!(others.iter().map(StoredMatrix::is_guest).collect::<Vec<_>>(), [false, true, true, true]);
        let experts = plain.iter().cloned().map(|matrix| offload.expert(matrix)).collect::<Vec<_>>();
        let [plain, others, experts] = [plain, others, experts].map(|parts| Weight::Stored(parts.into()));
        portably(|| {
            let expected = plain.linear(&x)?;
            close("others", others.linear(&x)?.tensor(), expected.tensor(), 0.0)?;
            assert_eq!(offload.bytes_moved(), 3 * bytes as u64);
            // Two experts have room: 0 and 3 come, stay, and leave when 1 and 2 come.
            let grouped = |weight: &Weight, offsets: [usize; 5]| weight.grouped_linear(&x, &Arc::from(offsets));
            for (offsets, moved) in
                [([0, 4, 4, 4, 7], 5), ([0, 1, 1, 1, 7], 5), ([0, 0, 3, 7, 7], 7), ([0, 7, 7, 7, 7], 8)]
            {
                let [found, expected] = [&experts, &plain].map(|weight| grouped(weight, offsets));
                close("experts", found?.tensor(), expected?.tensor(), 0.0)?;
                assert_eq!(offload.bytes_moved(), moved * bytes as u64, "{offsets:?}");
            }
            assert!(grouped(&experts, [0, 0, 0, 0, 0]).is_err());
            Ok(())
        })
    }

    #[test]
    fn numbers_come_over_in_16_bits() -> Result<()> {
        let numbers = random(&[3, 32], 5);
        let values = numbers.flatten_all()?.to_vec1::<f32>()?;
        for (format, tolerance) in [(Format::Bf16, 4e-3), (Format::F16, 5e-4)] {
            let matrix = StoredMatrix::rounded(&values, (3, 32), format)?;
            let there = matrix.on(&Device::Cpu)?;
            assert_eq!((there.dtype().size_in_bytes(), there.dims()), (2, &[3, 32][..]));
            let wide = there.to_dtype(candle_core::DType::F32)?;
            close("as stored", &wide, &Tensor::from_vec(matrix.to_vec(), (3, 32), &Device::Cpu)?, 0.0)?;
            close("rounded", &wide, &numbers, tolerance)?;
        }
        Ok(())
    }
}
