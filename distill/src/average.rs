//! A running mean of the weights, with which a run ends (Polyak averaging; as an exponential mean, Izmailov et al., arXiv
//! 1803.05407, and the warm-up of tensorflow's `ExponentialMovingAverage`).
//!
//! a = d a + (1 - d) w after every step, with d = min(decay, (1 + t) / (10 + t)) at step t, so that the start is forgotten.

use crate::Error;
use candle_core::{Tensor, Var};
use retort_model::decoder::Trainable;

/// The mean of every parameter, in the model's order.
pub(crate) struct Average {
    decay: f64,
    pub weights: Vec<Vec<f32>>,
}

impl Average {
    /// Starts at the weights as they are.
    pub(crate) fn new(model: &dyn Trainable, decay: f64) -> Result<Self, Error> {
        let numbers = |(_, var): &(String, Var)| var.flatten_all()?.to_vec1();
        Ok(Self { decay, weights: model.parameters().iter().map(numbers).collect::<Result<_, _>>()? })
    }

    /// Takes in the weights after `step` steps.
    pub(crate) fn add(&mut self, model: &dyn Trainable, step: u64) -> Result<(), Error> {
        let d = self.decay.min((1 + step) as f64 / (10 + step) as f64) as f32;
        for ((_, var), mean) in model.parameters().iter().zip(&mut self.weights) {
            let weights = var.flatten_all()?.to_vec1::<f32>()?;
            mean.iter_mut().zip(weights).for_each(|(mean, w)| *mean = d * *mean + (1.0 - d) * w);
        }
        Ok(())
    }

    /// Runs `f` with the mean in place of the weights.
    pub(crate) fn with<R>(&self, model: &dyn Trainable, f: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
        let copies = model.parameters().iter().map(|(_, var)| var.copy());
        let before: Vec<Tensor> = copies.collect::<Result<_, _>>()?;
        self.apply(model)?;
        let result = f();
        for ((_, var), before) in model.parameters().iter().zip(&before) {
            var.set(before)?;
        }
        result
    }

    /// Puts the mean in place of the weights.
    pub(crate) fn apply(&self, model: &dyn Trainable) -> Result<(), Error> {
        for ((_, var), mean) in model.parameters().iter().zip(&self.weights) {
            var.set(&Tensor::from_slice(mean, var.shape(), var.device())?)?;
        }
        Ok(())
    }
}
