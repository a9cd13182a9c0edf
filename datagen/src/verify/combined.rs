//! Verifiers made of verifiers.

use super::{Judgement, Verifier};
use crate::problem::Problem;
use crate::sample::Verdict;
use retort_model::generate::Completion;

/// Takes what every part takes; the first that does not decides.
pub(super) struct All(pub Vec<Box<dyn Verifier>>);

impl Verifier for All {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        let mut last = Judgement::new(Verdict::Right, "equal");
        for part in &self.0 {
            last = part.verify(problem, turn);
            if last.verdict != Verdict::Right {
                break;
            }
        }
        last
    }
}

/// Takes what any part takes; where none does, the first that may have been wrong to refuse decides, else the first.
pub(super) struct Any(pub Vec<Box<dyn Verifier>>);

impl Verifier for Any {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        let mut refused: Option<Judgement> = None;
        for part in &self.0 {
            let judgement = part.verify(problem, turn);
            match judgement.verdict {
                Verdict::Right => return judgement,
                Verdict::Undecided if refused.as_ref().is_none_or(|first| first.verdict != Verdict::Undecided) => {
                    refused = Some(judgement);
                }
                _ => drop(refused.get_or_insert(judgement)),
            }
        }
        refused.unwrap_or_else(|| Judgement::new(Verdict::Wrong, "no verifier"))
    }
}
