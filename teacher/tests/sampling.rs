//! How completions of the embedded teacher end, and what is captured of them: functions of the request alone.

mod embedded_engine;

use embedded_engine::engine;
use retort_model::capture::{Capture, Targets};
use retort_model::engine::Engine;
use retort_model::generate::{Completion, FinishReason, Generate, GenerateError, JobError, Jobs, Message, Request};
use retort_model::sampling::{AtBudget, NoiseKey, Sampling};
use retort_model::score::{Given, Rows, Score, Want};
use retort_teacher::DeepSeek;
use std::collections::BTreeMap;

/// The same prompts with any settings.
struct Sums {
    left: Vec<u64>,
    sampling: Sampling,
    capture: Option<Capture>,
    done: BTreeMap<u64, Completion>,
}

impl Jobs for Sums {
    fn next(&mut self) -> Option<Request> {
        let id = self.left.pop()?;
        let prompt = format!("Find {}+{}.", 170 + 31 * id, 5 * id * id);
        Some(Request {
            id,
            noise: NoiseKey::new(3, &prompt, 0),
            messages: vec![Message::user(prompt)],
            sampling: self.sampling.clone(),
            capture: self.capture,
        })
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.done.insert(id, completion);
        Ok(())
    }
}

fn complete(engine: &Engine<DeepSeek>, sampling: &Sampling, capture: Option<Capture>) -> Vec<Completion> {
    let mut jobs = Sums { left: (0..6).collect(), sampling: sampling.clone(), capture, done: BTreeMap::new() };
    engine.generate(&mut jobs).expect("generation");
    jobs.done.into_values().collect()
}

fn text(completion: &Completion) -> String {
    format!("{}|{}", completion.reasoning, completion.response)
}

/// Every completion in one slot; then the same from many, and with drafts.
fn alike(sampling: &Sampling, capture: Option<Capture>) -> Vec<Completion> {
    let alone = complete(&engine(1, false), sampling, capture);
    for engine in [engine(7, false), engine(5, true)] {
        for (found, expected) in complete(&engine, sampling, capture).iter().zip(&alone) {
            assert_eq!(found.token_ids, expected.token_ids);
            assert_eq!((text(found), &found.forced), (text(expected), &expected.forced));
            assert_eq!((found.finish_reason, &found.targets), (expected.finish_reason, &expected.targets));
        }
    }
    alone
}

#[test]
fn stop_strings_end_a_completion_before_themselves() {
    let free = complete(&engine(4, false), &Sampling::default(), None);
    // The first digit that the thinking holds, wherever tokens end.
    let stop: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    let stopped = alike(&Sampling { stop: stop.clone(), ..Sampling::default() }, None);
    for (stopped, free) in stopped.iter().zip(&free) {
        assert_eq!(stopped.finish_reason, FinishReason::StopString);
        assert!(free.token_ids.starts_with(&stopped.token_ids) && stopped.token_ids.len() < free.token_ids.len());
        let before = free.reasoning.split(|c: char| c.is_ascii_digit()).next().expect("a part");
        assert_eq!(stopped.reasoning, before.trim());
        assert!(stopped.response.is_empty());
    }
}

#[test]
fn a_thinking_budget_is_closed_or_ends_the_completion() {
    let engine = engine(4, false);
    let free = complete(&engine, &Sampling::default(), None);
    let budgeted = Sampling { thinking_budget: Some(9), ..Sampling::default() };
    let close = engine.tokenizer.encode("\n</think>\n\n").expect("encoded");
    for (closed, free) in alike(&budgeted, None).iter().zip(&free) {
        assert_eq!(closed.token_ids[..9], free.token_ids[..9]);
        assert_eq!(closed.token_ids[9..][..close.len()], close);
        assert_eq!(closed.forced, (9..9 + close.len() as u32).collect::<Vec<_>>());
        assert!(!closed.unterminated && !closed.response.is_empty(), "{closed:?}");
    }
    let ended = complete(&engine, &Sampling { at_budget: AtBudget::End, ..budgeted }, None);
    for (ended, free) in ended.iter().zip(&free) {
        assert_eq!((ended.finish_reason, ended.unterminated), (FinishReason::Budget, true));
        assert_eq!(ended.token_ids, free.token_ids[..9]);
    }
    // A budget that the thinking does not use up changes nothing.
    let roomy = complete(&engine, &Sampling { thinking_budget: Some(400), ..Sampling::default() }, None);
    for (roomy, free) in roomy.iter().zip(&free) {
        assert_eq!((&roomy.token_ids, roomy.forced.len()), (&free.token_ids, 0));
    }
}

