//! The paired bootstrap over questions.
//!
//! A replicate draws n of the n questions with replacement and takes the mean of every column over the draw; all columns
//! of a question travel together, so that models stay paired. An interval is the 2.5% to the 97.5% quantile of a statistic
//! of those means. Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
//!
//! Replicate r reads ChaCha8 stream r of the key made from the seed, and sums in the order of its draws: the result
//! depends on seed and data alone, not on the number of threads.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How often and from which seed to resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    pub replicates: u64,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { replicates: 10_000, seed: 0 }
    }
}

impl Bootstrap {
    /// The column means of every replicate, in the order of the replicates; empty for no rows.
    pub fn means<const COLUMNS: usize>(&self, rows: &[[f64; COLUMNS]]) -> Vec<[f64; COLUMNS]> {
        if rows.is_empty() {
            return Vec::new();
        }
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let key = ChaCha8Rng::from_seed(key);
        (0..self.replicates)
            .into_par_iter()
            .map(|replicate| {
                let mut stream = key.clone();
                stream.set_stream(replicate);
                resampled_means(rows, &mut stream)
            })
            .collect()
    }
}

fn resampled_means<const COLUMNS: usize>(rows: &[[f64; COLUMNS]], stream: &mut ChaCha8Rng) -> [f64; COLUMNS] {
    let n = rows.len() as u64;
    let mut sums = [0.0; COLUMNS];
    let mut left = rows.len();
    // Random words are fetched by the block: word by word, the generator's bookkeeping costs more than its cipher.
    let mut block = [0u8; 1024];
    while left > 0 {
        let bytes = &mut block[..left.min(256) * 4];
        stream.fill_bytes(bytes);
        for word in bytes.as_chunks::<4>().0 {
            // The high half of a 32 x 32 bit product maps a draw to an index; its bias is below n / 2^32.
            let index = (u64::from(u32::from_le_bytes(*word)) * n) >> 32;
            for (sum, value) in sums.iter_mut().zip(&rows[index as usize]) {
                *sum += value;
            }
        }
        left -= bytes.len() / 4;
    }
    sums.map(|sum| sum / n as f64)
}

/// The `q` quantile of ascending, non-empty `sorted`, interpolated linearly between order statistics (numpy's default).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let share = position - below as f64;
    // Without this an infinite neighbour of weight 0 would turn the result into NaN.
    if share == 0.0 { sorted[below] } else { sorted[below] + share * (sorted[above] - sorted[below]) }
}
