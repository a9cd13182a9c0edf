//! What the terms of an objective hold against the student: a teacher's rows for one micro-batch, asked for once for each
//! kind, or taken from what was captured with the traces.

use super::asked::Asked;
use super::settings::{Need, Rows, Term};
use super::{Objective, Teacher};
use crate::Error;
use crate::data::{Captured, Example};
use candle_core::Tensor;
use retort_kernels::losses::{
    Clipped, CrossEntropy, Dense, Entropy, ForwardKl, JensenShannon, OfToken, Pointwise, PolicyGradient, ReferenceKl,
    ReverseKl, RowLoss, Sampled, SampledReverseKl, SkewedKl, SkewedReverseKl, Sorted, SparseRows, Token, Told, TopK,
};
use retort_model::batch::Batch;

/// A teacher's rows for one term; row i belongs to row i of the student's batch.
pub(super) enum Target {
    /// The next token is all there is, or the teacher's logits, which come while the loss is computed.
    None,
    TopK(SparseRows),
    Sampled(SparseRows, Vec<u32>),
    Next(Vec<f32>),
    Earned(Earnings),
    Hidden(Tensor),
}

/// What the student's own tokens earned, row by row; 0 where a row is none of them.
pub(super) struct Earnings {
    advantages: Vec<f32>,
    /// What the student gave to them when it wrote them.
    log_probs: Vec<f32>,
    /// Whether its weights have moved since.
    is_stale: bool,
}

/// The targets of a micro-batch.
pub(super) struct Targets<'a> {
    /// By term, with the weight of every row.
    pub terms: Vec<(Target, Vec<f32>)>,
    /// The teacher, where it is asked while training.
    pub asked: Option<Asked<'a>>,
    /// The token after each row; 0 where there is none to predict.
    next: Vec<u32>,
    /// Weights of rows in a mean over all targets of the step.
    even: Vec<f32>,
    /// Weights of the rows whose token stands in the teacher's prompt: there its distribution is of something that it never
    /// writes, and its word is the token itself.
    opening: Vec<f32>,
}

impl<'a> Targets<'a> {
    /// Gathers what `objective` needs for `examples`, packed as `batch`; `next` says which rows predict what.
    ///
    /// A row's weight is its term's times `share`, or times what its example says; `step` has its own draws.
    pub(super) fn gather(
        objective: &Objective<'a>,
        examples: &'a [Example],
        batch: &Batch,
        next: &[Option<u32>],
        share: f64,
        step: u64,
    ) -> Result<Self, Error> {
        let asked = match objective.teacher {
            Teacher::Online(teacher) => Some(Asked::new(teacher, examples, batch)),
            _ => None,
        };
        let shares = shares(examples, batch, share);
        let (opens, mut opening) = (opening_rows(examples, batch), vec![0f32; batch.len()]);
        let mut terms = Vec::new();
        for term in &objective.settings.terms {
            let all = vec![true; batch.len()];
            let (target, answered) = match (&asked, term.need()) {
                (_, Need::Nothing) => (Target::None, all),
                (_, Need::Earned) => (Target::Earned(Earnings::of(examples, batch)), rewarded(examples, batch)),
                (Some(asked), need) => {
                    let target = match need {
                        Need::Token => Target::Next(asked.tokens()?),
                        Need::TopK(k) => Target::TopK(asked.top_k(k)?),
                        Need::Draws(draws) => {
                            let (rows, counts) = asked.drawn(draws.unwrap_or(1), batch, (objective.seed, step))?;
                            Target::Sampled(rows, counts)
                        }
                        Need::Hidden if asked.is_empty() => Target::None,
                        Need::Hidden => Target::Hidden(asked.hidden()?),
                        Need::Full | Need::Nothing | Need::Earned => Target::None,
                    };
                    (target, asked.answered())
                }
                (None, need) => {
                    let (rows, counts, answered) = captured(term, examples, batch);
                    match need {
                        Need::Draws(_) => (Target::Sampled(rows, counts), answered),
                        _ => (Target::TopK(rows), answered),
                    }
                }
            };
            let mut weights = vec![0f32; batch.len()];
            for (row, answered) in answered.into_iter().enumerate().filter(|(row, _)| next[*row].is_some()) {
                let weight = (term.weight() * shares[row]) as f32;
                if opens[row] && term.need().is_a_distribution() {
                    opening[row] += weight;
                } else if answered {
                    weights[row] = weight;
                }
            }
            terms.push((target, weights));
        }
        let even = next.iter().map(|next| if next.is_some() { share as f32 } else { 0.0 }).collect();
        let next = next.iter().map(|token| token.unwrap_or(0)).collect();
        Ok(Self { terms, asked, next, even, opening })
    }

