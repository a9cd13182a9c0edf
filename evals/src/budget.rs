//! Accuracy against the tokens that answers may take: from one run at every limit below its own, and from runs at several
//! budgets.
//!
//! An answer that would have been cut off is not right. So the share of samples that are right within b tokens is what the
//! same run scores with `max_tokens` = b: what is drawn depends on the seed and the place alone, not on where it ends.
//! A thinking budget is another matter, since a model that is made to stop thinking answers all the same (budget
//! forcing, arXiv 2501.19393, section 3): that curve takes a run for each budget ([`sweep`]).

use crate::run::{EvalRun, same_settings};
use crate::score::{Answered, Questions, Scored, clusters};
use crate::statistics::{Interval, Question, mean_score};
use crate::{Error, Role};
use retort_datagen::sample::{Sample, Verdict};
use serde::{Deserialize, Serialize};

/// pass@1 where an answer may take so many tokens at most, thinking included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limited {
    pub tokens: u32,
    pub pass_at_1: f64,
    pub ci95: Interval,
}

/// A model's score at one budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRun {
    pub role: Role,
    /// After so many tokens of thinking the model was made to answer; `None` where it was left to think.
    pub thinking_budget: Option<usize>,
    pub max_tokens: usize,
    /// Tokens per answer.
    pub mean_tokens: f64,
    pub pass_at_1: f64,
    pub ci95: Interval,
}

/// The curve of every model that is compared: its run among `models` and those of `others` that are its own, by tokens.
///
/// `others` were asked as `models` were, but for the budget.
pub fn sweep(models: &[(Role, &EvalRun)], others: &[EvalRun]) -> Result<Vec<BudgetRun>, Error> {
    let mut runs: Vec<(Role, &EvalRun)> = Vec::new();
    for other in others {
        let generator = |run: &EvalRun| run.samples.first().map(|sample| sample.generator.clone()).unwrap_or_default();
        let found = models.iter().find(|(_, run)| generator(run) == generator(other));
        let &(role, model) = found.ok_or_else(|| Error::OtherModel { generator: generator(other) })?;
        same_settings((role, model), (role, &other.at_budget_of(model)))?;
        if !runs.iter().any(|(known, _)| *known == role) {
            runs.push((role, model));
        }
        runs.push((role, other));
    }
    let point = |(role, run): (Role, &EvalRun)| {
        let scored = Scored::from_samples(role.as_str(), &run.samples, &run.stems)?;
        let sampling = run.header.as_ref().map(|header| &header.sampling);
        Ok(BudgetRun {
            role,
            thinking_budget: sampling.and_then(|sampling| sampling.thinking_budget),
            max_tokens: sampling.map_or(0, |sampling| sampling.max_tokens),
            mean_tokens: scored.completion_tokens.mean,
            pass_at_1: scored.score.pass_at_1,
            ci95: scored.score.ci95,
        })
    };
    let mut points = runs.into_iter().map(point).collect::<Result<Vec<_>, Error>>()?;
    let budget = |run: &BudgetRun| run.thinking_budget.unwrap_or(usize::MAX);
    points.sort_by(|a, b| {
        let tokens = a.mean_tokens.total_cmp(&b.mean_tokens);
        a.role.cmp(&b.role).then(tokens).then(budget(a).cmp(&budget(b)))
    });
    Ok(points)
}

impl EvalRun {
    /// The run as if its budget had been that of `model`.
    fn at_budget_of(&self, model: &Self) -> Self {
        let mut run = Self { samples: vec![], ..self.clone() };
        if let (Some(own), Some(of)) = (&mut run.header, &model.header) {
            let of = &of.sampling;
            (own.sampling.thinking_budget, own.sampling.at_budget) = (of.thinking_budget, of.at_budget);
            own.sampling.max_tokens = of.max_tokens;
        }
        run
    }
}

