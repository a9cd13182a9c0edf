//! Sequences packed end to end: the one shape of input that training, prefill and decoding share.

use crate::cache::Cache;
use retort_kernels::{CacheRow, CacheRows, PAGE, write_cache};
use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

/// Token rows of one or more sequences, packed without padding.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids of all sequences, one after the other; n in total.
    pub tokens: Vec<u32>,
    /// The position of each token within its sequence.
    pub positions: Vec<u32>,
    /// Where sequences begin and end in `tokens`: from 0 to n.
    pub offsets: Arc<[usize]>,
    /// The cache slot of each sequence; empty without a cache.
    pub slots: Vec<usize>,
}

impl Batch {
    /// Whole sequences from position 0, without a cache.
    pub fn packed<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let mut batch = Self { tokens: vec![], positions: vec![], offsets: Arc::new([]), slots: vec![] };
        let mut offsets = vec![0];
        for sequence in sequences {
            batch.push(sequence.as_ref(), 0);
            offsets.push(batch.tokens.len());
        }
        batch.offsets = offsets.into();
        batch
    }

    /// Continuations: for each sequence its slot, the tokens already cached there, and the new tokens.
    pub fn cached<'a>(sequences: impl IntoIterator<Item = (usize, usize, &'a [u32])>) -> Self {
        let mut batch = Self { tokens: vec![], positions: vec![], offsets: Arc::new([]), slots: vec![] };
        let mut offsets = vec![0];
        for (slot, past, tokens) in sequences {
            batch.push(tokens, past);
            batch.slots.push(slot);
            offsets.push(batch.tokens.len());
        }
        batch.offsets = offsets.into();
        batch
    }

    fn push(&mut self, tokens: &[u32], past: usize) {
        self.positions.extend((0..tokens.len()).map(|i| (past + i) as u32));
        self.tokens.extend_from_slice(tokens);
    }

    /// Number of token rows, n.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The last row of each sequence.
    pub fn last_rows(&self) -> Vec<u32> {
        self.offsets.windows(2).map(|span| span[1] as u32 - 1).collect()
    }

    /// For each row the token that follows it `ahead` places later in its sequence, if there is one.
    pub fn following(&self, ahead: usize) -> Vec<Option<u32>> {
        let mut following = vec![None; self.len()];
        for span in self.offsets.windows(2) {
            let tokens = &self.tokens[span[0]..span[1]];
            let later = tokens.iter().skip(ahead);
            following[span[0]..span[1]].iter_mut().zip(later).for_each(|(place, &token)| *place = Some(token));
        }
        following
    }
}

/// A batch's way into the cache: where its rows are written and what they may read.
pub struct CacheView<'a> {
    cache: &'a Cache,
    /// The entry of each row, counted through all pages.
    places: Arc<[usize]>,
    rows: CacheRows,
    /// Every sequence starts here, so the batch holds all there is to attend to.
    fresh: bool,
}

impl<'a> CacheView<'a> {
    /// The slots of `batch` must have room for its rows.
    pub fn new(cache: &'a Cache, batch: &Batch) -> Result<Self> {
        let mut places = Vec::with_capacity(batch.len());
        let mut rows = Vec::with_capacity(batch.len());
        for (span, &slot) in batch.offsets.windows(2).zip(&batch.slots) {
            let pages = cache.pages(slot);
            for &position in &batch.positions[span[0]..span[1]] {
                let position = position as usize;
                let Some(&page) = pages.get(position / PAGE) else {
                    bail!("slot {slot} of the cache has no room for position {position}");
                };
                places.push(page as usize * PAGE + position % PAGE);
                rows.push(CacheRow { pages: pages.clone(), len: position + 1 });
            }
        }
        let fresh = batch.offsets.windows(2).all(|span| span[0] == span[1] || batch.positions[span[0]] == 0);
        Ok(Self { cache, places: places.into(), rows: CacheRows::new(rows), fresh })
    }

    /// Whether nothing was cached before this batch.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Stores the batch's rows [n, g, c] as tensor `index` of `layer` and returns the whole cache tensor.
    pub fn store(&self, layer: usize, index: usize, rows: &Tensor) -> Result<&'a Tensor> {
        let tensor = self.cache.tensor(layer, index);
        write_cache(tensor, rows, &self.places)?;
        Ok(tensor)
    }

    /// What each row may read.
    pub fn rows(&self) -> &CacheRows {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_positions_and_borders() {
        let batch = Batch::packed([vec![5, 6, 7], vec![8]]);
        assert_eq!(batch.positions, [0, 1, 2, 0]);
        assert_eq!(&*batch.offsets, [0, 3, 4]);
        assert_eq!(batch.last_rows(), [2, 3]);
        assert_eq!(batch.following(1), [Some(6), Some(7), None, None]);
        assert_eq!(batch.following(2), [Some(7), None, None, None]);
    }
}
