//! The gradients of one step: its micro-batches run side by side, one to a worker, and are summed in their order.
//!
//! The sum's order is fixed, so the number of workers changes nothing in the result.

use crate::Error;
use crate::data::{Example, micro_batches};
use crate::flops::Flops;
use crate::objective::{Objective, Step};
use candle_core::Tensor;
use retort_kernels::MatmulPrecision;
use retort_model::decoder::Trainable;
use retort_model::workers::Workers;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The outcome of forward and backward passes.
#[derive(Default)]
pub(crate) struct Pass {
    /// In the order of the model's parameters.
    pub gradients: Vec<Tensor>,
    /// The objective: the mean of its terms over the step's targets.
    pub loss: f64,
    pub terms: Vec<(&'static str, f64)>,
    pub tokens: u64,
    /// Of these passes and of the teacher beside them.
    pub flops: Flops,
    /// Time of the way forward and of the way back; of micro-batches side by side, their mean over the workers.
    pub forward: Duration,
    pub backward: Duration,
}

/// What to do where a micro-batch does not fit.
const SMALLER: &str = "lower `micro_batch_tokens`, or set `recompute = true`: with either the same command goes on from the \
                       last checkpoint";

/// How a step is taken apart, and computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// The most tokens of a micro-batch.
    pub tokens: usize,
    pub precision: MatmulPrecision,
}

impl Pass {
    fn add(&mut self, other: Self) -> Result<(), Error> {
        if self.gradients.is_empty() {
            self.gradients = other.gradients;
        } else {
            for (sum, part) in self.gradients.iter_mut().zip(other.gradients) {
                *sum = retort_kernels::sum(vec![sum.clone(), part])?;
            }
        }
        self.loss += other.loss;
        self.terms.extend(other.terms);
        self.tokens += other.tokens;
        self.flops += other.flops;
        self.forward += other.forward;
        self.backward += other.backward;
        Ok(())
    }
}

/// Loss and gradients of step `step` over the examples `all`, as `budget` says.
pub(crate) fn pass(
    model: &dyn Trainable,
    objective: &Objective,
    workers: &Workers,
    all: &[Example],
    budget: Budget,
    step: u64,
) -> Result<Pass, Error> {
    let targets: usize = all.iter().map(Example::targets).sum();
    if targets == 0 {
        return Err(Error::EmptyStep { step });
    }
    let shape = Step { step, targets, sequences: all.len() };
    let batches = micro_batches(all, budget.tokens);
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(OrderedSum::default());
    let work = |_: &mut ()| -> Result<(), Error> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(examples) = batches.get(index) else { return Ok(()) };
            let part = budget.precision.within(|| micro_batch(model, objective, examples, shape));
            let tokens = || examples.iter().map(|example| example.tokens.len()).sum::<usize>();
            let what = || format!("a micro-batch of {} tokens", tokens());
            let part = part.map_err(|error| error.of_memory(model.decoder().device(), what, SMALLER))?;
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(index, part)?;
        }
    };
    let mut hands = vec![(); workers.count().min(batches.len())];
    workers.map(&mut hands, work).into_iter().collect::<Result<(), _>>()?;
    let total = sum.into_inner().unwrap_or_else(PoisonError::into_inner).total;
    let hands = hands.len() as u32;
    Ok(Pass { forward: total.forward / hands, backward: total.backward / hands, ..total })
}

/// Sums passes in the order of their index, whatever the order in which they arrive.
#[derive(Default)]
struct OrderedSum {
    total: Pass,
    summed: usize,
    early: BTreeMap<usize, Pass>,
}

impl OrderedSum {
    fn add(&mut self, index: usize, pass: Pass) -> Result<(), Error> {
        self.early.insert(index, pass);
        while let Some(pass) = self.early.remove(&self.summed) {
            self.total.add(pass)?;
            self.summed += 1;
        }
        Ok(())
    }
}

fn micro_batch(model: &dyn Trainable, objective: &Objective, examples: &[Example], step: Step) -> Result<Pass, Error> {
    let begin = Instant::now();
    let loss = objective.loss(model, examples, step)?;
    let forward = begin.elapsed();
    let mut found = loss.total.backward()?;
    let backward = begin.elapsed() - forward;
    let operations = model.training_operations();
    let training = examples.iter().map(|example| operations.sequence(example.tokens.len(), example.targets())).sum();
    let gradients = model.parameters().iter().map(|(_, var)| match found.take(var) {
        Some(gradient) => Ok(gradient),
        // A parameter that this micro-batch did not reach (an expert without tokens) moves by zero.
        None => var.zeros_like(),
    });
    Ok(Pass {
        gradients: gradients.collect::<Result<_, _>>()?,
        loss: loss.value,
        terms: loss.terms,
        tokens: examples.iter().map(|example| example.tokens.len() as u64).sum(),
        flops: Flops { training, teacher: loss.teacher_flops, completions: 0.0 },
        forward,
        backward,
    })
}
