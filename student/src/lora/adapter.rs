//! An adapter on disk, and its base model with the updates added in.

use super::{CONFIG, LoraConfig, PREFIX, WEIGHTS};
use crate::Config;
use candle_core::{Device, Shape, Tensor};
use retort_kernels::StoredMatrix;
use retort_model::Error;
use retort_model::checkpoint::{Checkpoint, Stored, write_bytes, write_tensors};
use retort_model::files::read_json;
use retort_model::inventory::Part;
use retort_model::params::{Init, Source};
use std::path::Path;

/// An adapter as PEFT writes it.
pub struct Adapter {
    pub config: LoraConfig,
    weights: Checkpoint,
}

impl Adapter {
    /// Opens the adapter in `folder` and holds it against the model it is for.
    pub fn open(folder: &Path, model: &Config) -> Result<Self, Error> {
        let path = folder.join(CONFIG);
        let config: LoraConfig = read_json(&path)?;
        config.check(model, &path)?;
        let weights = Checkpoint::open_file(&folder.join(WEIGHTS))?;
        let named = |part: Part| Part { name: format!("{PREFIX}{}", part.name), ..part };
        weights.check(config.parts(model).into_iter().map(named), |_| false)?;
        Ok(Self { config, weights })
    }

    /// Writes an adapter whose tensors have PEFT's names; the weights last: a folder with weights is complete.
    pub fn write(folder: &Path, config: &LoraConfig, tensors: &[(String, Tensor)]) -> Result<(), Error> {
        let path = folder.join(CONFIG);
        let io = |source| Error::Io { action: "created", path: folder.into(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let json = serde_json::to_string_pretty(config).map_err(|source| Error::Json {
            path: path.clone(),
            place: ".".into(),
            source,
        })?;
        write_bytes(&path, json.as_bytes())?;
        write_tensors(&folder.join(WEIGHTS), tensors, |_| Stored::F32)
    }

    /// A hash over its weights.
    pub fn digest(&self) -> Result<String, Error> {
        self.weights.digest()
    }

    /// The projection whose weight is `name`, where the adapter changes it.
    fn module<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_suffix(".weight").filter(|module| self.config.adapts(module))
    }

    /// Whether the adapter changes the weight `name`.
    pub fn adapts(&self, name: &str) -> bool {
        self.module(name).is_some()
    }

    /// s B A for the weight `name` [o, i], where the adapter changes it.
    fn update(&self, name: &str, device: &Device) -> Result<Option<Tensor>, Error> {
        let Some(module) = self.module(name) else { return Ok(None) };
        let matrix = |matrix: &str| self.weights.read(&format!("{PREFIX}{module}.{matrix}.weight"), device);
        Ok(Some((matrix("lora_B")?.matmul(&matrix("lora_A")?)? * self.config.scale())?))
    }
}

/// The adapter's own matrices, to be trained further.
impl Source for Adapter {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        self.weights.tensor(&format!("{PREFIX}{name}"), shape, init, device)
    }
}

/// A base model with an adapter's updates added to its weights: W + s B A.
pub struct Merged {
    base: Checkpoint,
    adapter: Option<Adapter>,
}

impl Merged {
    /// Without an adapter, the base as it is.
    pub fn new(base: Checkpoint, adapter: Option<Adapter>) -> Self {
        Self { base, adapter }
    }

    pub fn base(&self) -> &Checkpoint {
        &self.base
    }

    /// Whether something is added to the weight `name`.
    pub fn adapts(&self, name: &str) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.adapts(name))
    }

    /// The numbers of a tensor in f32.
    pub fn read(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        self.add_update(name, self.base.read(name, device)?)
    }

    fn add_update(&self, name: &str, tensor: Tensor) -> Result<Tensor, Error> {
        match self.adapter.as_ref().map(|adapter| adapter.update(name, tensor.device())).transpose()?.flatten() {
            Some(update) => Ok((tensor + update)?),
            None => Ok(tensor),
        }
    }
}

impl Source for Merged {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        self.add_update(name, self.base.tensor(name, shape, init, device)?)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        if self.adapts(name) { Ok(None) } else { self.base.stored(name, shape) }
    }
}
