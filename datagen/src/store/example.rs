//! A small run for tests: three problems, two samples each, every kind of value in some row.

use super::{GeneratorId, Keep, ProblemSet, RunHeader, TraceStore};
use crate::problem::Problem;
use crate::sample::{Sample, Verdict};
use crate::verify::Rule;
use retort_model::sampling::Sampling;
use std::path::Path;

pub(crate) fn problems() -> Vec<Problem> {
    let problem = |a: i32, b: i32, difficulty| {
        Problem::new(format!("What is {a} + {b}?"), (a + b).to_string(), "gym", "sums", difficulty)
    };
    vec![problem(2, 2, "1"), problem(30, 4, "2"), problem(5, -1, "")]
}

pub(crate) fn header() -> RunHeader {
    RunHeader {
        generator: GeneratorId { name: "rule".into(), fingerprint: "f00d".into() },
        sampling: Sampling { max_tokens: 64, ..Sampling::default() },
        seed: 7,
        n: 2,
        prompt_suffix: String::new(),
        prompt: None,
        keep: Keep::Right,
        quota: None,
        verify: Rule::ByDomain,
        capture: None,
        reward: None,
        verifier: 1,
        benchmark: None,
        problem_set: ProblemSet::of(&problems()),
    }
}

/// The six samples in the order in which they are sealed; the first of each problem is right.
pub(crate) fn samples() -> Vec<Sample> {
    let header = header();
    problems().iter().flat_map(|problem| [sample(&header, problem, 0), sample(&header, problem, 1)]).collect()
}

/// A sample of `problem` in the run of `header`; the first one is right.
pub(crate) fn sample(header: &RunHeader, problem: &Problem, number: u32) -> Sample {
    let right = number == 0;
    let response = if right { format!("So \\boxed{{{}}}", problem.answer) } else { "é\u{1f600}\n".into() };
    Sample {
        run_id: header.run_id(),
        uuid: problem.uuid.clone(),
        sample: number,
        problem: problem.problem.clone(),
        answer: problem.answer.clone(),
        source: problem.source.clone(),
        domain: problem.domain.clone(),
        difficulty: problem.difficulty.clone(),
        messages: vec![("user".into(), problem.problem.clone()), ("assistant".into(), response.clone())],
        reasoning: if right { "two and two".into() } else { String::new() },
        response,
        finish_reason: "stop".into(),
        verdict: if right { Verdict::Right } else { Verdict::NoAnswer },
        verdict_reason: if right { "the same number".into() } else { "no answer found".into() },
        kept: right,
        drop_reason: if right { String::new() } else { "no answer found".into() },
        prompt_tokens: 9,
        completion_tokens: 10 * number + problem.answer.len() as u32,
        generator: "rule@f00d".into(),
        seed: u64::MAX - 1,
        prompt_token_ids: vec![1, u32::MAX],
        token_ids: if right { (0..20).collect() } else { vec![] },
        forced: vec![],
        targets: None,
        rollout: None,
    }
}

/// Opens a store for the example run.
pub(crate) fn open(dir: &Path, rows_per_shard: u32) -> Result<TraceStore, crate::Error> {
    let problems = problems();
    TraceStore::open(dir, &header(), None, &problems.iter().collect::<Vec<_>>(), rows_per_shard)
}
