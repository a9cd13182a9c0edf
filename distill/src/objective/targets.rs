//! What the terms of an objective hold against the student: a teacher's rows for one micro-batch, asked for once for each
//! kind, or taken from what was captured with the traces.

use super::settings::{Rows, Term};
use super::{Objective, Teacher};
use crate::Error;
use crate::data::{Captured, Example};
use candle_core::Tensor;
use retort_kernels::Weight;
use retort_kernels::losses::{
    CrossEntropy, Dense, ForwardKl, JensenShannon, Pointwise, ReverseKl, RowLoss, Sampled, SampledReverseKl, SkewedKl,
    SkewedReverseKl, Sorted, SparseRows, TopK,
};
use retort_model::batch::Batch;
use retort_model::score::{Kind, Scores};

/// A teacher's rows for one term; row i belongs to row i of the student's batch.
pub(super) enum Target {
    /// The next token is all there is, or the shared logits of the teacher.
    None,
    TopK(SparseRows),
    Sampled(SparseRows, Vec<u32>),
    Next(Vec<f32>),
    Hidden(Tensor),
}

/// The targets of a micro-batch.
pub(super) struct Targets {
    /// By term.
    pub terms: Vec<(Target, Vec<f32>)>,
    /// Hidden states [n, d'] and head of the teacher, where a term sees all its outcomes.
    pub full: Option<(Tensor, Weight)>,
    /// The token after each row; 0 where there is none to predict.
    pub next: Vec<u32>,
}

impl Targets {
    /// Gathers what `objective` needs for `examples`, packed as `batch`; `next` says which rows predict what.
    ///
    /// A row's weight is its term's times `share`.
    pub(super) fn gather(
        objective: &Objective,
        examples: &[Example],
        batch: &Batch,
        next: &[Option<u32>],
        share: f64,
        step: u64,
    ) -> Result<Self, Error> {
        let wanted: Vec<bool> = next.iter().map(Option::is_some).collect();
        let mut gathered =
            Self { terms: Vec::new(), full: None, next: next.iter().map(|token| token.unwrap_or(0)).collect() };
        for term in &objective.settings.terms {
            let mut counted = wanted.clone();
            let target = match (&objective.teacher, term.kind(step)) {
                (_, None) => Target::None,
                (Teacher::Online(teacher), Some(Kind::Full)) => {
                    if gathered.full.is_none() {
                        let (hidden, head, aligned) = full(*teacher, examples, batch, &wanted)?;
                        gathered.full = Some((hidden, head));
                        counted = aligned;
                    } else if examples.iter().any(|example| example.translation.is_some()) {
                        counted = aligned_rows(examples, batch).iter().map(Option::is_some).collect();
                    }
                    Target::None
                }
                (Teacher::Online(teacher), Some(kind)) => match teacher.score(batch, &wanted, kind)? {
                    Scores::TopK(rows) => Target::TopK(rows),
                    Scores::Sampled { rows, counts } => Target::Sampled(rows, counts),
                    Scores::Next(log_probs) => Target::Next(log_probs),
                    Scores::Hidden(hidden_nd) => Target::Hidden(hidden_nd),
                    Scores::Full { .. } => Target::None,
                },
                (_, Some(_)) => {
                    let (rows, counts, has) = captured(term, examples, batch)?;
                    counted.iter_mut().zip(has).for_each(|(counted, has)| *counted &= has);
                    match term {
                        Term::Sampled { .. } => Target::Sampled(rows, counts),
                        _ => Target::TopK(rows),
                    }
                }
            };
            let weight = (term.weight() * share) as f32;
            let weights =
                counted.into_iter().zip(&wanted).map(|(counted, &wanted)| if counted && wanted { weight } else { 0.0 });
            gathered.terms.push((target, weights.collect()));
        }
        Ok(gathered)
    }

    /// The losses over rows of logits, by term; none for a term that is not one.
    pub(super) fn losses(&self, terms: &[Term]) -> Vec<Option<Box<dyn RowLoss + '_>>> {
        let pairs = terms.iter().zip(&self.terms);
        pairs.map(|(term, (target, weights))| self.loss(*term, target, weights)).collect()
    }

    fn loss<'a>(&'a self, term: Term, target: &'a Target, weights: &'a [f32]) -> Option<Box<dyn RowLoss + 'a>> {
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
                Box::new(SampledReverseKl { tokens: &self.next, log_probs, weights })
            }
            (Term::Sorted { .. }, _) => Box::new(Sorted { temperature, weights }),
            _ => return None,
        })
    }
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

/// Hidden states and head of the teacher, its rows brought to those of the student; which rows have one.
fn full(
    teacher: &dyn retort_model::score::Score,
    examples: &[Example],
    batch: &Batch,
    wanted: &[bool],
) -> Result<(Tensor, Weight, Vec<bool>), Error> {
    let ask = |batch: &Batch, wanted: &[bool]| match teacher.score(batch, wanted, Kind::Full)? {
        Scores::Full { hidden_nd, head } => Ok((hidden_nd, head)),
        _ => Err(Error::Objective { loss: "teacher", reason: "was answered with rows of another kind".into() }),
    };
    if examples.iter().all(|example| example.translation.is_none()) {
        let (hidden_nd, head) = ask(batch, wanted)?;
        return Ok((hidden_nd, head, wanted.to_vec()));
    }
    let theirs = Batch::packed(
        examples
            .iter()
            .map(|example| example.translation.as_ref().map_or(&example.tokens, |translation| &translation.tokens)),
    );
    let (hidden_md, head) = ask(&theirs, &vec![true; theirs.len()])?;
    let rows = aligned_rows(examples, batch);
    let index = Tensor::from_iter(rows.iter().map(|row| row.unwrap_or(0) as u32), hidden_md.device())?;
    Ok((hidden_md.index_select(&index, 0)?, head, rows.iter().map(Option::is_some).collect()))
}

/// For each row of the student's batch the row of the translations' batch that stands at the same place of the text.
fn aligned_rows(examples: &[Example], batch: &Batch) -> Vec<Option<usize>> {
    let mut rows = vec![None; batch.len()];
    let mut start = 0;
    for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
        match &example.translation {
            Some(translation) => {
                for &(ours, theirs) in &translation.rows {
                    rows[span[0] + ours] = Some(start + theirs);
                }
                start += translation.tokens.len();
            }
            None => start += example.tokens.len(),
        }
    }
    rows
}

/// Captured rows of a batch for `term`, their counts, and which rows have some.
fn captured(term: &Term, examples: &[Example], batch: &Batch) -> Result<(SparseRows, Vec<u32>, Vec<bool>), Error> {
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
    Ok((rows, counts, has))
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
            None => Self::TopK(captured.rows.offsets.windows(2).map(|span| span[1] - span[0]).min().unwrap_or(0)),
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
