//! Counter-based randomness: every exercise has its own stream, named by what it is.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The random choices of one exercise.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of exercise `index` of the cell called `cell` under `seed`.
    pub(super) fn new(seed: u64, cell: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("retort gym exercise v1");
        hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes()).update(cell.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Any 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..n` (0 when `n` is 0); the bias of multiply-and-shift is below n / 2^64.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as usize) as i64
    }

    /// True `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Puts `items` in a random order (Fisher-Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
