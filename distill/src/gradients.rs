//! The gradients of one step: its micro-batches run side by side, one to a worker, and are summed in their order.
//!
//! A worker is a thread of its own: nothing inside a forward or backward pass waits for another core, which for small
//! models is worth far more than splitting every matrix product. The sum's order is fixed, so the number of workers
//! changes nothing in the result.

use crate::Error;
use crate::data::{Example, micro_batches};
use crate::objective::loss;
use candle_core::Tensor;
use rayon::{ThreadPool, ThreadPoolBuilder};
use retort_model::decoder::Trainable;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Models with more parameters run one micro-batch at a time, on all cores: another copy of the gradients would cost
/// more memory than it saves time.
const SIDE_BY_SIDE_PARAMETERS: usize = 64_000_000;

/// The outcome of forward and backward passes.
#[derive(Default)]
pub(crate) struct Pass {
    /// In the order of the model's parameters.
    pub gradients: Vec<Tensor>,
    /// Mean next-token loss over the step's targets.
    pub loss: f64,
    pub terms: Vec<(&'static str, f64)>,
    pub tokens: u64,
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
        Ok(())
    }
}

/// The threads that work on a run.
pub(crate) struct Workers {
    /// One thread each; none where micro-batches go one at a time.
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// Workers for `model`, as many as there are threads.
    pub(crate) fn new(model: &dyn Trainable) -> Result<Self, Error> {
        let parameters: usize = model.parameters().iter().map(|(_, var)| var.elem_count()).sum();
        let count = if parameters > SIDE_BY_SIDE_PARAMETERS { 0 } else { rayon::current_num_threads() };
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| Error::Threads(e.to_string()));
        Ok(Self { pools: (0..count).map(pool).collect::<Result<_, _>>()? })
    }

    /// Loss and gradients of step `step` over `examples`, `budget` tokens at a time.
    pub(crate) fn pass(
        &self,
        model: &dyn Trainable,
        examples: &[Example],
        budget: usize,
        step: u64,
    ) -> Result<Pass, Error> {
        let targets: usize = examples.iter().map(Example::targets).sum();
        if targets == 0 {
            return Err(Error::EmptyStep { step });
        }
        let batches = micro_batches(examples, budget);
        let one = |index: usize| micro_batch(model, batches[index], targets, batches.len());
        if batches.len() == 1 || self.pools.len() < 2 {
            let mut total = Pass::default();
            (0..batches.len()).try_for_each(|index| total.add(one(index)?))?;
            return Ok(total);
        }
        let next = AtomicUsize::new(0);
        let sum = Mutex::new(OrderedSum::default());
        let work = || -> Result<(), Error> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= batches.len() {
                    return Ok(());
                }
                let part = one(index)?;
                sum.lock().unwrap_or_else(PoisonError::into_inner).add(index, part)?;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.pools.iter().map(|pool| scope.spawn(|| pool.install(work))).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner).total)
    }
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

fn micro_batch(
    model: &dyn Trainable,
    examples: &[Example],
    step_targets: usize,
    micro_batches: usize,
) -> Result<Pass, Error> {
    let loss = loss(model, examples, step_targets, micro_batches)?;
    let mut found = loss.total.backward()?;
    let gradients = model.parameters().iter().map(|(_, var)| match found.take(var) {
        Some(gradient) => Ok(gradient),
        // A parameter that this micro-batch did not reach (an expert without tokens) moves by zero.
        None => var.zeros_like(),
    });
    Ok(Pass {
        gradients: gradients.collect::<Result<_, _>>()?,
        loss: loss.next_token,
        terms: loss.terms,
        tokens: examples.iter().map(|example| example.tokens.len() as u64).sum(),
    })
}
