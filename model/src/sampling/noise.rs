//! Counter-based randomness: every number is a function of its key and place, whoever asks first.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Seeds the randomness of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKey([u8; 32]);

/// Streams from here on are for other numbers than the one that draws a token.
const TARGETS: u64 = 1 << 63;

impl NoiseKey {
    /// The key of sample `sample` of the problem called `problem` in a run with seed `seed`.
    pub fn new(seed: u64, problem: &str, sample: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("retort sampling noise v1");
        hasher.update(&seed.to_le_bytes()).update(&sample.to_le_bytes()).update(problem.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// A uniform draw from [0, 1) for the token at `position` of the completion.
    pub fn uniform(&self, position: u64) -> f64 {
        self.stream(position, 1)[0]
    }

    /// `count` more of them for the same position, independent of that one.
    pub fn uniforms(&self, position: u64, count: usize) -> Vec<f64> {
        self.stream(TARGETS | position, count)
    }

    fn stream(&self, stream: u64, count: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(stream);
        (0..count).map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_depends_on_every_part_of_its_key() {
        let base = NoiseKey::new(1, "a", 0).uniform(0);
        let others = [
            NoiseKey::new(2, "a", 0).uniform(0),
            NoiseKey::new(1, "b", 0).uniform(0),
            NoiseKey::new(1, "a", 1).uniform(0),
            NoiseKey::new(1, "a", 0).uniform(1),
            NoiseKey::new(1, "a", 0).uniforms(0, 1)[0],
        ];
        assert!(others.iter().all(|&other| other != base));
        assert_eq!(base, NoiseKey::new(1, "a", 0).uniform(0));
        assert_eq!(NoiseKey::new(1, "a", 0).uniforms(5, 3)[..2], NoiseKey::new(1, "a", 0).uniforms(5, 2));
    }
}
