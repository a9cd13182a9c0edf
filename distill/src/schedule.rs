//! The learning rate over a run: linear warm-up, then constant, cosine or linear decay, or warm-up-stable-decay.

use serde::{Deserialize, Serialize};

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    Constant,
    Cosine,
    Linear,
    /// Constant, then linear to the minimum over the last fifth of the run (arXiv 2404.06395).
    Wsd,
}

/// The shape of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub learning_rate: f64,
    /// Steps of the linear warm-up.
    pub warmup_steps: u64,
    pub decay: Decay,
    /// The rate at the end as a share of `learning_rate`.
    #[serde(default)]
    pub final_share: f64,
}

/// Share of the run over which `Decay::Wsd` decays.
const WSD_SHARE: f64 = 0.2;

impl Schedule {
    /// The rate of `step` (from 0) in a run of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let left = steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / left).min(1.0);
        let share = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Wsd => ((1.0 - progress) / WSD_SHARE).min(1.0),
        };
        self.learning_rate * (self.final_share + (1.0 - self.final_share) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_hand() {
        let rate =
            |decay, step| Schedule { learning_rate: 1.0, warmup_steps: 10, decay, final_share: 0.1 }.rate(step, 110);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} against {b}");
        close(rate(Decay::Cosine, 0), 0.1);
        close(rate(Decay::Cosine, 9), 1.0);
        close(rate(Decay::Cosine, 60), 0.55);
        close(rate(Decay::Linear, 60), 0.55);
        close(rate(Decay::Linear, 110), 0.1);
        close(rate(Decay::Wsd, 80), 1.0);
        close(rate(Decay::Wsd, 100), 0.55);
        close(rate(Decay::Constant, 109), 1.0);
    }
}
