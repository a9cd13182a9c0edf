//! A student with variables instead of fixed weights.

use crate::config::Config;
use crate::model::Dense;
use candle_core::{Device, Tensor, Var};
use retort_model::Error;
use retort_model::batch::Batch;
use retort_model::decoder::{Decoder, TrainOutput, Trainable};
use retort_model::params::{Source, trainable};

pub struct Trainee {
    model: Dense,
    parameters: Vec<(String, Var)>,
}

impl Trainee {
    pub fn new(config: Config, source: Box<dyn Source>, device: &Device) -> Result<Self, Error> {
        let (model, parameters) = trainable(source, device, |params| Dense::new(config, params))?;
        Ok(Self { model, parameters })
    }

    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Trades time for memory: layers are computed again on the way back. The gradients have the same bits.
    pub fn recomputing(self) -> Self {
        Self { model: self.model.recomputing(), ..self }
    }
}

impl Trainable for Trainee {
    fn decoder(&self) -> &dyn Decoder {
        &self.model
    }

    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self.config()).unwrap_or_default()
    }

    fn forward_train(&self, batch: &Batch) -> candle_core::Result<TrainOutput> {
        let hidden_nd = self.model.hidden(batch, None)?;
        Ok(TrainOutput { hidden_nd, head_vd: self.model.head().to_value()?, ahead: vec![], regularisers: vec![] })
    }

    /// Names in the model are the published ones.
    fn state(&self) -> candle_core::Result<Vec<(String, Tensor)>> {
        Ok(self.parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect())
    }
}