    /// What is learnt of the tokens that stand in the teacher's prompt, where there are such.
    pub(super) fn opening(&self) -> Option<(&'static str, Box<dyn RowLoss + '_>)> {
        let weights = Some(&self.opening).filter(|weights| weights.iter().any(|weight| *weight != 0.0))?;
        Some(("opening", Box::new(CrossEntropy { targets: &self.next, weights })))
    }

    /// The losses over rows of logits, by term; none for a term that is not one.
    pub(super) fn losses(&self, terms: &[Term]) -> Vec<Option<Box<dyn RowLoss + '_>>> {
        let pairs = terms.iter().zip(&self.terms);
        pairs.map(|(term, (target, weights))| self.loss(*term, target, weights)).collect()
    }

    /// What is told of a policy beside its losses, as means over all targets of the step: how open its choices are, the
    /// share of tokens whose gradient the bounds hold back, its KL to the policy that wrote, and to the reference.
    pub(super) fn told(&self, terms: &[Term]) -> Vec<(&'static str, Box<dyn RowLoss + '_>)> {
        let mut told: Vec<(&'static str, Box<dyn RowLoss + '_>)> = Vec::new();
        for (term, (target, _)) in terms.iter().zip(&self.terms) {
            match (*term, target) {
                (Term::PolicyGradient { clip_low, clip_high, .. }, Target::Earned(earnings)) => {
                    let clipped = Clipped(earnings.surrogate(clip_low, clip_high));
                    told.push(("entropy", Box::new(Told(Entropy { weights: &self.even }))));
                    told.push(("clip_fraction", Box::new(Told(self.of_tokens(clipped, &self.even)))));
                    told.push(("rollout_kl", self.told_kl(&earnings.log_probs)));
                }
                (Term::ReferenceKl { .. }, Target::Next(log_probs)) => told.push(("kl", self.told_kl(log_probs))),
                _ => {}
            }
        }
        told
    }

    fn told_kl<'s>(&'s self, log_probs: &'s [f32]) -> Box<dyn RowLoss + 's> {
        Box::new(Told(self.of_tokens(ReferenceKl { log_probs }, &self.even)))
    }

    fn of_tokens<'s, K: OfToken>(&'s self, kind: K, weights: &'s [f32]) -> Token<'s, K> {
        Token { kind, tokens: &self.next, weights }
    }

    fn loss<'s>(&'s self, term: Term, target: &'s Target, weights: &'s [f32]) -> Option<Box<dyn RowLoss + 's>> {
        let temperature = term.temperature();
        Some(match (term, target) {
            (Term::CrossEntropy { .. }, _) => Box::new(CrossEntropy { targets: &self.next, weights }),
            (Term::ForwardKl { .. }, _) => divergence(ForwardKl, target, temperature, weights),
            (Term::ReverseKl { .. }, _) => divergence(ReverseKl, target, temperature, weights),
            (Term::JensenShannon { beta, .. }, _) => divergence(JensenShannon { beta }, target, temperature, weights),
            (Term::SkewedKl { alpha, .. }, _) => divergence(SkewedKl { alpha }, target, temperature, weights),
            (Term::SkewedReverseKl { alpha, .. }, _) => {
                divergence(SkewedReverseKl { alpha }, target, temperature, weights)
            }
            (Term::Sampled { .. }, Target::Sampled(rows, counts)) => {
                Box::new(Sampled { rows, counts, temperature, weights })
            }
            (Term::SampledReverseKl { .. }, Target::Next(log_probs)) => {
                Box::new(self.of_tokens(SampledReverseKl { log_probs }, weights))
            }
            (Term::ReferenceKl { .. }, Target::Next(log_probs)) => {
                Box::new(self.of_tokens(ReferenceKl { log_probs }, weights))
            }
            (Term::PolicyGradient { clip_low, clip_high, .. }, Target::Earned(earnings)) => {
                Box::new(self.of_tokens(earnings.surrogate(clip_low, clip_high), weights))
            }
            (Term::Sorted { .. }, _) => Box::new(Sorted { temperature, weights }),
            _ => return None,
        })
    }
}

