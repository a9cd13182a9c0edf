//! Pretraining a DeepSeek-V3-style model: multi-token prediction and load balance (arXiv 2412.19437, section 2.1.2, 2.2).
//!
//! Balance comes from the selection bias, moved by gamma after each step against the sign of an expert's excess load,
//! with no gradient involved; a small sequence-wise loss keeps single sequences from extremes:
//! alpha sum_e f_e P_e, f_e = E / (k T) count_e, P_e = mean over the sequence of the normalised scores.

use crate::config::Config;
use crate::model::{DeepSeek, Pass};
use crate::router::Routing;
use crate::weights::published;
use candle_core::{Device, Tensor, Var};
use retort_kernels::{Value, add, lift, scale};
use retort_model::Error;
use retort_model::batch::Batch;
use retort_model::decoder::{Ahead, Decoder, TrainOutput, Trainable};
use retort_model::operations::Operations;
use retort_model::params::{Source, trainable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What pretraining adds to the plain loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// Weight of the multi-token-prediction loss (lambda; 0.3, later 0.1 in DeepSeek-V3).
    pub mtp_weight: f64,
    /// Weight of the sequence-wise balance loss (alpha; 1e-4 in DeepSeek-V3).
    pub balance_weight: f64,
    /// Step of the router biases (gamma; 1e-3 in DeepSeek-V3).
    pub bias_step: f64,
    /// The share of the run after which the biases rest (gamma 0).
    pub bias_until: f64,
}

/// A model with variables instead of fixed weights.
pub struct Trainee {
    model: DeepSeek,
    parameters: Vec<(String, Var)>,
    biases: Vec<Bias>,
    /// For each expert layer how many rows each expert has seen since the last step.
    loads: Mutex<BTreeMap<usize, Vec<u64>>>,
    settings: Pretraining,
}

/// The selection bias of an expert layer. It is moved by hand, so no gradient reaches it.
struct Bias {
    name: String,
    layer: usize,
    var: Var,
}

impl Trainee {
    pub fn new(config: Config, source: Box<dyn Source>, settings: Pretraining, device: &Device) -> Result<Self, Error> {
        let (model, all) = trainable(source, device, |params| DeepSeek::new(config, params))?;
        let (mut parameters, mut biases) = (Vec::new(), Vec::new());
        for (name, var) in all {
            let layer = name
                .strip_prefix("model.layers.")
                .and_then(|rest| rest.strip_suffix(".mlp.gate.e_score_correction_bias"))
                .and_then(|layer| layer.parse().ok());
            match layer {
                Some(layer) => biases.push(Bias { name, layer, var }),
                None => parameters.push((name, var)),
            }
        }
        Ok(Self { model, parameters, biases, loads: Mutex::default(), settings })
    }

    pub fn model(&self) -> &DeepSeek {
        &self.model
    }

    /// Adds the rows of a pass to the experts' loads.
    fn count(&self, routings: &[(usize, Routing)]) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        for (layer, routing) in routings {
            let counts = loads.entry(*layer).or_insert_with(|| vec![0; routing.offsets.len() - 1]);
            counts
                .iter_mut()
                .zip(routing.offsets.windows(2))
                .for_each(|(count, span)| *count += (span[1] - span[0]) as u64);
        }
    }

    /// The sequence-wise balance loss of all expert layers of a pass, summed over sequences, before alpha.
    fn balance_loss(&self, batch: &Batch, routings: &[(usize, Routing)]) -> candle_core::Result<Option<Value>> {
        let config = self.model.config();
        let (e, k) = (config.n_routed_experts, config.num_experts_per_tok);
        let spans: Vec<_> = batch.offsets.windows(2).filter(|span| span[1] > span[0]).collect();
        let mut total: Option<Value> = None;
        for (_, routing) in routings {
            // Which expert took which row: f_e counts, one row of the factor table per token.
            let mut taken = vec![0f32; batch.len() * e];
            for (expert, span) in routing.offsets.windows(2).enumerate() {
                routing.rows[span[0]..span[1]].iter().for_each(|&row| taken[row as usize * e + expert] += 1.0);
            }
            let mut factor_ne = vec![0f32; batch.len() * e];
            for span in &spans {
                let t = (span[1] - span[0]) as f32;
                let mut count = vec![0f32; e];
                taken[span[0] * e..span[1] * e]
                    .chunks(e)
                    .for_each(|row| count.iter_mut().zip(row).for_each(|(c, x)| *c += x));
                for row in factor_ne[span[0] * e..span[1] * e].chunks_mut(e) {
                    row.iter_mut().zip(&count).for_each(|(f, c)| *f = e as f32 / (k as f32 * t) * c / t);
                }
            }
            let factor_ne = Tensor::from_vec(factor_ne, (batch.len(), e), self.model.device())?;
            let loss = lift([&routing.scores_ne], |[scores]| {
                let normalised = scores.broadcast_div(&(scores.sum_keepdim(1)? + 1e-20)?)?;
                (normalised * &factor_ne)?.sum_all()
            })?;
            total = Some(match total {
                None => loss,
                Some(sum) => add(&sum, &loss)?,
            });
        }
        Ok(total)
    }
}

