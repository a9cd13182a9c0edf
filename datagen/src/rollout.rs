//! What a sample earned while a model was trained on it by reward: a dataset of rollouts has one for every row.

use crate::problem::Problem;
use crate::sample::Verdict;
use crate::verify::{Verifier, extract_boxed};
use retort_model::generate::{Completion, FinishReason};
use serde::{Deserialize, Serialize};

/// One completion among those that were written with the same weights.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Optimiser steps behind the weights that wrote it.
    pub step: u64,
    /// Its group, counted within the step: the samples of one problem that are held against each other.
    pub group: u32,
    /// The weighted sum of the parts below; the weights stand in the run's header.
    pub reward: f32,
    /// How far the reward lies above its group's mean, in the unit that the header names.
    pub advantage: f32,
    /// 1 where the verdict is `right`, else 0.
    pub accuracy: f32,
    /// 1 where the turn is well formed, else 0.
    pub format: f32,
    /// From 0 down to -1, for what is longer than it may be.
    pub length: f32,
    /// The answer that was found; empty where none was.
    pub extracted: String,
    /// Whether the turn is right when read strictly, too: see [`strictly_right`].
    pub strict: bool,
}

impl Rollout {
    /// Whether it is right by the run's rule and not when read strictly.
    pub fn is_right_leniently_only(&self) -> bool {
        self.accuracy > 0.0 && !self.strict
    }

    /// Whether it is well formed and not right.
    pub fn is_well_formed_only(&self) -> bool {
        self.format > 0.0 && self.accuracy == 0.0
    }
}

/// Whether `turn` gives the gold in a single closed box, after it has ended by itself, as `verifier` sees it. What is right
/// by a rule that is more lenient and wrong by this one is where a model may have learnt the rule instead of the task.
pub fn strictly_right(problem: &Problem, turn: &Completion, verifier: &dyn Verifier) -> bool {
    let response = turn.response.as_str();
    let Some(boxed) = extract_boxed(response).filter(|_| turn.finish_reason == FinishReason::Stop) else {
        return false;
    };
    let boxes = response.matches("\\boxed").count() + response.matches("\\fbox").count();
    let alone = Completion { response: format!("\\boxed{{{boxed}}}"), ..turn.clone() };
    boxes == 1 && !turn.unterminated && verifier.verify(problem, &alone).verdict == Verdict::Right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Rule;
    use retort_model::chat::Thought;

    #[test]
    fn a_strict_reading_wants_one_box_and_an_end() {
        let problem = Problem::new("2+2?".into(), "4".into(), "gym", "arithmetic", "1");
        let thought = |response: &str| Thought {
            reasoning: "two and two".into(),
            response: response.into(),
            unterminated: false,
        };
        let verifier = Rule::ByDomain.verifier().expect("a rule");
        for (response, finish_reason, lenient, strict) in [
            ("so \\boxed{4}", FinishReason::Stop, true, true),
            ("4", FinishReason::Stop, true, false),
            ("\\boxed{5} or \\boxed{4}", FinishReason::Stop, true, false),
            ("\\boxed{4}", FinishReason::Length, true, false),
            ("\\boxed{5}", FinishReason::Stop, false, false),
        ] {
            let turn = Completion::of(thought(response), finish_reason);
            assert_eq!(verifier.verify(&problem, &turn).verdict == Verdict::Right, lenient, "{response}");
            assert_eq!(strictly_right(&problem, &turn, &*verifier), strict, "{response}");
        }
    }
}
