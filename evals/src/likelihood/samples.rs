//! Answers as samples, so that runs are scored and compared as those are whose model wrote its answers.

use super::{Answer, Identity};
use retort_datagen::sample::{Sample, Verdict};
use std::collections::BTreeMap;

/// One sample for each answer, right where the run's metric says so. A question that is there twice gets two samples.
pub fn samples(identity: &Identity, answers: &[Answer]) -> Vec<Sample> {
    let metric = identity.metric;
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let sample = |answer: &Answer, number: u32| {
        let (chosen, gold) = (&answer.choices[answer.chosen(metric)], &answer.choices[answer.gold]);
        let right = answer.is_right(metric);
        let (verdict, verdict_reason) = match right {
            true => (Verdict::Right, "equal".to_owned()),
            false => (Verdict::Wrong, format!("another option is likelier: `{chosen}`")),
        };
        let problem = answer.problem.clone();
        let tokens = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Sample {
            run_id: identity.benchmark.definition.clone(),
            uuid: problem.uuid,
            sample: number,
            messages: vec![("user".into(), problem.problem.clone()), ("assistant".into(), chosen.clone())],
            problem: problem.problem,
            answer: gold.clone(),
            source: problem.source,
            domain: problem.domain,
            difficulty: problem.difficulty,
            reasoning: String::new(),
            response: chosen.clone(),
            // Nothing was written that could have ended.
            finish_reason: String::new(),
            verdict,
            drop_reason: if right { String::new() } else { verdict_reason.clone() },
            verdict_reason,
            kept: right,
            prompt_tokens: tokens(answer.context_tokens),
            completion_tokens: tokens(answer.choice_tokens[answer.chosen(metric)]),
            generator: identity.generator.clone(),
            seed: 0,
            prompt_token_ids: vec![],
            token_ids: vec![],
            forced: vec![],
            targets: None,
            rollout: None,
        }
    };
    let numbered = answers.iter().map(|answer| {
        let number = numbers.entry(&answer.problem.uuid).or_default();
        *number += 1;
        sample(answer, *number - 1)
    });
    numbered.collect()
}
