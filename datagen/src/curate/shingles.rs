//! Sets of shingles, their exact similarity, and MinHash signatures that find similar ones without comparing all.
//!
//! Broder, "On the resemblance and containment of documents" (1997); banding after Leskovec, Rajaraman and Ullman,
//! "Mining of Massive Datasets", chapter 3. A shingle is some words in a row; a text that has fewer is one shingle.

use super::recipe::Near;
use super::words::{gram, mix};
use std::cmp::Ordering;

/// The shingles of a text, sorted, each once; empty for a text without words.
pub(super) fn shingles(words: &[u64], n: usize) -> Vec<u64> {
    let mut shingles: Vec<u64> = match words.len() {
        0 => Vec::new(),
        short if short < n => vec![gram(words)],
        _ => words.windows(n).map(gram).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// |a ∩ b| / |a ∪ b| of two sorted sets; 0 where both are empty.
pub(super) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut at, mut other, mut shared) = (0, 0, 0usize);
    while let (Some(x), Some(y)) = (a.get(at), b.get(other)) {
        match x.cmp(y) {
            Ordering::Less => at += 1,
            Ordering::Greater => other += 1,
            Ordering::Equal => (at, other, shared) = (at + 1, other + 1, shared + 1),
        }
    }
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// Makes signatures.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) near: Near,
    /// A mask and an odd factor for every hash function.
    functions: Vec<(u64, u64)>,
}

impl Sketch {
    pub(super) fn new(near: Near, seed: u64) -> Self {
        let count = near.bands.saturating_mul(near.rows) as u64;
        let number =
            |place: u64| mix(mix(seed ^ 0x6d69_6e68_6173_6821).wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let functions = (0..count).map(|place| (number(2 * place + 1), number(2 * place + 2) | 1)).collect();
        Self { near, functions }
    }

    /// One number for each band: two texts are compared where one of them agrees. They have only 32 bits, since what
    /// agrees by chance is compared and found to differ. None for a text without words.
    pub(super) fn bands(&self, words: &[u64]) -> Vec<u32> {
        let shingles = shingles(words, self.near.words);
        if shingles.is_empty() {
            return Vec::new();
        }
        let mut least = vec![u64::MAX; self.functions.len()];
        for shingle in shingles {
            for (least, (mask, factor)) in least.iter_mut().zip(&self.functions) {
                *least = (*least).min((shingle ^ mask).wrapping_mul(*factor));
            }
        }
        least.chunks(self.near.rows).map(|band| (gram(band) >> 32) as u32).collect()
    }
}