/// At limits a factor of sqrt(2) apart, from the shortest answer to the longest; empty where no answers were written.
pub(crate) fn by_limit(questions: &Questions<'_>) -> Vec<Limited> {
    let written = |sample: &&Sample| !sample.finish_reason.is_empty();
    let samples = || questions.values().flat_map(|answered| answered.samples.iter().copied()).filter(written);
    let lengths = || samples().map(|sample| sample.completion_tokens);
    let (Some(shortest), Some(longest)) = (lengths().min(), lengths().max()) else { return vec![] };
    let clusters = clusters(questions);
    let within = |tokens: u32| {
        let right = |sample: &&&Sample| sample.verdict == Verdict::Right && sample.completion_tokens <= tokens;
        let counted = |answered: &Answered<'_>| {
            // No more samples than the question has, a u32.
            Question { right: answered.samples.iter().filter(right).count() as u32, ..answered.question }
        };
        let mean = mean_score(&questions.values().map(counted).collect::<Vec<_>>(), &clusters)?;
        Some(Limited { tokens, pass_at_1: mean.value, ci95: mean.ci95 })
    };
    limits(shortest, longest).into_iter().filter_map(within).collect()
}

/// Powers of sqrt(2), rounded, from the last that is not above `shortest` to the first that is not below `longest`.
fn limits(shortest: u32, longest: u32) -> Vec<u32> {
    let power = |half: u32| 2f64.powf(f64::from(half) / 2.0).round();
    let powers: Vec<f64> = (0..=64).map(power).collect();
    let first = powers.iter().rposition(|&power| power <= f64::from(shortest)).unwrap_or(0);
    let last = powers.iter().position(|&power| power >= f64::from(longest)).unwrap_or(64);
    let mut limits: Vec<u32> = powers[first..=last].iter().map(|&power| power as u32).collect();
    limits.dedup();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stems;
    use crate::score::questions;

    fn sample(problem: &str, number: u32, verdict: Verdict, tokens: u32, finish_reason: &str) -> Sample {
        let document = serde_json::json!({
            "run_id": "r", "uuid": problem, "sample": number, "problem": "q", "answer": "1", "source": "", "domain": "",
            "difficulty": "", "messages": [], "reasoning": "", "response": "", "finish_reason": finish_reason,
            "verdict": verdict, "verdict_reason": "", "kept": false, "drop_reason": "", "prompt_tokens": 1,
            "completion_tokens": tokens, "generator": "m", "seed": 0, "prompt_token_ids": [], "token_ids": [],
        });
        serde_json::from_value(document).expect("a sample")
    }

    #[test]
    fn what_is_longer_than_the_limit_is_not_right() {
        use Verdict::{Right, Wrong};
        let samples = [
            sample("a", 0, Right, 5, "stop"),
            sample("a", 1, Right, 9, "stop"),
            sample("b", 0, Wrong, 4, "stop"),
            sample("b", 1, Right, 16, "stop"),
        ];
        let stems = Stems::none();
        let curve = by_limit(&questions("m", &samples, &stems).expect("questions"));
        let points: Vec<(u32, f64)> = curve.iter().map(|point| (point.tokens, point.pass_at_1)).collect();
        assert_eq!(points, [(4, 0.0), (6, 0.25), (8, 0.25), (11, 0.5), (16, 0.75)]);
        assert!(curve.iter().all(|point| point.ci95.holds(point.pass_at_1)));
    }

    #[test]
    fn chosen_options_have_no_length() {
        let samples = [sample("a", 0, Verdict::Right, 5, "")];
        let stems = Stems::none();
        assert_eq!(by_limit(&questions("m", &samples, &stems).expect("questions")), []);
    }

    #[test]
    fn limits_reach_from_the_shortest_to_the_longest() {
        assert_eq!(limits(0, 1), [1]);
        assert_eq!(limits(1, 9), [1, 2, 3, 4, 6, 8, 11]);
        assert_eq!(limits(16, 16), [16]);
        assert_eq!(limits(1, u32::MAX).last(), Some(&u32::MAX));
    }
}