impl Earnings {
    fn of(examples: &[Example], batch: &Batch) -> Self {
        let (mut advantages, mut log_probs) = (vec![0.0; batch.len()], vec![0.0; batch.len()]);
        let mut is_stale = false;
        for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
            let Some(earned) = &example.earned else { continue };
            let first = span[0] + example.loss_from.saturating_sub(1);
            advantages[first..span[1]].fill(earned.advantage);
            for (row, log_prob) in (first..span[1]).zip(&earned.log_probs) {
                log_probs[row] = *log_prob;
            }
            is_stale |= earned.is_stale;
        }
        Self { advantages, log_probs, is_stale }
    }

    fn surrogate(&self, clip_low: f64, clip_high: f64) -> PolicyGradient<'_> {
        let old_log_probs = self.is_stale.then_some(&*self.log_probs);
        PolicyGradient { advantages: &self.advantages, old_log_probs, clip_low, clip_high }
    }
}

/// Each row's share of the step: 1 / the step's targets, or what its example says.
fn shares(examples: &[Example], batch: &Batch, share: f64) -> Vec<f64> {
    let mut shares = vec![share; batch.len()];
    for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
        if let Some(earned) = &example.earned {
            shares[span[0]..span[1]].fill(earned.share.into());
        }
    }
    shares
}

/// Which rows belong to completions that earned something.
fn rewarded(examples: &[Example], batch: &Batch) -> Vec<bool> {
    let spans = examples.iter().zip(batch.offsets.windows(2));
    spans.flat_map(|(example, span)| std::iter::repeat_n(example.earned.is_some(), span[1] - span[0])).collect()
}

fn divergence<'a, P: Pointwise + 'a>(
    kind: P,
    target: &'a Target,
    temperature: f64,
    weights: &'a [f32],
) -> Box<dyn RowLoss + 'a> {
    match target {
        Target::TopK(rows) => Box::new(TopK { kind, rows, temperature, weights }),
        _ => Box::new(Dense { kind, temperature, weights }),
    }
}

/// Which rows of a batch predict a token of an opening.
fn opening_rows(examples: &[Example], batch: &Batch) -> Vec<bool> {
    let mut opens = vec![false; batch.len()];
    for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
        let first = example.loss_from.max(1) - 1;
        let last = (first + example.opening).min(example.tokens.len());
        opens[span[0]..span[1]][first.min(last)..last].fill(true);
    }
    opens
}

