//! Tokens drawn from a teacher's distribution, with noise that a sequence's tokens, a seed, the step and the position decide.

use retort_model::sampling::NoiseKey;

/// Drawn outcomes of one row, lowest id first, with the teacher's log-probabilities and how often each was drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draws {
    pub ids: Vec<u32>,
    pub log_probs: Vec<f32>,
    pub counts: Vec<u32>,
}

/// The noise of a sequence for a run's seed and a step.
pub(super) fn key(tokens: &[u32], (seed, step): (u64, u64)) -> NoiseKey {
    let mut hasher = blake3::Hasher::new();
    tokens.iter().for_each(|token| {
        hasher.update(&token.to_le_bytes());
    });
    NoiseKey::new(seed, &format!("step {step} of {}", hasher.finalize().to_hex()), 0)
}

impl Draws {
    /// `draws` outcomes of `logits` at temperature 1, with replacement.
    pub(super) fn new(logits: &[f32], draws: u32, key: &NoiseKey, position: u32) -> Self {
        let first = u64::from(position) * u64::from(draws);
        Self::at(logits, (0..u64::from(draws)).map(|draw| key.uniform(first + draw)).collect())
    }

    /// The outcomes that uniform numbers fall on.
    fn at(logits: &[f32], mut uniform: Vec<f64>) -> Self {
        let log_z = retort_kernels::log_sum_exp(logits);
        let log_p = |z: f32| f64::from(z) - log_z;
        uniform.sort_unstable_by(f64::total_cmp);
        let total: f64 = logits.iter().map(|&z| log_p(z).exp()).sum();
        let (mut found, mut mass, mut next) = (Self::default(), 0.0, 0);
        for (id, &z) in logits.iter().enumerate() {
            mass += log_p(z).exp();
            // The last outcome takes what rounding left over.
            let until = if id + 1 == logits.len() { f64::INFINITY } else { mass };
            let before = next;
            while next < uniform.len() && uniform[next] * total < until {
                next += 1;
            }
            if next > before {
                found.ids.push(id as u32);
                found.log_probs.push(log_p(z) as f32);
                found.counts.push((next - before) as u32);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fall_where_the_mass_is() {
        // Probabilities 1/8, 3/4, 1/8.
        let logits = [0.0, 6f32.ln(), 0.0];
        let found = Draws::at(&logits, vec![0.9, 0.0, 0.124, 0.126, 0.5, 0.874, 0.999_999_999_999]);
        assert_eq!((found.ids, found.counts), (vec![0, 1, 2], vec![2, 3, 2]));
        assert!((found.log_probs[1] - 0.75f32.ln()).abs() < 1e-6);
    }
}
