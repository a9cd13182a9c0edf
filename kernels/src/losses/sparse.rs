//! Some outcomes of every row with the teacher's log-probabilities: what a dataset captures and an endpoint gives.

use candle_core::{Result, bail};

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
