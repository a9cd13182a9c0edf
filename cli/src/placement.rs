//! Where a model's weights lie while it runs: in the memory of what computes, or partly on disk or in the host's memory.

use anyhow::Result;
use candle_core::Device;
use retort_kernels::Offload;
use retort_kernels::device::{Memory, memory as memory_of};
use retort_model::Error;
use retort_model::checkpoint::{Checkpoint, DeviceBytes, ExpertMemory, cache_share, expert_budget};
use std::sync::Arc;

/// What a run needs beside weights and caches: the program itself and what a batch passes from layer to layer.
const WORKING_BYTES: usize = 192 << 20;
/// The same on a GPU, where long prompts pass in one batch and libraries have room of their own.
const GPU_WORKING_BYTES: usize = 1 << 30;

/// Where to: a device, and how much of its memory may be taken.
pub struct Placement<'a> {
    pub device: &'a Device,
    /// What there is, where nothing is said.
    pub limit: Option<usize>,
}

/// What tells how many bytes of weights came to be multiplied that were not there.
pub enum Streamed {
    FromDisk(Arc<ExpertMemory>),
    ToGpu(Arc<Offload>),
}

impl Streamed {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::FromDisk(experts) => experts.bytes_read(),
            Self::ToGpu(offload) => offload.bytes_moved(),
        }
    }
}

impl Placement<'_> {
    /// The most memory for caches; a long context gets fewer slots.
    pub fn cache_bytes(&self) -> usize {
        cache_share(self.limit.unwrap_or(usize::MAX))
    }

    /// The weights as they lie there, and what counts those that do not.
    pub fn of(&self, checkpoint: Checkpoint) -> Result<(Checkpoint, Option<Streamed>), Error> {
        match (self.device.is_cpu(), self.limit) {
            (true, None) => Ok((checkpoint, None)),
            (true, Some(limit)) => self.beside_disk(checkpoint, limit),
            (false, _) => self.beside_host(checkpoint),
        }
    }

    /// Experts that do not fit stay on disk.
    fn beside_disk(&self, checkpoint: Checkpoint, limit: usize) -> Result<(Checkpoint, Option<Streamed>), Error> {
        let (experts, largest) = checkpoint.bytes_of(is_expert);
        // These are widened: `kv_b_proj` twice, for the expanded and the absorbed form.
        let (widened, _) = checkpoint.bytes_of(|name| is_absorbed(name) || is_router(name));
        let everything_else = checkpoint.bytes() - experts + 8 * widened + WORKING_BYTES;
        if everything_else.saturating_add(experts).saturating_add(self.cache_bytes()) <= limit {
            return Ok((checkpoint.in_stored_form(), None));
        }
        let budget = ExpertMemory::new(expert_budget(limit, everything_else, 3 * largest)?);
        Ok((checkpoint.with_experts_on_disk(budget.clone()), Some(Streamed::FromDisk(budget))))
    }

    /// Weights that do not fit stay in the host's memory.
    fn beside_host(&self, checkpoint: Checkpoint) -> Result<(Checkpoint, Option<Streamed>), Error> {
        let Memory { used, total } = memory_of(self.device).unwrap_or_default();
        let limit = self.limit.unwrap_or(total - used);
        let taken = self.cache_bytes() + GPU_WORKING_BYTES;
        let placed = bytes_on_device(&checkpoint).offload(limit.saturating_sub(taken));
        let (fixed, experts) = match placed {
            Ok(None) => return Ok((checkpoint, None)),
            Ok(Some(room)) => room,
            Err(needed) => return Err(Error::DeviceRoom { limit, needed: needed + taken }),
        };
        let offload = Offload::new(self.device, fixed, experts);
        Ok((checkpoint.with_offload(offload.clone()), Some(Streamed::ToGpu(offload))))
    }
}

fn is_expert(name: &str) -> bool {
    name.contains(".mlp.experts.")
}

fn is_router(name: &str) -> bool {
    name.contains(".mlp.gate.")
}

/// Whether decoding has the matrix a second time, taken apart.
fn is_absorbed(name: &str) -> bool {
    name.contains(".kv_b_proj.")
}

/// What the weights take on a GPU: matrices in 16 bits, unless they are f32 in the file.
fn bytes_on_device(checkpoint: &Checkpoint) -> DeviceBytes {
    let mut bytes = DeviceBytes::default();
    for (name, shape) in checkpoint.weights() {
        let numbers: usize = shape.iter().product();
        if is_absorbed(name) {
            bytes.always += 2 * numbers;
        }
        if shape.len() < 2 || is_router(name) || checkpoint.dtype(name).as_deref() == Some("F32") {
            bytes.always += 4 * numbers;
        } else if is_expert(name) {
            bytes.experts += 2 * numbers;
            // Gate, up and down.
            bytes.one_expert = bytes.one_expert.max(3 * 2 * numbers);
        } else {
            bytes.matrices += 2 * numbers;
            bytes.largest = bytes.largest.max(2 * numbers);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_teacher::embedded;

    #[test]
    fn all_of_the_embedded_teacher_is_counted() {
        let checkpoint = Checkpoint::embedded(embedded::WEIGHTS, "embedded teacher").expect("sound");
        let bytes = bytes_on_device(&checkpoint);
        let parameters: usize = checkpoint.weights().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let (d, f) = (192, 128);
        assert_eq!(bytes.one_expert, 3 * 2 * d * f);
        assert_eq!(bytes.experts, 16 * bytes.one_expert * 6);
        // Seven layers have a `kv_b_proj`; what is always there in f32 is next to nothing beside the matrices.
        let absorbed = 2 * 7 * 6 * 64 * 64;
        let counted = bytes.matrices + bytes.experts + bytes.always - absorbed;
        assert!((2 * parameters..2 * parameters + parameters / 50).contains(&counted), "{bytes:?}, {parameters}");
    }
}