impl Trainable for Trainee {
    fn decoder(&self) -> &dyn Decoder {
        &self.model
    }

    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn buffers(&self) -> Vec<(String, Var)> {
        self.biases.iter().map(|bias| (bias.name.clone(), bias.var.clone())).collect()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "config": self.model.config(), "pretraining": self.settings })
    }

    fn forward_train(&self, batch: &Batch) -> candle_core::Result<TrainOutput> {
        let Pass { hidden_nd, mut routings } = self.model.pass(batch, None)?;
        let mut ahead = Vec::new();
        if self.settings.mtp_weight > 0.0
            && let Some(pass) = self.model.predict_ahead(batch, &hidden_nd)?
        {
            routings.extend(pass.routings);
            ahead.push(Ahead { hidden_nd: pass.hidden_nd, distance: 2, weight: self.settings.mtp_weight });
        }
        self.count(&routings);
        let mut regularisers = Vec::new();
        if self.settings.balance_weight > 0.0
            && let Some(loss) = self.balance_loss(batch, &routings)?
        {
            regularisers.push(("balance", scale(&loss, self.settings.balance_weight)?));
        }
        Ok(TrainOutput { hidden_nd, head_vd: self.model.head().to_value()?, ahead, regularisers })
    }

    fn training_operations(&self) -> Operations {
        let config = self.model.config();
        let looks_ahead = self.settings.mtp_weight > 0.0;
        if looks_ahead { config.operations_with_ahead() } else { config.operations() }.trained()
    }

    /// Moves the biases against the load of this step and reports max/mean load per layer.
    fn after_step(&self, progress: f64) -> candle_core::Result<Vec<(String, f64)>> {
        let step = if progress < self.settings.bias_until { self.settings.bias_step } else { 0.0 };
        let mut remarks = Vec::new();
        let loads = std::mem::take(&mut *self.loads.lock().unwrap_or_else(PoisonError::into_inner));
        for Bias { layer, var: bias, .. } in &self.biases {
            // A layer that this step did not run, such as a prediction module without weight, stays as it is.
            let Some(counts) = loads.get(layer) else { continue };
            let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
            let largest = counts.iter().max().copied().unwrap_or(0) as f64;
            remarks.push((format!("layer {layer} max/mean load"), largest / mean.max(1.0)));
            if step > 0.0 {
                let moved: Vec<f32> = bias
                    .to_vec1::<f32>()?
                    .iter()
                    .zip(counts)
                    .map(|(bias, &count)| {
                        let lacking = mean - count as f64;
                        bias + if lacking == 0.0 { 0.0 } else { (step * lacking.signum()) as f32 }
                    })
                    .collect();
                bias.set(&Tensor::new(moved, bias.device())?)?;
            }
        }
        Ok(remarks)
    }

    fn state(&self) -> candle_core::Result<Vec<(String, Tensor)>> {
        let mut state = Vec::new();
        for (name, var) in &self.parameters {
            state.extend(published(name, var.as_tensor())?);
        }
        state.extend(self.biases.iter().map(|bias| (bias.name.clone(), bias.var.as_tensor().clone())));
        Ok(state)
    }
}
