//! What a model reaches with several tries at each problem: pass@k, all of k, and the majority of k, over problems.

use crate::score::{Answered, Questions};
use crate::statistics::{Vote, all_of_k, consensus_at_k, pass_at_k};
use retort_datagen::sample::{Sample, Verdict};
use retort_datagen::verify::extract_answer;
use retort_datagen::verify::math::{self, Equality};
use serde::{Deserialize, Serialize};

/// Means over problems for `k` tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tries {
    pub k: u32,
    /// At least one is right.
    pub pass: f64,
    /// All are right.
    pub all: f64,
    /// The answer that most of them give is right; equal answers are those that the grader finds equal.
    pub consensus: f64,
}

/// For k = 1, 2, 4, ... up to the samples that every problem has; empty where there is one.
pub(crate) fn tries(questions: &Questions<'_>) -> Vec<Tries> {
    let most = questions.values().map(|answered| answered.question.samples).min().unwrap_or(0);
    if most < 2 {
        return vec![];
    }
    let mut counts: Vec<u32> =
        std::iter::successors(Some(1u32), |k| k.checked_mul(2)).take_while(|k| *k < most).collect();
    counts.push(most);
    let votes: Vec<Vec<Option<Vote>>> = questions.values().map(votes).collect();
    let mean = |scores: &mut dyn Iterator<Item = Option<f64>>| {
        scores.map(Option::unwrap_or_default).sum::<f64>() / questions.len() as f64
    };
    let of_k = |k: u32| {
        let of = |estimate: fn(u32, u32, u32) -> Option<f64>| {
            mean(&mut questions.values().map(|a| estimate(a.question.samples, a.question.right, k)))
        };
        let consensus = mean(&mut votes.iter().zip(0..).map(|(votes, seed)| consensus_at_k(votes, k as usize, seed)));
        Tries { k, pass: of(pass_at_k), all: of(all_of_k), consensus }
    };
    counts.into_iter().map(of_k).collect()
}

/// What each sample of a problem voted for. Only an answer that the verifier looked at is a vote; those that it found
/// right are one class, whatever they look like.
fn votes(answered: &Answered<'_>) -> Vec<Option<Vote>> {
    let mut classes: Vec<&str> = Vec::new();
    answered.samples.iter().map(|sample| vote(sample, &mut classes)).collect()
}

fn vote<'a>(sample: &'a Sample, classes: &mut Vec<&'a str>) -> Option<Vote> {
    match sample.verdict {
        Verdict::Right => Some(Vote { class: 0, right: true }),
        Verdict::Wrong | Verdict::Undecided => {
            let answer = extract_answer(&sample.response)?;
            let same = |known: &&str| *known == answer || math::compare(known, answer).verdict == Equality::Equal;
            let class = classes.iter().position(same).unwrap_or_else(|| {
                classes.push(answer);
                classes.len() - 1
            });
            // Below the number of samples, a u32.
            Some(Vote { class: class as u32 + 1, right: false })
        }
        Verdict::NoAnswer | Verdict::Truncated | Verdict::Unterminated | Verdict::Loop => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::questions;

    fn sample(problem: &str, number: u32, verdict: Verdict, answer: &str) -> Sample {
        let document = serde_json::json!({
            "run_id": "r", "uuid": problem, "sample": number, "problem": "q", "answer": "1", "source": "", "domain": "",
            "difficulty": "", "messages": [], "reasoning": "", "response": format!("\\boxed{{{answer}}}"),
            "finish_reason": "stop", "verdict": verdict, "verdict_reason": "", "kept": false, "drop_reason": "",
            "prompt_tokens": 1, "completion_tokens": 1, "generator": "m", "seed": 0, "prompt_token_ids": [],
            "token_ids": [],
        });
        serde_json::from_value(document).expect("a sample")
    }

    #[test]
    fn equal_answers_vote_together() {
        use Verdict::{NoAnswer, Right, Wrong};
        let samples = [
            // Two right ones against a half in two spellings and one more: the wrong class wins with all five.
            sample("a", 0, Right, "1"),
            sample("a", 1, Right, "1.0"),
            sample("a", 2, Wrong, "1/2"),
            sample("a", 3, Wrong, "0.5"),
            sample("a", 4, Wrong, "\\frac{1}{2}"),
            // One right one against two that have no vote and two that differ: a tie of three.
            sample("b", 0, Right, "1"),
            sample("b", 1, NoAnswer, ""),
            sample("b", 2, NoAnswer, ""),
            sample("b", 3, Wrong, "7"),
            sample("b", 4, Wrong, "8"),
        ];
        let stems = crate::Stems::default();
        let questions = questions("m", &samples, &stems).expect("questions");
        let tries = tries(&questions);
        assert_eq!(tries.iter().map(|tries| tries.k).collect::<Vec<_>>(), [1, 2, 4, 5]);
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        close(tries[3].consensus, (0.0 + 1.0 / 3.0) / 2.0);
        close(tries[3].pass, 1.0);
        close(tries[3].all, 0.0);
        close(tries[0].pass, (0.4 + 0.2) / 2.0);
        close(tries[0].consensus, (0.4 + 0.2) / 2.0);
        // Of a's 10 pairs 3 are wrong; of b's 6.
        close(tries[1].pass, (0.7 + 0.4) / 2.0);
        close(tries[1].all, 0.1 / 2.0);
    }
}
