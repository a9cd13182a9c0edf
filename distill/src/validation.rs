//! Looks at examples that are never trained on: when, how they compare, and the weights of the best of them.

use crate::Error;
use crate::data::{Example, micro_batches};
use crate::objective::{Objective, Step};
use crate::state;
use candle_core::{Tensor, Var};
use retort_model::decoder::Trainable;
use serde::Serialize;
use std::path::Path;

/// Examples that are never trained on, scored now and then.
#[derive(Debug, Clone, Copy)]
pub struct Validation<'a> {
    pub examples: &'a [Example],
    /// Steps between two looks.
    pub every: u64,
    /// Early stopping: ends after this many looks without a lower loss, with the weights of the best look.
    pub patience: Option<u32>,
}

/// The lowest validation loss of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Best {
    pub step: u64,
    pub loss: f64,
}

/// The looks of one run.
pub(crate) struct Looks<'a> {
    validation: Option<Validation<'a>>,
    pub best: Option<Best>,
    /// Looks since the best one.
    worse: u32,
    /// Of the best look, where the run ends with them.
    weights: Vec<Tensor>,
}

impl<'a> Looks<'a> {
    pub(crate) fn new(validation: Option<Validation<'a>>) -> Self {
        Self { validation, best: None, worse: 0, weights: Vec::new() }
    }

    /// Looks, if it is time after `step` steps; the weights of a best look also go to `folder`, where one is given.
    pub(crate) fn look(
        &mut self,
        model: &dyn Trainable,
        objective: &Objective,
        budget: usize,
        (step, is_last): (u64, bool),
        folder: Option<&Path>,
    ) -> Result<Option<f64>, Error> {
        let Some(validation) = self.validation.filter(|v| is_last || step.is_multiple_of(v.every)) else {
            return Ok(None);
        };
        let loss = mean_loss(model, objective, validation.examples, budget)?;
        if self.best.is_some_and(|best| loss >= best.loss) {
            self.worse += 1;
            return Ok(Some(loss));
        }
        self.best = Some(Best { step, loss });
        self.worse = 0;
        if validation.patience.is_some() {
            self.weights = weights(model).iter().map(|var| var.copy()).collect::<Result<_, _>>()?;
        }
        if let Some(folder) = folder {
            state::save_best(folder, model, step, loss)?;
        }
        Ok(Some(loss))
    }

    /// Whether there were too many looks since the best one.
    pub(crate) fn is_over(&self) -> bool {
        self.validation.and_then(|validation| validation.patience).is_some_and(|patience| self.worse >= patience)
    }

    /// Goes back to the weights of the best look, where the run is to end with them.
    pub(crate) fn restore(&self, model: &dyn Trainable) -> Result<(), Error> {
        for (var, best) in weights(model).iter().zip(&self.weights) {
            var.set(best)?;
        }
        Ok(())
    }
}

/// Everything that training changes in a model.
fn weights(model: &dyn Trainable) -> Vec<Var> {
    let parameters = model.parameters().iter().map(|(_, var)| var.clone());
    parameters.chain(model.buffers().into_iter().map(|(_, var)| var)).collect()
}

/// The objective's mean over all targets of `examples`.
fn mean_loss(model: &dyn Trainable, objective: &Objective, examples: &[Example], budget: usize) -> Result<f64, Error> {
    let targets: usize = examples.iter().map(Example::targets).sum();
    let shape = Step { step: 0, targets: targets.max(1), sequences: examples.len() };
    let mut total = 0.0;
    for batch in micro_batches(examples, budget) {
        total += objective.loss(model, batch, shape)?.value;
    }
    Ok(total)
}
