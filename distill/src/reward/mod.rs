//! Learning from reward: the model writes groups of completions, each is rewarded, and what did better than its group is
//! made likelier (GRPO, DeepSeekMath, arXiv 2402.03300; the recipe of R1-Zero, arXiv 2501.12948).
//!
//! `settings` is the recipe's section, `walk` which problems a batch asks, `score` what a completion is worth, `advantage`
//! how a group turns rewards into weights of its tokens, `rollouts` the stream that a trainer learns from, `record` the
//! dataset beside the run, `review` what the end says of it. The loss itself is `kernels/src/losses/policy_gradient.rs`.
//!
//! A batch of rollouts follows from the seed, its number and the weights, so a resumed run writes what an uninterrupted
//! one would. The policy is the distribution that tokens are drawn from, so nothing may be cut from it.

mod advantage;
mod record;
mod review;
mod rollouts;
mod score;
mod settings;
mod walk;

pub use advantage::{Normalise, advantages};
pub use review::{Commonest, Means, Review};
pub use rollouts::{Rollouts, Time};
pub use settings::{RewardSettings, Weights};
