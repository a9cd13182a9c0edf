//! What the engine and the trainer ask of a language model, whatever its architecture.

use crate::batch::Batch;
use crate::cache::{Cache, CacheSpec};
use crate::operations::Operations;
use candle_core::{Device, Result, Tensor, Var};
use retort_kernels::{Value, Weight};

/// A causal language model: weights only; cache, positions and randomness are arguments.
pub trait Decoder: Send + Sync {
    /// Final hidden states [n, d] of all rows of `batch`, after the last norm.
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> Result<Value>;
    /// The output head [v, d]: logits are `hidden head^T`.
    fn head(&self) -> &Weight;
    fn cache_spec(&self) -> CacheSpec;
    /// The longest sequence the model was made for.
    fn context_length(&self) -> usize;
    fn device(&self) -> &Device;
    /// What its products take on the way forward.
    fn operations(&self) -> Operations;

    /// What [`Decoder::draft`] keeps of past tokens; `None` for a model that cannot guess ahead.
    fn draft_cache_spec(&self) -> Option<CacheSpec> {
        None
    }

    /// One token further: from hidden states and the tokens that follow their rows to states whose logits, through the
    /// same head, guess the token after those.
    fn draft(&self, batch: &Batch, hidden_nd: &Value, following: &[u32], cache: &Cache) -> Result<Option<Value>> {
        let _ = (batch, hidden_nd, following, cache);
        Ok(None)
    }

    /// Logits [n, v] of all rows.
    fn logits(&self, batch: &Batch, cache: Option<&Cache>) -> Result<Tensor> {
        Ok(self.head().linear(&self.hidden(batch, cache)?)?.into_tensor())
    }
}

/// A prediction further ahead than the next token (multi-token prediction).
pub struct Ahead {
    /// Row i predicts the token `distance` places after row i.
    pub hidden_nd: Value,
    pub distance: usize,
    /// Factor of this prediction's cross-entropy in the loss.
    pub weight: f64,
}

/// What a model gives its trainer for one batch.
pub struct TrainOutput {
    /// Final hidden states; row i predicts the token after row i.
    pub hidden_nd: Value,
    pub head_vd: Value,
    pub ahead: Vec<Ahead>,
    /// Further terms of the loss, already weighted, summed over sequences, with a name for the log.
    pub regularisers: Vec<(&'static str, Value)>,
}

/// A model whose parameters can be fitted.
pub trait Trainable: Sync {
    /// The same weights, to run instead of to fit.
    fn decoder(&self) -> &dyn Decoder;
    /// Parameters by the name under which the model holds them, in a fixed order.
    fn parameters(&self) -> &[(String, Var)];
    /// Variables that no gradient reaches but that belong to the training state, such as router biases.
    fn buffers(&self) -> Vec<(String, Var)> {
        Vec::new()
    }
    /// The config and whatever else decides what it computes, to tell one run from another.
    fn settings(&self) -> serde_json::Value;
    fn forward_train(&self, batch: &Batch) -> Result<TrainOutput>;
    /// What its products take forward and back, to the gradients of all that is trained.
    fn training_operations(&self) -> Operations {
        self.decoder().operations().trained()
    }
    /// Called after each optimiser step at `progress` (0 to 1 of the run); returns remarks for the log.
    fn after_step(&self, progress: f64) -> Result<Vec<(String, f64)>> {
        let _ = progress;
        Ok(Vec::new())
    }
    /// All weights under their published names, ready to be written.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;
}

impl Decoder for &dyn Decoder {
    fn draft_cache_spec(&self) -> Option<CacheSpec> {
        (**self).draft_cache_spec()
    }
    fn draft(&self, batch: &Batch, hidden_nd: &Value, following: &[u32], cache: &Cache) -> Result<Option<Value>> {
        (**self).draft(batch, hidden_nd, following, cache)
    }
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> Result<Value> {
        (**self).hidden(batch, cache)
    }
    fn head(&self) -> &Weight {
        (**self).head()
    }
    fn cache_spec(&self) -> CacheSpec {
        (**self).cache_spec()
    }
    fn context_length(&self) -> usize {
        (**self).context_length()
    }
    fn device(&self) -> &Device {
        (**self).device()
    }
    fn operations(&self) -> Operations {
        (**self).operations()
    }
}

impl Decoder for Box<dyn Decoder> {
    fn draft_cache_spec(&self) -> Option<CacheSpec> {
        self.as_ref().draft_cache_spec()
    }
    fn draft(&self, batch: &Batch, hidden_nd: &Value, following: &[u32], cache: &Cache) -> Result<Option<Value>> {
        self.as_ref().draft(batch, hidden_nd, following, cache)
    }
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> Result<Value> {
        self.as_ref().hidden(batch, cache)
    }
    fn head(&self) -> &Weight {
        self.as_ref().head()
    }
    fn cache_spec(&self) -> CacheSpec {
        self.as_ref().cache_spec()
    }
    fn context_length(&self) -> usize {
        self.as_ref().context_length()
    }
    fn device(&self) -> &Device {
        self.as_ref().device()
    }
    fn operations(&self) -> Operations {
        self.as_ref().operations()
    }
}
