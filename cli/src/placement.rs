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
/// The most of the same on a GPU, where long prompts pass in one batch and libraries have room of their own.
const GPU_WORKING_BYTES: usize = 1 << 30;

/// Weights as they lie where they were placed.
pub struct Placed {
    pub checkpoint: Checkpoint,
    /// What counts those that come to be multiplied.
    pub streamed: Option<Streamed>,
    /// The most memory for caches; a long context gets fewer slots.
    pub cache_bytes: usize,
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

impl Placed {
    /// All of it is there.
    pub fn whole(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, streamed: None, cache_bytes: cache_share(usize::MAX) }
    }

    /// In memory of `limit` bytes; experts that do not fit stay on disk.
    pub fn within(limit: usize, checkpoint: Checkpoint) -> Result<Self, Error> {
        let cache_bytes = cache_share(limit);
        let (experts, largest) = checkpoint.bytes_of(|name| name.contains(".mlp.experts."));
        // These are widened: `kv_b_proj` twice, for the expanded and the absorbed form.
        let (widened, _) = checkpoint.bytes_of(|name| name.contains(".kv_b_proj.") || name.contains(".mlp.gate."));
        let everything_else = checkpoint.bytes() - experts + 8 * widened + WORKING_BYTES;
        if everything_else.saturating_add(experts).saturating_add(cache_bytes) <= limit {
            return Ok(Self { checkpoint: checkpoint.in_stored_form(), streamed: None, cache_bytes });
        }
        let budget = ExpertMemory::new(expert_budget(limit, everything_else, 3 * largest)?);
        let checkpoint = checkpoint.with_experts_on_disk(budget.clone());
        Ok(Self { checkpoint, streamed: Some(Streamed::FromDisk(budget)), cache_bytes })
    }

    /// On a GPU, in no more than `limit` bytes of its memory; weights that do not fit stay in the host's.
    pub fn on_gpu(
        device: &Device,
        limit: Option<usize>,
        checkpoint: Checkpoint,
        bytes: DeviceBytes,
    ) -> Result<Self, Error> {
        let Some(Memory { used, total }) = memory_of(device) else { return Ok(Self::whole(checkpoint)) };
        let limit = limit.unwrap_or(usize::MAX).min(total - used);
        let (cache_bytes, room) = share(limit);
        let offload = match bytes.offload(room) {
            Ok(None) => return Ok(Self { checkpoint, streamed: None, cache_bytes }),
            Ok(Some((fixed, experts))) => Offload::new(device, fixed, experts),
            Err(needed) => return Err(Error::DeviceRoom { limit, needed: needed + limit - room }),
        };
        let checkpoint = checkpoint.with_offload(offload.clone());
        Ok(Self { checkpoint, streamed: Some(Streamed::ToGpu(offload)), cache_bytes })
    }
}

/// Of a GPU's memory the share of caches, and what is left for weights.
fn share(limit: usize) -> (usize, usize) {
    let caches = cache_share(limit);
    (caches, limit - caches - GPU_WORKING_BYTES.min(limit / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_gpu_has_room_for_a_small_model() {
        let (caches, room) = share(1 << 30);
        assert_eq!((caches >> 20, room >> 20), (128, 640));
        let (caches, room) = share(80 << 30);
        assert_eq!((caches >> 30, room >> 30), (2, 77));
    }
}
