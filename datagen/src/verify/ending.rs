//! Completions that did not end as they should: cut off, never out of the thinking block, or going round in circles.

use super::Judgement;
use crate::sample::Verdict;
use retort_model::chat::{THINK, split_thinking};
use retort_model::generate::{Completion, FinishReason};
use retort_model::repetition::loop_period;

/// A completion that was cut off is a loop where it ends in this many repeats.
const REPEATS: usize = 4;

/// The verdict on a completion that did not end its turn itself; `None` where it did.
pub(super) fn judge(completion: &Completion) -> Option<Judgement> {
    if completion.finish_reason == FinishReason::PromptTooLong {
        let reason = format!("the prompt fills the context: {} tokens", completion.prompt_tokens);
        return Some(Judgement::new(Verdict::NoAnswer, reason));
    }
    if completion.finish_reason == FinishReason::Refused {
        return Some(Judgement::new(Verdict::NoAnswer, format!("refused: {}", super::quote(&completion.response))));
    }
    let looping = |how: &str, repeats| {
        let period = loop_period(&completion.token_ids, repeats)?;
        Some(Judgement::new(Verdict::Loop, format!("repeats itself until {how}: {period} tokens")))
    };
    if completion.finish_reason == FinishReason::Loop {
        // The generator's own limit, which may be lower than the one here.
        return looping("stopped", 2).or_else(|| Some(Judgement::new(Verdict::Loop, "repeats itself until stopped")));
    }
    let cut = completion.finish_reason == FinishReason::Length;
    if cut && let Some(judgement) = looping("cut off", REPEATS) {
        return Some(judgement);
    }
    if completion.unterminated {
        let reason = match completion.finish_reason {
            FinishReason::Length => "cut off inside the thinking block",
            FinishReason::Budget => "its thinking budget ran out",
            _ => "ended inside the thinking block",
        };
        return Some(Judgement::new(Verdict::Unterminated, reason));
    }
    if cut {
        return Some(Judgement::new(Verdict::Truncated, "cut off after the thinking block"));
    }
    // Which of several answers such a turn gives is anyone's guess, and no student should learn to write so. What follows a
    // raw prompt is not taken apart, and may hold one block.
    let whole = completion.reasoning.is_empty().then(|| split_thinking(&completion.response, false).response);
    let rest = whole.as_deref().unwrap_or(&completion.response);
    let second = rest.contains(THINK.0) || rest.contains(THINK.1);
    second.then(|| Judgement::new(Verdict::NoAnswer, "a second thinking block"))
}
