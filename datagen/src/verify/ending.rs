//! Completions that did not end as they should: cut off, never out of the thinking block, or going round in circles.

use super::Judgement;
use crate::sample::Verdict;
use retort_model::generate::{Completion, FinishReason};

/// A loop repeats at least this many tokens ...
const MIN_PERIOD: usize = 8;
/// ... and at most this many ...
const MAX_PERIOD: usize = 1024;
/// ... at least this many times, back to back, at the very end.
const MIN_REPEATS: usize = 4;

/// The verdict on a completion that did not end its turn itself; `None` where it did.
pub(super) fn judge(completion: &Completion) -> Option<Judgement> {
    if completion.finish_reason == FinishReason::PromptTooLong {
        let reason = format!("the prompt fills the context: {} tokens", completion.prompt_tokens);
        return Some(Judgement::new(Verdict::NoAnswer, reason));
    }
    if completion.finish_reason == FinishReason::Refused {
        return Some(Judgement::new(Verdict::NoAnswer, format!("refused: {}", super::quote(&completion.response))));
    }
    let cut = completion.finish_reason == FinishReason::Length;
    if cut && let Some(period) = loop_period(&completion.token_ids) {
        return Some(Judgement::new(Verdict::Loop, format!("repeats itself until cut off: {period} tokens")));
    }
    if completion.unterminated {
        let reason = if cut { "cut off inside the thinking block" } else { "ended inside the thinking block" };
        return Some(Judgement::new(Verdict::Unterminated, reason));
    }
    cut.then(|| Judgement::new(Verdict::Truncated, "cut off after the thinking block"))
}

/// The shortest loop that `token_ids` end in: the same 8 to 1024 tokens, four times or more, back to back. A loop of
/// fewer tokens counts by its multiple, so 32 equal tokens are one.
fn loop_period(token_ids: &[u32]) -> Option<usize> {
    let longest = (token_ids.len() / MIN_REPEATS).min(MAX_PERIOD);
    (MIN_PERIOD..=longest).find(|&period| {
        let tail = &token_ids[token_ids.len() - MIN_REPEATS * period..];
        tail[period..].iter().zip(tail).all(|(later, earlier)| later == earlier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_needs_eight_tokens_four_times_at_the_end() {
        let block = |length: u32, times: usize| (0..length).collect::<Vec<_>>().repeat(times);
        let after = |mut start: Vec<u32>, end: Vec<u32>| {
            start.extend(end);
            start
        };
        assert_eq!(loop_period(&after(vec![90, 91], block(8, 4))), Some(8));
        assert_eq!(loop_period(&after(vec![90, 91], block(8, 3))), None);
        assert_eq!(loop_period(&after(block(8, 4), vec![99])), None);
        assert_eq!(loop_period(&block(100, 5)), Some(100));
        assert_eq!(loop_period(&[7; 31]), None);
        assert_eq!(loop_period(&[7; 32]), Some(8));
        // A period of 3 shows as 9, the first multiple that is long enough.
        assert_eq!(loop_period(&block(3, 12)), Some(9));
        assert_eq!(loop_period(&block(1024, 4)), Some(1024));
        assert_eq!(loop_period(&block(1025, 4)), None);
        assert_eq!(loop_period(&[]), None);
    }
}
