//! Some outcomes of every row with the teacher's log-probabilities: what a dataset captures and an endpoint gives.

use candle_core::{Device, Result, Tensor, bail};

/// Row j holds the entries `offsets[j]..offsets[j + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    pub offsets: Vec<usize>,
    pub ids: Vec<u32>,
    /// Of the teacher's whole distribution, normalised over its whole vocabulary.
    pub log_probs: Vec<f32>,
}

impl Default for SparseRows {
    fn default() -> Self {
        Self { offsets: vec![0], ids: vec![], log_probs: vec![] }
    }
}

impl SparseRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a row; none of `ids` may come twice.
    pub fn push(&mut self, ids: &[u32], log_probs: &[f32]) {
        self.ids.extend_from_slice(ids);
        self.log_probs.extend_from_slice(log_probs);
        self.offsets.push(self.ids.len());
    }

    /// The outcomes of a row and their log-probabilities.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let span = self.offsets[row]..self.offsets[row + 1];
        (&self.ids[span.clone()], &self.log_probs[span])
    }

    /// Refuses rows that `n` rows of `v` logits have no place for.
    pub(crate) fn check(&self, n: usize, v: usize) -> Result<()> {
        let rising = self.offsets.is_sorted() && self.offsets.last() == Some(&self.ids.len());
        if self.offsets.len() != n + 1 || !rising || self.ids.len() != self.log_probs.len() {
            let (rows, ids, log_probs) = (self.offsets.len(), self.ids.len(), self.log_probs.len());
            bail!("sparse targets: {rows} offsets, {ids} ids and {log_probs} log-probabilities for {n} rows");
        }
        if let Some(id) = self.ids.iter().find(|&&id| id as usize >= v) {
            bail!("sparse targets: id {id} with a vocabulary of {v}");
        }
        let mut sorted = Vec::new();
        for row in 0..n {
            sorted.clear();
            sorted.extend_from_slice(self.row(row).0);
            sorted.sort_unstable();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                bail!("sparse targets: id {} twice in row {row}", pair[0]);
            }
        }
        Ok(())
    }
}

/// Some rows side by side, [k, width]: shorter ones are filled up with entries that are none.
pub(super) struct Listed<'a> {
    pub width: usize,
    /// 0 where there is no entry.
    pub ids: Vec<u32>,
    rows: Vec<&'a [f32]>,
}

impl<'a> Listed<'a> {
    /// The rows `at` of `all`.
    pub(super) fn new(all: &'a SparseRows, at: &[usize]) -> Self {
        let width = at.iter().map(|&row| all.row(row).0.len()).max().unwrap_or(0).max(1);
        let mut ids = vec![0; at.len() * width];
        for (places, &row) in ids.chunks_mut(width).zip(at) {
            let own = all.row(row).0;
            places[..own.len()].copy_from_slice(own);
        }
        Self { width, ids, rows: at.iter().map(|&row| all.row(row).1).collect() }
    }

    pub(super) fn ids(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(&self.ids, (self.rows.len(), self.width), device)
    }

    /// What the teacher gives to each; 0 where there is no entry.
    pub(super) fn log_probs(&self) -> Vec<f32> {
        self.filled(|log_prob| log_prob)
    }

    /// 1 for each entry, else 0.
    pub(super) fn is_entry(&self) -> Vec<f32> {
        self.filled(|_| 1.0)
    }

    fn filled(&self, f: impl Fn(f32) -> f32) -> Vec<f32> {
        let mut all = vec![0f32; self.ids.len()];
        for (places, row) in all.chunks_mut(self.width).zip(&self.rows) {
            places.iter_mut().zip(*row).for_each(|(place, &log_prob)| *place = f(log_prob));
        }
        all
    }
}
