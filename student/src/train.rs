//! A student with variables instead of fixed weights: all of them, or low-rank updates beside them.

use crate::config::Config;
use crate::lora::{LoraConfig, PREFIX};
use crate::model::Dense;
use candle_core::{Device, Shape, Tensor, Var};
use retort_kernels::StoredMatrix;
use retort_model::Error;
use retort_model::batch::Batch;
use retort_model::decoder::{Decoder, TrainOutput, Trainable};
use retort_model::operations::Operations;
use retort_model::params::{Init, Source, trainable};

pub struct Trainee {
    model: Dense,
    parameters: Vec<(String, Var)>,
    lora: Option<LoraConfig>,
}

impl Trainee {
    pub fn new(config: Config, source: Box<dyn Source>, device: &Device) -> Result<Self, Error> {
        let (model, parameters) = trainable(source, device, |params| Dense::new(config, params))?;
        Ok(Self { model, parameters, lora: None })
    }

    /// Trains `adapter`'s matrices beside the weights of `base`, which stay as they are.
    pub fn with_lora(
        config: Config,
        lora: LoraConfig,
        base: Box<dyn Source>,
        adapter: Box<dyn Source>,
        device: &Device,
    ) -> Result<Self, Error> {
        let source = Box::new(Beside { base, adapter });
        let (model, parameters) = trainable(source, device, |params| Dense::with_lora(config, &lora, params))?;
        Ok(Self { model, parameters, lora: Some(lora) })
    }

    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Trades time for memory: layers are computed again on the way back. The gradients have the same bits.
    pub fn recomputing(self) -> Self {
        Self { model: self.model.recomputing(), ..self }
    }

    /// The settings of the adapter, where it is one that is trained.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
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
        match &self.lora {
            None => serde_json::to_value(self.config()).unwrap_or_default(),
            Some(lora) => serde_json::json!({ "config": self.config(), "lora": lora }),
        }
    }

    fn forward_train(&self, batch: &Batch) -> candle_core::Result<TrainOutput> {
        let hidden_nd = self.model.hidden(batch, None)?;
        Ok(TrainOutput { hidden_nd, head_vd: self.model.head().to_value()?, ahead: vec![], regularisers: vec![] })
    }

    /// Beside fixed weights only the updates have gradients of their own.
    fn training_operations(&self) -> Operations {
        let forward = self.model.operations();
        if self.lora.is_none() {
            return forward.trained();
        }
        let updates: usize = self.parameters.iter().map(|(_, var)| var.elem_count()).sum();
        let fixed = forward.passed_through();
        Operations { token: fixed.token + 6.0 * updates as f64, ..fixed }
    }

    /// Names in the model are the published ones; an adapter's have PEFT's prefix.
    fn state(&self) -> candle_core::Result<Vec<(String, Tensor)>> {
        let prefix = if self.lora.is_some() { PREFIX } else { "" };
        Ok(self.parameters.iter().map(|(name, var)| (format!("{prefix}{name}"), var.as_tensor().clone())).collect())
    }
}

/// The weights of a model from one source, those of the adapter beside them from another.
struct Beside {
    base: Box<dyn Source>,
    adapter: Box<dyn Source>,
}

impl Beside {
    fn of(&self, name: &str) -> &dyn Source {
        if name.contains(".lora_") { self.adapter.as_ref() } else { self.base.as_ref() }
    }
}

impl Source for Beside {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        self.of(name).tensor(name, shape, init, device)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        self.of(name).stored(name, shape)
    }
}