#[test]
fn a_loop_ends_early_and_only_where_that_was_asked_for() {
    let engine = engine(4, false);
    let again = engine.tokenizer.encode("7").expect("encoded")[0];
    let stuck = Sampling { logit_bias: [(again, 100.0)].into(), max_tokens: 60, ..Sampling::default() };
    for completion in complete(&engine, &stuck, None) {
        assert_eq!((completion.finish_reason, completion.token_ids.len()), (FinishReason::Length, 60));
    }
    for completion in alike(&Sampling { loop_repeats: Some(3), ..stuck }, None) {
        assert_eq!((completion.finish_reason, completion.token_ids), (FinishReason::Loop, vec![again; 24]));
    }
    let unknown = Sampling { logit_bias: [(1 << 20, 1.0)].into(), ..Sampling::default() };
    let mut jobs = Sums { left: vec![0], sampling: unknown, capture: None, done: BTreeMap::new() };
    let refused = engine.generate(&mut jobs).expect_err("refused");
    assert!(matches!(refused, GenerateError::Setting { setting: "logit_bias", .. }), "{refused}");
}

#[test]
fn what_is_captured_is_what_scoring_says_afterwards() {
    let engine = engine(4, false);
    // Settings that change what is drawn and must not show in what is captured.
    let sampling = Sampling { repetition_penalty: 1.02, top_k: Some(50), temperature: 0.9, ..Sampling::default() };
    let completions = alike(&sampling, Some(Capture::TopK(6)));
    let sequences: Vec<Given<'_>> =
        completions.iter().map(|c| Given { prompt: &c.prompt_token_ids, text: &c.token_ids }).collect();
    let mut scored = Vec::new();
    let take = &mut |chunk: retort_model::score::Chunk| {
        scored.push(chunk.rows);
        Ok(())
    };
    engine.score(&sequences, Want::TopK(6), take).expect("scores");
    for (completion, rows) in completions.iter().zip(&scored) {
        let (Some(found), Rows::TopK(expected)) = (&completion.targets, rows) else { panic!("kinds") };
        assert_eq!(found.widths, vec![6; completion.token_ids.len()]);
        let pairs = [
            (&found.token_logprobs, &expected.sampled),
            (&found.logsumexp, &expected.logsumexp),
            (&found.logprobs, &expected.logprobs),
        ];
        for (found, expected) in pairs {
            assert_eq!(found.len(), expected.len());
            // Decoding attends in the absorbed form, scoring in the expanded one.
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-3, "{off}");
        }
    }
}

#[test]
fn capturing_changes_no_token_and_draws_are_counted() {
    let free = complete(&engine(4, false), &Sampling::default(), None);
    for (captured, free) in alike(&Sampling::default(), Some(Capture::Draws(30))).iter().zip(&free) {
        assert_eq!((&captured.token_ids, &free.targets), (&free.token_ids, &None));
        let Targets { widths, counts, .. } = captured.targets.as_ref().expect("captured");
        let mut rest = counts.as_slice();
        for &width in widths {
            let (row, later) = rest.split_at(width as usize);
            assert_eq!(row.iter().sum::<u32>(), 30);
            rest = later;
        }
        assert!(rest.is_empty());
    }
}
