//! AdamW over all parameters of a model, with clipping by the global norm.

use candle_core::{Result, Tensor, Var};
use retort_kernels::{AdamW, adamw_step, sum_of_squares};
use serde::{Deserialize, Serialize};

/// Settings that stay the same during a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Applied to matrices; norms and biases do not decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    pub max_grad_norm: f64,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0 }
    }
}

/// First and second moments of every parameter.
pub(crate) struct Optimiser {
    pub moments: Vec<(Vec<f32>, Vec<f32>)>,
    settings: OptimiserSettings,
}

impl Optimiser {
    pub(crate) fn new(parameters: &[(String, Var)], settings: OptimiserSettings) -> Self {
        let zeros = |var: &Var| vec![0f32; var.elem_count()];
        Self { moments: parameters.iter().map(|(_, var)| (zeros(var), zeros(var))).collect(), settings }
    }

    /// Moves `parameters` by `gradients` (in the same order), `step` counted from 1.
    pub(crate) fn step(
        &mut self,
        parameters: &[(String, Var)],
        gradients: &[Tensor],
        norm: f64,
        learning_rate: f64,
        step: u64,
    ) -> Result<()> {
        let s = self.settings;
        let gradient_scale = if norm > s.max_grad_norm { s.max_grad_norm / norm } else { 1.0 };
        for (((_, var), gradient), (m, v)) in parameters.iter().zip(gradients).zip(&mut self.moments) {
            let settings = AdamW {
                learning_rate,
                beta1: s.beta1,
                beta2: s.beta2,
                eps: s.eps,
                weight_decay: if var.rank() >= 2 { s.weight_decay } else { 0.0 },
                step,
                gradient_scale,
            };
            adamw_step(var, gradient, m, v, settings)?;
        }
        Ok(())
    }
}

/// The Euclidean norm of all gradients together.
pub(crate) fn global_norm(gradients: &[Tensor]) -> Result<f64> {
    gradients.iter().map(sum_of_squares).sum::<Result<f64>>().map(f64::sqrt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use serde::Deserialize;

    /// Steps of `torch.optim.AdamW`, made by `model/reference/make_fixtures.py`.
    #[derive(Deserialize)]
    struct Recorded {
        settings: RecordedSettings,
        start: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        after_step_f64: Vec<Vec<f64>>,
    }

    #[derive(Deserialize)]
    struct RecordedSettings {
        lr: f64,
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
    }

    #[test]
    fn follows_torch() -> Result<()> {
        let recorded: Recorded =
            serde_json::from_str(include_str!("../tests/fixtures/adamw.json")).expect("a recorded run");
        let RecordedSettings { lr, betas: [beta1, beta2], eps, weight_decay } = recorded.settings;
        let settings = OptimiserSettings { beta1, beta2, eps, weight_decay, max_grad_norm: f64::INFINITY };
        // A matrix: vectors would not decay.
        let var = Var::from_vec(recorded.start, (2, 3), &Device::Cpu)?;
        let parameters = [("w".to_string(), var.clone())];
        let mut optimiser = Optimiser::new(&parameters, settings);
        for (step, (gradient, expected)) in (1..).zip(recorded.gradients.into_iter().zip(&recorded.after_step_f64)) {
            let gradient = Tensor::from_vec(gradient, (2, 3), &Device::Cpu)?;
            optimiser.step(&parameters, &[gradient], 1.0, lr, step)?;
            for (found, expected) in var.flatten_all()?.to_vec1::<f32>()?.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 2e-6, "step {step}: {found} against {expected}");
            }
        }
        Ok(())
    }
}
