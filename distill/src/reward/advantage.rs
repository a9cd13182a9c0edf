//! From the rewards of a group to the weights of its tokens.
//!
//! GRPO (arXiv 2402.03300, section 4.1.2) divides a reward's distance from its group's mean by the group's standard
//! deviation, and a completion's loss by its own length. The first makes groups that are nearly all right or all wrong
//! weigh as much as the others, the second makes a long wrong answer cheaper per token than a short one. Dr. GRPO (arXiv
//! 2503.20783, section 3.1) leaves the division out and divides by a constant; DAPO (arXiv 2503.14476, section 3.3) divides
//! by the tokens of the whole batch.

use serde::{Deserialize, Serialize};

/// How rewards become weights of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// (r - mean) / std; each completion the mean of its tokens.
    #[default]
    Grpo,
    /// r - mean; each completion its tokens' sum over the most that it may have.
    DrGrpo,
    /// (r - mean) / std; the mean over all tokens.
    Dapo,
}

/// A batch of completions, those without signal included: these are zeros of its mean, not absent from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub completions: usize,
    pub tokens: usize,
    /// Tokens that a completion has at most.
    pub max_tokens: usize,
}

/// Keeps groups whose rewards hardly differ from weighing without bound; as in TRL.
const EPSILON: f64 = 1e-4;

/// The advantage of each reward of a group; `None` where all are equal, of which there is nothing to learn.
///
/// The standard deviation is that of a sample (n - 1), as in TRL and verl.
pub fn advantages(rewards: &[f32], normalise: Normalise) -> Option<Vec<f32>> {
    if rewards.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let n = rewards.len() as f64;
    let mean = rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>() / n;
    let squares: f64 = rewards.iter().map(|&reward| (f64::from(reward) - mean).powi(2)).sum();
    let unit = match normalise {
        Normalise::Grpo | Normalise::Dapo => (squares / (n - 1.0)).sqrt() + EPSILON,
        Normalise::DrGrpo => 1.0,
    };
    Some(rewards.iter().map(|&reward| ((f64::from(reward) - mean) / unit) as f32).collect())
}

impl Normalise {
    /// The weight of each token of a completion of `tokens` tokens in the sum over the batch.
    pub(super) fn share(self, tokens: usize, batch: Batch) -> f32 {
        let n = batch.completions as f64;
        let divisor = match self {
            Self::Grpo => n * tokens as f64,
            Self::DrGrpo => n * batch.max_tokens as f64,
            Self::Dapo => batch.tokens as f64,
        };
        (1.0 / divisor.max(1.0)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advantages_by_hand() {
        // Mean 1/4, sample variance (9/16 + 3/16) / 3 = 1/4.
        let rewards = [1.0, 0.0, 0.0, 0.0];
        let close = |found: Option<Vec<f32>>, expected: [f32; 4]| {
            let found = found.expect("a signal");
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} against {expected:?}");
        };
        close(advantages(&rewards, Normalise::Grpo), [1.5, -0.5, -0.5, -0.5]);
        close(advantages(&rewards, Normalise::Dapo), [1.5, -0.5, -0.5, -0.5]);
        close(advantages(&rewards, Normalise::DrGrpo), [0.75, -0.25, -0.25, -0.25]);
        // Twice the rewards: GRPO does not see it, Dr. GRPO does.
        let double = rewards.map(|reward| 2.0 * reward);
        close(advantages(&double, Normalise::Grpo), [1.5, -0.5, -0.5, -0.5]);
        close(advantages(&double, Normalise::DrGrpo), [1.5, -0.5, -0.5, -0.5]);
        for normalise in [Normalise::Grpo, Normalise::DrGrpo, Normalise::Dapo] {
            assert_eq!(advantages(&[0.3; 5], normalise), None);
            let sum: f32 = advantages(&[0.1, 0.9, 0.4], normalise).expect("a signal").iter().sum();
            assert!(sum.abs() < 1e-6, "{normalise:?}: {sum}");
        }
    }

    #[test]
    fn shares_by_hand() {
        // Two completions, of 2 and 6 tokens, of at most 10.
        let batch = Batch { completions: 2, tokens: 8, max_tokens: 10 };
        let shares = |normalise: Normalise| [2, 6].map(|tokens| normalise.share(tokens, batch));
        assert_eq!(shares(Normalise::Grpo), [1.0 / 4.0, 1.0 / 12.0]);
        assert_eq!(shares(Normalise::DrGrpo), [1.0 / 20.0; 2]);
        assert_eq!(shares(Normalise::Dapo), [1.0 / 8.0; 2]);
        // In sum over the tokens of the batch GRPO and DAPO make a mean.
        assert_eq!(2.0 * shares(Normalise::Grpo)[0] + 6.0 * shares(Normalise::Grpo)[1], 1.0);
        assert_eq!(8.0 * shares(Normalise::Dapo)[0], 1.0);
    }
}
