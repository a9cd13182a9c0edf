//! The sign-flip test of a paired difference: were the models equal, each question's difference could as well have come
//! with the other sign.
//!
//! p = (1 + flips with |mean| >= the observed) / (1 + flips), over flips drawn from a seed, or the exact share over all 2^m
//! of them where the m questions that differ are few. Source: R. A. Fisher, The Design of Experiments (1935), section 21;
//! the added 1: B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010).

use super::Bootstrap;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// With so many differences all flips are looked at.
const EXACT: usize = 13;

/// The two-sided p-value that the mean of `differences` is 0; 1 where none differs.
///
/// Flip r reads ChaCha8 stream r of the key made from the seed: threads change nothing.
pub fn sign_flip_p(differences: &[f64], draws: &Bootstrap) -> f64 {
    let moved: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = moved.iter().sum::<f64>().abs();
    // Sums of fractions in another order differ in their last digits.
    let size: f64 = moved.iter().map(|d| d.abs()).sum();
    let reaches = |sum: f64| sum.abs() >= observed - 1e-9 * size;
    if moved.len() <= EXACT {
        let flips = 1u32 << moved.len();
        let flipped = |flip: u32| moved.iter().enumerate().map(move |(i, d)| if flip >> i & 1 == 1 { -d } else { *d });
        let reaching = (0..flips).filter(|&flip| reaches(flipped(flip).sum())).count();
        return reaching as f64 / f64::from(flips);
    }
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&draws.seed.to_le_bytes());
    // Another use of the same seed than resampling.
    key[31] = 1;
    let key = ChaCha8Rng::from_seed(key);
    let reaching = (0..draws.replicates).into_par_iter().filter(|&flip| {
        let mut stream = key.clone();
        stream.set_stream(flip);
        let mut sum = 0.0;
        for block in moved.chunks(64) {
            let mut signs = stream.next_u64();
            for d in block {
                sum += if signs & 1 == 1 { -d } else { *d };
                signs >>= 1;
            }
        }
        reaches(sum)
    });
    (1 + reaching.count()) as f64 / (1 + draws.replicates) as f64
}
