//! Learning from reward: the clipped surrogate of PPO (arXiv 1707.06347, equation 7) as GRPO takes it for each token of a
//! completion (DeepSeekMath, arXiv 2402.03300, equation 3), with bounds of their own below and above (DAPO, arXiv
//! 2503.14476, section 3.1).
//!
//! For a token y with advantage A, drawn by a policy that gave it `old`: r = exp(log p_y - old) and the loss is
//! -min(r A, clip(r, 1 - low, 1 + high) A). Slope in log p_y: -r A, or 0 where the clipped side is the smaller one. The
//! policy that drew is the one being trained in a batch's first update: then r is 1, whatever the rounding of the program
//! that drew, and the slope -A.

use super::{OfToken, check_rows, of_rows};
use candle_core::{Result, Tensor};

/// The surrogate of tokens with `advantages[j]` in row j.
#[derive(Clone, Copy)]
pub struct PolicyGradient<'a> {
    pub advantages: &'a [f32],
    /// What the policy that drew gave to each token; none where it is the policy at hand.
    pub old_log_probs: Option<&'a [f32]>,
    pub clip_low: f64,
    pub clip_high: f64,
}

/// 1 for each token whose gradient the bounds of [`PolicyGradient`] hold back, else 0.
pub struct Clipped<'a>(pub PolicyGradient<'a>);

impl PolicyGradient<'_> {
    /// r A, and the same with r within its bounds.
    fn sides(&self, row: usize, log_p: f32) -> (f32, f32) {
        let ratio = self.old_log_probs.map_or(1.0, |old| (log_p - old[row]).exp());
        let (low, high) = ((1.0 - self.clip_low) as f32, (1.0 + self.clip_high) as f32);
        (ratio * self.advantages[row], ratio.clamp(low, high) * self.advantages[row])
    }

    /// The two sides of the rows `at`.
    fn reference_sides(&self, at: &[usize], log_p_k: &Tensor) -> Result<(Tensor, Tensor)> {
        let old = self.old_log_probs.map_or_else(|| Ok(log_p_k.detach()), |old| of_rows(old, at, log_p_k))?;
        let ratio = (log_p_k - old)?.exp()?;
        let advantages = of_rows(self.advantages, at, log_p_k)?;
        let clipped = ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high)?;
        Ok(((ratio * &advantages)?, (clipped * advantages)?))
    }
}

impl OfToken for PolicyGradient<'_> {
    fn of(&self, row: usize, log_p: f32) -> (f32, f32) {
        let (free, clipped) = self.sides(row, log_p);
        if free <= clipped { (-free, -free) } else { (-clipped, 0.0) }
    }

    fn check(&self, n: usize) -> Result<()> {
        check_rows("a policy gradient", n, self.advantages.len())?;
        self.old_log_probs.map_or(Ok(()), |old| check_rows("a policy gradient", n, old.len()))
    }

    fn reference(&self, at: &[usize], log_p_k: &Tensor) -> Result<Tensor> {
        let (free, clipped) = self.reference_sides(at, log_p_k)?;
        free.minimum(&clipped)?.neg()
    }
}

impl OfToken for Clipped<'_> {
    fn of(&self, row: usize, log_p: f32) -> (f32, f32) {
        let (free, clipped) = self.0.sides(row, log_p);
        (if free > clipped { 1.0 } else { 0.0 }, 0.0)
    }

    fn check(&self, n: usize) -> Result<()> {
        self.0.check(n)
    }

    fn reference(&self, at: &[usize], log_p_k: &Tensor) -> Result<Tensor> {
        let (free, clipped) = self.0.reference_sides(at, log_p_k)?;
        Ok(free.gt(&clipped)?.to_dtype(log_p_k.dtype())?.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReferenceKl, Token};
    use super::*;
    use crate::linear_loss::testing::agrees;

    /// Two of these pull up and two push down; at the old log-probabilities below ratios lie within and beyond the bounds.
    const ADVANTAGES: [f32; 6] = [1.3, -0.7, 0.0, 2.1, -1.9, 0.4];

    #[test]
    fn surrogates_agree_with_their_references() -> Result<()> {
        let (tokens, weights) = ([3, 0, 8, 36, 12, 5], [0.3, 0.2, 0.9, 0.0, 0.5, 1.0]);
        for old in [[-2.0; 6], [0.0; 6], [-4.0, -2.0, -3.0, -5.0, -2.5, -4.0]] {
            let (advantages, old_log_probs) = (&ADVANTAGES[..], Some(&old[..]));
            for (clip_low, clip_high) in [(0.2, 0.28), (0.9, 1e6)] {
                let kind = PolicyGradient { advantages, old_log_probs, clip_low, clip_high };
                let (tokens, weights) = (&tokens[..], &weights[..]);
                let held_back = Token { kind: Clipped(kind), tokens, weights };
                agrees((6, 37), None, &[&Token { kind, tokens, weights }, &held_back])?;
            }
        }
        let kind = ReferenceKl { log_probs: &[-3.0, -9.0, -0.1, -2.0, -5.0, -7.0] };
        agrees((6, 37), None, &[&Token { kind, tokens: &tokens, weights: &weights }])
    }

    #[test]
    fn a_bound_holds_back_what_would_go_on_and_never_what_would_return() {
        fn kind(advantages: &[f32]) -> PolicyGradient<'_> {
            PolicyGradient { advantages, old_log_probs: Some(&[0.0]), clip_low: 0.2, clip_high: 0.3 }
        }
        for (ratio, advantage, value, slope) in [
            (1.2f32, 1.0, -1.2, -1.2),
            (1.5, 1.0, -1.3, 0.0),
            (0.5, 1.0, -0.5, -0.5),
            (0.9, -1.0, 0.9, 0.9),
            (0.5, -1.0, 0.8, 0.0),
            (1.5, -1.0, 1.5, 1.5),
        ] {
            let advantages = [advantage];
            let found = kind(&advantages).of(0, ratio.ln());
            assert!(
                (found.0 - value).abs() < 1e-6 && (found.1 - slope).abs() < 1e-6,
                "{ratio}, {advantage}: {found:?}"
            );
            let held = Clipped(kind(&advantages)).of(0, ratio.ln()).0;
            assert_eq!(held == 1.0, slope == 0.0, "{ratio}, {advantage}");
        }
        let first = PolicyGradient { old_log_probs: None, ..kind(&[2.0]) };
        assert_eq!(first.of(0, -7.3), (-2.0, -2.0));
    }
}
