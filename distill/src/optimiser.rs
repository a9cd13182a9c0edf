//! AdamW over all parameters of a model, with clipping by the global norm.

use crate::Error;
use candle_core::{Result, Tensor, Var};
use retort_kernels::{AdamW, Moments, adamw_step, sum_of_squares};
use serde::{Deserialize, Serialize};

/// Settings that stay the same during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Applied to matrices; norms and biases do not decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    pub max_grad_norm: f64,
    /// What the moments are kept in.
    pub moments: MomentFormat,
    /// Parameters with settings of their own; of several that fit, the first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

/// What moments are kept in between steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MomentFormat {
    /// 8 bytes a weight
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// 2 bytes a weight, in blocks with a scale of their own (8-bit AdamW, arXiv 2110.02861)
    #[serde(rename = "8bit")]
    Coded,
}

/// Tensors with fewer weights keep exact moments (as `min_8bit_size` of bitsandbytes).
const FEWEST_CODED: usize = 4096;

impl MomentFormat {
    /// Moments of a parameter before the first step.
    fn zeros(self, parameter: &Var) -> candle_core::Result<Moments> {
        match self.codes(parameter.elem_count()) {
            true => Moments::coded_beside(parameter),
            false => Moments::beside(parameter),
        }
    }

    /// Whether the moments of a tensor of `n` weights are kept in codes.
    fn codes(self, n: usize) -> bool {
        self == Self::Coded && n >= FEWEST_CODED
    }

    /// Bytes that the moments of a tensor of `n` weights take.
    pub(crate) fn bytes(self, n: usize) -> usize {
        if self.codes(n) { Moments::coded_bytes(n) } else { Moments::exact_bytes(n) }
    }
}

/// Settings of the parameters whose name contains `pattern`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub pattern: String,
    /// Factor of the learning rate.
    #[serde(default = "one")]
    pub learning_rate: f64,
    /// In place of the decay of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            max_grad_norm: 1.0,
            moments: MomentFormat::F32,
            groups: vec![],
        }
    }
}

/// First and second moments of every parameter.
pub(crate) struct Optimiser {
    pub moments: Vec<Moments>,
    /// Factor of the learning rate, and weight decay, of each.
    rates: Vec<(f64, f64)>,
    settings: OptimiserSettings,
}

impl Optimiser {
    /// Refuses a group that no parameter belongs to.
    pub(crate) fn new(parameters: &[(String, Var)], settings: &OptimiserSettings) -> std::result::Result<Self, Error> {
        if let Some(group) = settings.groups.iter().find(|group| !parameters.iter().any(|(name, _)| group.holds(name)))
        {
            let allowed = "a part of the name of some parameter";
            return Err(Error::Setting { field: "optimiser.groups.pattern", value: group.pattern.clone(), allowed });
        }
        let rates = parameters.iter().map(|(name, var)| {
            let decay = if var.rank() >= 2 { settings.weight_decay } else { 0.0 };
            let group = settings.groups.iter().find(|group| group.holds(name));
            group.map_or((1.0, decay), |group| (group.learning_rate, group.weight_decay.unwrap_or(decay)))
        });
        Ok(Self {
            moments: parameters
                .iter()
                .map(|(_, var)| settings.moments.zeros(var))
                .collect::<std::result::Result<_, _>>()?,
            rates: rates.collect(),
            settings: settings.clone(),
        })
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
        let s = &self.settings;
        let gradient_scale = if norm > s.max_grad_norm { s.max_grad_norm / norm } else { 1.0 };
        let moments = self.moments.iter_mut().zip(&self.rates);
        for (((_, var), gradient), (moments, &(factor, weight_decay))) in parameters.iter().zip(gradients).zip(moments)
        {
            let settings = AdamW {
                learning_rate: learning_rate * factor,
                beta1: s.beta1,
                beta2: s.beta2,
                eps: s.eps,
                weight_decay,
                step,
                gradient_scale,
            };
            adamw_step(var, gradient, moments, settings)?;
        }
        Ok(())
    }
}

impl Group {
    fn holds(&self, name: &str) -> bool {
        name.contains(&self.pattern)
    }
}

/// The Euclidean norm of all gradients together.
pub(crate) fn global_norm(gradients: &[Tensor]) -> Result<f64> {
    sum_of_squares(gradients).map(f64::sqrt)
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
        let groups = vec![];
        let settings = OptimiserSettings {
            beta1,
            beta2,
            eps,
            weight_decay,
            max_grad_norm: f64::INFINITY,
            groups,
            ..Default::default()
        };
        // A matrix: vectors would not decay.
        let var = Var::from_vec(recorded.start, (2, 3), &Device::Cpu)?;
        let parameters = [("w".to_string(), var.clone())];
        let mut optimiser = Optimiser::new(&parameters, &settings).expect("no groups");
        for (step, (gradient, expected)) in (1..).zip(recorded.gradients.into_iter().zip(&recorded.after_step_f64)) {
            let gradient = Tensor::from_vec(gradient, (2, 3), &Device::Cpu)?;
            optimiser.step(&parameters, &[gradient], 1.0, lr, step)?;
            for (found, expected) in var.flatten_all()?.to_vec1::<f32>()?.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 2e-6, "step {step}: {found} against {expected}");
            }
        }
        Ok(())
    }

    #[test]
    fn groups_have_their_own_rate_and_decay() -> Result<()> {
        let var =
            |name: &str| Ok::<_, candle_core::Error>((name.to_string(), Var::new(&[[1f32, -2.0]], &Device::Cpu)?));
        let parameters = [var("embed.weight")?, var("layer.weight")?, var("frozen.weight")?];
        let group =
            |pattern: &str, learning_rate, weight_decay| Group { pattern: pattern.into(), learning_rate, weight_decay };
        let groups = vec![group("embed", 0.5, Some(0.0)), group("frozen", 0.0, None)];
        let settings = OptimiserSettings { weight_decay: 0.1, groups, ..OptimiserSettings::default() };
        let mut optimiser = Optimiser::new(&parameters, &settings).expect("all groups have parameters");
        let gradients: Vec<Tensor> =
            (0..3).map(|_| Tensor::new(&[[0.3f32, -0.3]], &Device::Cpu)).collect::<Result<_>>()?;
        optimiser.step(&parameters, &gradients, 0.0, 0.1, 1)?;
        // The first step of Adam moves by the rate, towards the gradient's sign; decay takes rate * decay of the weight.
        for ((_, var), expected) in parameters.iter().zip([[0.95, -1.95], [0.89, -1.88], [1.0, -2.0]]) {
            for (found, expected) in var.flatten_all()?.to_vec1::<f32>()?.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} against {expected}");
            }
        }
        let unknown = OptimiserSettings { groups: vec![group("head", 1.0, None)], ..settings };
        assert!(Optimiser::new(&parameters, &unknown).is_err());
        Ok(())
    }
}
