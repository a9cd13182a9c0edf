//! Drawing the next token: temperature and nucleus, with counter-based randomness.
//!
//! The noise for a token is a function of (run seed, problem, sample, position) alone, so what is drawn does not
//! depend on batch size, order, thread count or resume. Order of the steps: temperature, then top-p.

mod select;

pub use select::top_k;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How a completion is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f64,
    /// Keeps the smallest set of tokens whose probabilities sum to at least this.
    pub top_p: f64,
    pub max_tokens: usize,
}

impl Default for Sampling {
    /// What the DeepSeek-R1 model card recommends.
    fn default() -> Self {
        Self { temperature: 0.6, top_p: 0.95, max_tokens: 512 }
    }
}

/// Seeds the randomness of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKey([u8; 32]);

impl NoiseKey {
    /// The key of sample `sample` of the problem called `problem` in a run with seed `seed`.
    pub fn new(seed: u64, problem: &str, sample: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("retort sampling noise v1");
        hasher.update(&seed.to_le_bytes()).update(&sample.to_le_bytes()).update(problem.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// A uniform draw from [0, 1) for the token at `position` of the completion.
    pub fn uniform(&self, position: u64) -> f64 {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(position);
        (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Sampling {
    /// The first setting that is out of range: its name, what was found, what is expected.
    pub fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let Self { temperature, top_p, max_tokens } = *self;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Some(("temperature", temperature.to_string(), "0 or more"));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Some(("top_p", top_p.to_string(), "above 0 and at most 1"));
        }
        (max_tokens == 0).then(|| ("max_tokens", max_tokens.to_string(), "at least 1"))
    }

    /// Draws a token id from `logits_v` with the uniform number `u`. Ties go to the lower id.
    pub fn draw(&self, logits_v: &[f32], u: f64) -> u32 {
        if self.temperature <= 0.0 {
            return greedy(logits_v);
        }
        let top = logits_v.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
        let mut weighted: Vec<(f64, u32)> = logits_v
            .iter()
            .enumerate()
            .map(|(id, &logit)| (((logit as f64 - top) / self.temperature).exp(), id as u32))
            .collect();
        let total: f64 = weighted.iter().map(|&(weight, _)| weight).sum();
        weighted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut kept = 0;
        let mut mass = 0.0;
        while kept < weighted.len() && (kept == 0 || mass < self.top_p * total) {
            mass += weighted[kept].0;
            kept += 1;
        }
        let mut left = u * mass;
        for &(weight, id) in &weighted[..kept] {
            left -= weight;
            if left < 0.0 {
                return id;
            }
        }
        weighted[kept - 1].1
    }
}

/// The id of the largest logit; ties go to the lower id.
pub fn greedy(logits_v: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits_v.iter().enumerate() {
        if *logit > logits_v[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_tempered_nucleus() {
        // softmax([2, 1, 0, -9] / 0.5): the last two fall outside top-p 0.95.
        let logits = [2.0f32, 1.0, 0.0, -9.0];
        let sampling = Sampling { temperature: 0.5, top_p: 0.95, max_tokens: 1 };
        let mut counts = [0u32; 4];
        for sample in 0..4000 {
            let noise = NoiseKey::new(7, "p", sample);
            counts[sampling.draw(&logits, noise.uniform(3)) as usize] += 1;
        }
        let expected = 1.0 / (1.0 + (-2.0f64).exp());
        let share = f64::from(counts[0]) / 4000.0;
        assert!((share - expected).abs() < 4.0 * (expected * (1.0 - expected) / 4000.0).sqrt(), "{counts:?}");
        assert_eq!(counts[2] + counts[3], 0);
    }

    #[test]
    fn noise_depends_on_every_part_of_its_key() {
        let base = NoiseKey::new(1, "a", 0).uniform(0);
        let others = [
            NoiseKey::new(2, "a", 0).uniform(0),
            NoiseKey::new(1, "b", 0).uniform(0),
            NoiseKey::new(1, "a", 1).uniform(0),
            NoiseKey::new(1, "a", 0).uniform(1),
        ];
        assert!(others.iter().all(|&other| other != base));
        assert_eq!(base, NoiseKey::new(1, "a", 0).uniform(0));
    }

    #[test]
    fn zero_temperature_is_greedy() {
        let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(sampling.draw(&[0.0, 3.0, 3.0], 0.99), 1);
    }
}
