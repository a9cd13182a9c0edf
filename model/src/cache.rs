//! Memory of past tokens: one tensor [slots, capacity, heads, width] for each thing a layer keeps.
//!
//! The model says what it keeps (keys and values, or one latent); whoever runs it owns the cache and hands out slots.

use candle_core::{DType, Device, Result, Tensor};
use retort_kernels::copy_cache;

/// What a model keeps of one token in every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSpec {
    pub layers: usize,
    /// (heads, width) of each tensor of a layer.
    pub tensors: Vec<(usize, usize)>,
}

impl CacheSpec {
    /// Numbers kept per token over all layers.
    pub fn elements_per_token(&self) -> usize {
        let layer = self.tensors.iter().fold(0, |sum: usize, (h, width)| sum.saturating_add(h.saturating_mul(*width)));
        self.layers.saturating_mul(layer)
    }
}

/// Room for `slots` sequences of up to `capacity` tokens.
pub struct Cache {
    layers: Vec<Vec<Tensor>>,
    slots: usize,
    capacity: usize,
}

impl Cache {
    pub fn new(spec: &CacheSpec, slots: usize, capacity: usize, device: &Device) -> Result<Self> {
        let layer = || {
            let shape = |&(heads, width): &(usize, usize)| (slots, capacity, heads, width);
            spec.tensors.iter().map(|t| Tensor::zeros(shape(t), DType::F32, device)).collect()
        };
        Ok(Self { layers: (0..spec.layers).map(|_| layer()).collect::<Result<_>>()?, slots, capacity })
    }

    /// Bytes that one number takes.
    pub const fn bytes_per_element() -> usize {
        4
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The most tokens a slot holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies the first `len` tokens of slot `from` to slot `to`.
    pub(crate) fn copy(&self, from: usize, to: usize, len: usize) -> Result<()> {
        self.layers.iter().flatten().try_for_each(|tensor| copy_cache(tensor, from, to, len))
    }

    pub(crate) fn tensor(&self, layer: usize, index: usize) -> &Tensor {
        &self.layers[layer][index]
    }
}
