//! What is minimised: a weighted sum of losses over the predicted tokens, the tokens further ahead where the model predicts
//! them, and the model's own regularisers.
//!
//! Every loss is a sum over rows divided by the targets of the whole step, whichever micro-batch they are in, so that
//! accumulation, packing and order change nothing. `settings` is what a recipe says, `targets` what a teacher says, and
//! the losses themselves are in `kernels/src/losses/`; `hidden` compares hidden states instead of distributions.

mod asked;
#[cfg(test)]
mod conformance;
mod draws;
mod hidden;
mod settings;
mod targets;

pub use hidden::Projected;
pub use settings::{Need, ObjectiveSettings, Rows, Term};
pub use targets::CapturedForm;

use crate::Error;
use crate::data::{Example, pack, targets};
use candle_core::Var;
use retort_kernels::losses::{CrossEntropy, RowLoss};
use retort_kernels::{TeacherLogits, Value, add, linear_loss, scale};
use retort_model::decoder::Trainable;
use retort_model::score::{Score, ScoreError};
use targets::{Target, Targets};

/// Where targets beyond the tokens come from.
#[derive(Clone, Copy)]
pub enum Teacher<'a> {
    None,
    /// From the traces, where they were captured.
    Captured(CapturedForm),
    /// From a model that is asked while training.
    Online(&'a (dyn Score + Sync)),
}

/// An objective with all that it needs.
#[derive(Clone)]
pub struct Objective<'a> {
    settings: ObjectiveSettings,
    teacher: Teacher<'a>,
    projection: Option<Var>,
    /// Decides, with the step and the sequence, what is drawn from a teacher.
    seed: u64,
}

/// The step that a micro-batch belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub step: u64,
    /// Tokens predicted in the whole step.
    pub targets: usize,
    pub sequences: usize,
}

/// The parts of a loss.
pub(crate) struct Loss {
    /// What is differentiated.
    pub total: Value,
    /// The sum of the objective's terms; this micro-batch's share of it.
    pub value: f64,
    /// Single terms by name, as they enter the total.
    pub terms: Vec<(&'static str, f64)>,
    /// Floating-point operations of the teacher.
    pub teacher_flops: f64,
}

impl<'a> Objective<'a> {
    /// Plain next-token prediction.
    pub fn cross_entropy() -> Self {
        Self { settings: ObjectiveSettings::default(), teacher: Teacher::None, projection: None, seed: 0 }
    }

    /// Refuses what `teacher` cannot give. `projection` is that of [`Projected`].
    pub fn new(settings: ObjectiveSettings, teacher: Teacher<'a>, projection: Option<Var>) -> Result<Self, Error> {
        settings.check()?;
        for term in &settings.terms {
            let need = term.need();
            let Some(want) = need.want() else { continue };
            let bad = |reason: String| Err(Error::Objective { loss: term.name(), reason });
            match (teacher, need) {
                (Teacher::None, _) => return bad(format!("needs a teacher that gives {need}")),
                (Teacher::Online(_), Need::Draws(None)) => {
                    return bad("needs `draws`, how many tokens to draw from the teacher".into());
                }
                (Teacher::Online(teacher), _) if !teacher.offer().covers(want) => {
                    let (model, offer) = (teacher.model(), teacher.offer());
                    return Err(ScoreError::NotOffered { model, want, offer }.into());
                }
                (Teacher::Captured(CapturedForm::Sampled), Need::Draws(Some(_))) => {
                    return bad("has `draws`, but the traces' captured draws have their own number".into());
                }
                (Teacher::Captured(CapturedForm::TopK(has)), Need::TopK(k)) if k > has => {
                    return bad(format!("needs {need}, and the traces captured {has}"));
                }
                (Teacher::Online(_), _)
                | (Teacher::Captured(CapturedForm::Sampled), Need::Draws(_))
                | (Teacher::Captured(CapturedForm::TopK(_)), Need::TopK(_)) => {}
                (Teacher::Captured(form), _) => {
                    let has = match form {
                        CapturedForm::TopK(k) => Need::TopK(k),
                        CapturedForm::Sampled => Need::Draws(None),
                    };
                    return bad(format!("needs {need}, and the traces captured {has}"));
                }
            }
        }
        Ok(Self { settings, teacher, projection, seed: 0 })
    }

    /// The same with other draws from a teacher.
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// What tells this objective from another.
    pub(crate) fn identity(&self) -> serde_json::Value {
        let teacher = match self.teacher {
            Teacher::None => "none".into(),
            Teacher::Captured(_) => "captured".into(),
            Teacher::Online(teacher) => teacher.model(),
        };
        serde_json::json!({ "terms": self.settings.terms, "teacher": teacher, "seed": self.seed })
    }

    /// The loss of one micro-batch.
    pub(crate) fn loss(&self, model: &dyn Trainable, examples: &[Example], step: Step) -> Result<Loss, Error> {
        let batch = pack(examples);
        let output = model.forward_train(&batch)?;
        let share = 1.0 / step.targets as f64;
        let next = targets(examples, &batch, 1);
        let found = Targets::gather(self, examples, &batch, &next, share, step.step)?;
        let losses = found.losses(&self.settings.terms);
        let (opening, told) = (found.opening(), found.told(&self.settings.terms));
        let rows = losses.iter().flatten().chain(opening.iter().chain(&told).map(|(_, loss)| loss));
        let rows: Vec<&dyn RowLoss> = rows.map(|loss| &**loss).collect();
        let teacher = found.asked.as_ref().map(|asked| asked as &dyn TeacherLogits);
        let by_row = linear_loss(&output.hidden_nd, &output.head_vd, teacher, &rows)?;
        let mut total = by_row.total;
        let mut values = by_row.terms.into_iter();
        let mut terms = Vec::new();
        for ((term, loss), (target, weights)) in self.settings.terms.iter().zip(&losses).zip(&found.terms) {
            let value = match (loss, target) {
                (None, Target::Hidden(teacher_nd)) => {
                    let loss = hidden::distance(&output.hidden_nd, self.projection.as_ref(), teacher_nd, weights)?;
                    total = add(&total, &loss)?;
                    loss.to_scalar()?
                }
                (Some(_), _) => values.next().unwrap_or(0.0),
                // Hidden states, of no row.
                (None, _) => 0.0,
            };
            terms.push((term.name(), value));
        }
        terms.extend(opening.iter().map(|(name, _)| *name).zip(&mut values));
        let value = terms.iter().map(|(_, value)| value).sum();
        if terms.len() == 1 {
            terms.clear();
        }
        terms.extend(told.iter().map(|(name, _)| *name).zip(values));
        for ahead in &output.ahead {
            let targets = targets(examples, &batch, ahead.distance);
            let weight = (ahead.weight * share) as f32;
            let weights: Vec<f32> = targets.iter().map(|target| target.map_or(0.0, |_| weight)).collect();
            let targets: Vec<u32> = targets.iter().map(|target| target.unwrap_or(0)).collect();
            let term = CrossEntropy { targets: &targets, weights: &weights };
            let term = linear_loss(&ahead.hidden_nd, &output.head_vd, None, &[&term])?.total;
            terms.push(("ahead", term.to_scalar()?));
            total = add(&total, &term)?;
        }
        for (name, term) in output.regularisers {
            let term = scale(&term, 1.0 / step.sequences as f64)?;
            terms.push((name, term.to_scalar()?));
            total = add(&total, &term)?;
        }
        let teacher_flops = found.asked.as_ref().map_or(0.0, |asked| asked.flops());
        Ok(Loss { total, value, terms, teacher_flops })
    }
}
