//! Memory of past tokens: one tensor [pages, PAGE, heads, width] for each thing a layer keeps.
//!
//! The model says what it keeps (keys and values, or one latent); whoever runs it owns the cache and hands out slots. A
//! slot is a list of pages, which are taken as its sequence grows; sequences that begin alike share the pages of what they
//! have in common.

use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;
use half::vec::HalfBitsVecExt;
use retort_kernels::{PAGE, Weight, copy_page};
use std::sync::Arc;

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

/// How the numbers of a cache are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// What is read back is what was computed.
    #[default]
    F32,
    /// Half the memory, and half of what is read for each token.
    Bf16,
}

impl Precision {
    /// What fits a model with this head: bf16 where its weights are rounded themselves.
    pub fn beside(head: &Weight) -> Self {
        match head {
            Weight::Plain(value) if value.tensor().dtype() == DType::F32 => Self::F32,
            Weight::Plain(_) | Weight::Stored(_) => Self::Bf16,
        }
    }

    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Zeros that take memory only once they are written over, as far as the system gives it out so.
    fn zeros(self, shape: (usize, usize, usize, usize), device: &Device) -> Result<Tensor> {
        let count = shape.0 * shape.1 * shape.2 * shape.3;
        match self {
            Self::F32 => Tensor::zeros(shape, DType::F32, device),
            // A vector of half's zeros would be written number by number.
            Self::Bf16 if device.is_cpu() => {
                Tensor::from_vec(vec![0u16; count].reinterpret_into::<bf16>(), shape, device)
            }
            Self::Bf16 => Tensor::zeros(shape, DType::BF16, device),
        }
    }
}

/// Room for sequences.
pub struct Cache {
    layers: Vec<Vec<Tensor>>,
    /// The pages of each slot.
    slots: Vec<Arc<[u32]>>,
    /// How many slots hold each page.
    holders: Vec<u32>,
    free: Vec<u32>,
}

impl Cache {
    /// Room for `slots` sequences of up to `capacity` tokens, which is there from the start.
    pub fn new(spec: &CacheSpec, precision: Precision, slots: usize, capacity: usize, device: &Device) -> Result<Self> {
        let mut cache = Self::paged(spec, precision, slots, slots * capacity.div_ceil(PAGE), device)?;
        (0..slots).try_for_each(|slot| cache.grow(slot, capacity))?;
        Ok(cache)
    }

    /// `pages` pages, which up to `slots` sequences share out among themselves.
    pub fn paged(spec: &CacheSpec, precision: Precision, slots: usize, pages: usize, device: &Device) -> Result<Self> {
        let layer = || {
            let shape = |&(heads, width): &(usize, usize)| (pages, PAGE, heads, width);
            spec.tensors.iter().map(|t| precision.zeros(shape(t), device)).collect()
        };
        Ok(Self {
            layers: (0..spec.layers).map(|_| layer()).collect::<Result<_>>()?,
            slots: (0..slots).map(|_| Arc::default()).collect(),
            holders: vec![0; pages],
            free: (0..pages as u32).rev().collect(),
        })
    }

    /// Pages that no slot holds.
    pub fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// The pages of a slot, in order.
    pub fn pages(&self, slot: usize) -> &Arc<[u32]> {
        &self.slots[slot]
    }

    /// How many more pages `slot` needs to hold `len` tokens.
    pub fn missing(&self, slot: usize, len: usize) -> usize {
        len.div_ceil(PAGE).saturating_sub(self.slots[slot].len())
    }

    /// Gives `slot` room for `len` tokens in all.
    pub fn grow(&mut self, slot: usize, len: usize) -> Result<()> {
        let missing = self.missing(slot, len);
        if missing == 0 {
            return Ok(());
        }
        let Some(rest) = self.free.len().checked_sub(missing) else {
            bail!("a cache of {} pages has no {missing} left for slot {slot}", self.holders.len());
        };
        let taken = self.free.split_off(rest);
        taken.iter().for_each(|&page| self.holders[page as usize] = 1);
        self.slots[slot] = self.slots[slot].iter().copied().chain(taken).collect();
        Ok(())
    }

    /// Leaves `slot` the pages of its first `len` tokens.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        let kept = len.div_ceil(PAGE).min(self.slots[slot].len());
        let pages = std::mem::take(&mut self.slots[slot]);
        self.slots[slot] = pages[..kept].into();
        for &page in &pages[kept..] {
            let holders = &mut self.holders[page as usize];
            *holders -= 1;
            if *holders == 0 {
                self.free.push(page);
            }
        }
    }

    /// Lets slot `to`, which is empty, begin with the first `len` tokens of slot `from`: full pages in common, and a copy
    /// of the one that both will write on.
    pub fn share(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        let (full, rest) = (len / PAGE, len % PAGE);
        let pages = self.slots[from].clone();
        if pages.len() < len.div_ceil(PAGE) || !self.slots[to].is_empty() {
            bail!("slot {to} cannot begin with {len} tokens of slot {from}");
        }
        pages[..full].iter().for_each(|&page| self.holders[page as usize] += 1);
        self.slots[to] = pages[..full].into();
        if rest > 0 {
            self.grow(to, len)?;
            let copy = self.slots[to][full] as usize;
            self.layers.iter().flatten().try_for_each(|tensor| copy_page(tensor, pages[full] as usize, copy))?;
        }
        Ok(())
    }

    pub fn tensor(&self, layer: usize, index: usize) -> &Tensor {
        &self.layers[layer][index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_shared_and_come_back() -> Result<()> {
        let spec = CacheSpec { layers: 1, tensors: vec![(1, 2)] };
        let mut cache = Cache::paged(&spec, Precision::F32, 3, 6, &Device::Cpu)?;
        cache.grow(0, 2 * PAGE + 1)?;
        assert_eq!((cache.pages(0).len(), cache.free_pages(), cache.missing(0, 3 * PAGE + 1)), (3, 3, 1));
        cache.share(0, 1, 2 * PAGE + 1)?;
        // Two pages in common, one of its own.
        assert_eq!((&cache.pages(1)[..2], cache.free_pages()), (&cache.pages(0)[..2], 2));
        assert_ne!(cache.pages(1)[2], cache.pages(0)[2]);
        cache.share(1, 2, 2 * PAGE)?;
        assert_eq!(cache.free_pages(), 2);
        cache.truncate(0, 0);
        assert_eq!((cache.pages(0).len(), cache.free_pages()), (0, 3));
        cache.truncate(1, 1);
        assert_eq!((cache.pages(1).len(), cache.free_pages()), (1, 4));
        assert!(cache.grow(0, 5 * PAGE).is_err() && cache.share(0, 2, 1).is_err());
        cache.truncate(2, 0);
        assert_eq!(cache.free_pages(), 5);
        Ok(())
    }
}