/// Captured rows of a batch for `term`, their counts, and which rows have some.
fn captured(term: &Term, examples: &[Example], batch: &Batch) -> (SparseRows, Vec<u32>, Vec<bool>) {
    let most = match term.rows() {
        Some(Rows::TopK(k)) => k,
        _ => usize::MAX,
    };
    let (mut rows, mut counts, mut has) = (SparseRows::default(), Vec::new(), vec![false; batch.len()]);
    for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
        let first = span[0] + example.loss_from.saturating_sub(1);
        for (at, has) in (span[0]..).zip(&mut has[span[0]..span[1]]) {
            let row = at.checked_sub(first);
            let Some((row, captured)) = row.zip(example.captured.as_deref()).filter(|(row, c)| *row < c.rows.len())
            else {
                rows.push(&[], &[]);
                continue;
            };
            let (ids, log_probs) = captured.rows.row(row);
            if let Some(draws) = &captured.counts {
                rows.push(ids, log_probs);
                counts.extend_from_slice(&draws[captured.rows.offsets[row]..captured.rows.offsets[row + 1]]);
            } else {
                let (ids, log_probs) = likeliest(ids, log_probs, most);
                rows.push(&ids, &log_probs);
            }
            *has = !ids.is_empty();
        }
    }
    (rows, counts, has)
}

/// The `most` likeliest of some outcomes.
fn likeliest(ids: &[u32], log_probs: &[f32], most: usize) -> (Vec<u32>, Vec<f32>) {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| log_probs[b].total_cmp(&log_probs[a]).then(ids[a].cmp(&ids[b])));
    order.truncate(most);
    (order.iter().map(|&at| ids[at]).collect(), order.iter().map(|&at| log_probs[at]).collect())
}

/// What a dataset captured of a teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturedForm {
    /// So many of the likeliest outcomes of every token, at the least.
    TopK(usize),
    /// Draws.
    Sampled,
}

impl CapturedForm {
    /// The form that all of `examples` have, or nothing where one has none.
    pub fn of(examples: &[Example]) -> Option<Self> {
        let form = |captured: &Captured| match &captured.counts {
            Some(_) => Self::Sampled,
            None => {
                let widths = captured.rows.offsets.windows(2).map(|span| span[1] - span[0]);
                // Tokens of which nothing was captured count for nothing.
                Self::TopK(widths.filter(|&width| width > 0).min().unwrap_or(0))
            }
        };
        let mut forms = examples.iter().map(|example| example.captured.as_deref().map(form));
        let first = forms.next()??;
        forms.try_fold(first, |all, one| match (all, one?) {
            (Self::TopK(a), Self::TopK(b)) => Some(Self::TopK(a.min(b))),
            (Self::Sampled, Self::Sampled) => Some(Self::Sampled),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{pack, targets};
    use crate::objective::ObjectiveSettings;
    use std::sync::Arc;

    #[test]
    fn what_stands_in_the_teacher_s_prompt_is_learnt_as_it_is() -> Result<(), Error> {
        // Captured of all but the first two predicted tokens, which open the turn.
        let rows = SparseRows { offsets: vec![0, 0, 0, 1, 2], ids: vec![7, 9], log_probs: vec![-0.5, -0.5] };
        let captured = Some(Arc::new(Captured { rows, counts: None }));
        let example = Example { opening: 2, captured, ..Example::new(vec![1, 2, 4, 5, 7, 9], 2) };
        let terms = vec![
            Term::CrossEntropy { weight: 0.25 },
            Term::ForwardKl { weight: 0.5, temperature: 1.0, rows: Rows::TopK(1) },
        ];
        let settings = ObjectiveSettings { terms: terms.clone() };
        let objective = Objective::new(settings, Teacher::Captured(CapturedForm::TopK(1)), None)?;
        let examples = [example];
        let (batch, share) = (pack(&examples), 0.25);
        let next = targets(&examples, &batch, 1);
        let found = Targets::gather(&objective, &examples, &batch, &next, share, 0)?;
        assert_eq!(found.terms[0].1, [0.0, 0.0625, 0.0625, 0.0625, 0.0625, 0.0]);
        assert_eq!(found.terms[1].1, [0.0, 0.0, 0.0, 0.125, 0.125, 0.0]);
        assert_eq!(found.opening, [0.0, 0.125, 0.125, 0.0, 0.0, 0.0]);
        assert!(found.opening().is_some());
        Ok(())
    }
}
