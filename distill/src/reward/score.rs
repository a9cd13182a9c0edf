//! What a completion is worth: a right answer, a well-formed turn, a fitting length, each by its weight.

use super::settings::{RewardSettings, Weights};
use crate::Error;
use retort_datagen::problem::Problem;
use retort_datagen::rollout::{Rollout, strictly_right};
use retort_datagen::sample::Verdict;
use retort_datagen::verify::{Judgement, Rule, Verifier, classify, extract_answer};
use retort_model::generate::{Completion, FinishReason};

/// The rewards of a run.
pub(super) struct Rewards {
    answer: Box<dyn Verifier>,
    format: Box<dyn Verifier>,
    weights: Weights,
    max_tokens: usize,
    overlong_buffer: usize,
}

impl Rewards {
    /// Right is what `verify` says; completions have at most `max_tokens` tokens.
    pub(super) fn new(settings: &RewardSettings, verify: &Rule, max_tokens: usize) -> Result<Self, Error> {
        Ok(Self {
            answer: verify.verifier().map_err(retort_datagen::Error::from)?,
            format: Rule::Format(settings.format.clone()).verifier().map_err(retort_datagen::Error::from)?,
            weights: settings.weights,
            max_tokens,
            overlong_buffer: settings.overlong_buffer,
        })
    }

    /// The verdict on a completion and what it earns; its group is not known here.
    pub(super) fn of(&self, problem: &Problem, turn: &Completion) -> (Judgement, Rollout) {
        let judgement = classify(problem, turn, &*self.answer);
        let is_well_formed = classify(problem, turn, &*self.format).verdict == Verdict::Right;
        let one = |holds: bool| if holds { 1.0f32 } else { 0.0 };
        let (accuracy, format) = (one(judgement.verdict == Verdict::Right), one(is_well_formed));
        let cut = turn.finish_reason == FinishReason::Length;
        let length = if cut { -1.0 } else { overlong(turn.completion_tokens, self.max_tokens, self.overlong_buffer) };
        let Weights { accuracy: of_accuracy, format: of_format, length: of_length } = self.weights;
        let parts = [(accuracy, of_accuracy), (format, of_format), (length, of_length)];
        let reward = parts.into_iter().map(|(part, weight)| f64::from(part) * weight).sum::<f64>() as f32;
        let extracted = extract_answer(&turn.response).unwrap_or_default().to_owned();
        let strict = strictly_right(problem, turn, &*self.answer);
        (judgement, Rollout { reward, accuracy, format, length, extracted, strict, ..Rollout::default() })
    }
}

/// DAPO's soft overlong punishment (equation 13) of a turn that ended by itself: 0 up to the buffer before `most` tokens,
/// -1 at `most`, a line between.
fn overlong(tokens: usize, most: usize, buffer: usize) -> f32 {
    let over = (tokens + buffer).saturating_sub(most);
    0.0 - over.min(buffer) as f32 / buffer.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_model::chat::Thought;

    #[test]
    fn what_is_too_long_costs_more_the_longer_it_is() {
        for (tokens, buffer, cost) in
            [(60, 40, 0.0), (61, 40, -0.025), (80, 40, -0.5), (100, 40, -1.0), (99, 0, 0.0), (20, 0, 0.0)]
        {
            assert_eq!(overlong(tokens, 100, buffer), cost, "{tokens} tokens, {buffer} of buffer");
        }
    }

    #[test]
    fn each_part_is_earned_by_itself() -> Result<(), Error> {
        let settings: RewardSettings = serde_json::from_str(
            r#"{"group_size":2,"weights":{"accuracy":1,"format":0.25,"length":0.5},"overlong_buffer":10}"#,
        )
        .expect("settings");
        let rewards = Rewards::new(&settings, &Rule::ByDomain, 20)?;
        let problem = Problem::new("2+2?".into(), "4".into(), "gym", "arithmetic", "1");
        let turn = |reasoning: &str, response: &str, completion_tokens: usize, finish_reason| {
            let thought = Thought { reasoning: reasoning.into(), response: response.into(), unterminated: false };
            Completion { completion_tokens, ..Completion::of(thought, finish_reason) }
        };
        use FinishReason::{Length, Stop};
        for (reasoning, response, tokens, end, reward, strict) in [
            ("two and two", "\\boxed{4}", 8, Stop, 1.25, true),
            ("", "\\boxed{4}", 8, Stop, 1.0, true),
            ("two and two", "\\boxed{5}", 8, Stop, 0.25, false),
            ("two and two", "4", 8, Stop, 1.25, false),
            ("two and two", "\\boxed{4}", 15, Stop, 1.0, true),
            ("two and two", "\\boxed{4}", 20, Length, -0.5, false),
            ("", "none", 8, Stop, 0.0, false),
        ] {
            let (judgement, rollout) = rewards.of(&problem, &turn(reasoning, response, tokens, end));
            assert_eq!((rollout.reward, rollout.strict), (reward, strict), "{response}: {judgement:?}");
        }
        Ok(())
    }
}
