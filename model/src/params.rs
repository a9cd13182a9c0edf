//! Where a model's weights come from: fresh from a seed, or from a checkpoint; fixed, or to be trained.
//!
//! A model is built from [`Params`], which hands out weights by their published names. Fixed weights may stay in the
//! bytes of their file; weights to be trained are f32 variables.

mod packed;
mod random;

pub use packed::Packed;
pub use random::Random;

use crate::Error;
use candle_core::{Device, Shape, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_kernels::{StoredMatrix, Value, Weight};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

/// How a fresh weight starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f64),
    Normal { stdev: f64 },
}

/// A source of weights by name and shape.
pub trait Source: Send + Sync {
    /// The numbers of `name` in f32.
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error>;

    /// The matrices of `name`, one below the other, in the form they are stored in; `None` where this source widens it.
    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        let _ = (name, shape);
        Ok(None)
    }
}

/// Fresh weights; the value of a tensor depends on the seed and its name alone.
pub struct Fresh {
    pub seed: u64,
}

impl Source for Fresh {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        let mut hasher = blake3::Hasher::new_derive_key("retort weight initialisation v1");
        hasher.update(&self.seed.to_le_bytes()).update(name.as_bytes());
        let mut rng = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut draw = || match init {
            Init::Constant(value) => value as f32,
            Init::Normal { stdev } => {
                // Box-Muller; 1 - u keeps the logarithm finite.
                let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
                (stdev * radius * (std::f64::consts::TAU * uniform()).cos()) as f32
            }
        };
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| draw()).collect();
        Ok(Tensor::from_vec(values, shape, device)?)
    }
}

/// What to do where weights do not fit.
const SMALLER: &str = "end other programs on that GPU, take a smaller model, or compute it by `--device cpu`";

/// The weights of a model under construction, below a prefix of their names.
#[derive(Clone)]
pub struct Params {
    origin: Arc<Origin>,
    prefix: String,
    /// Whether weights are constants even where the model is to be trained.
    fixed: bool,
}

struct Origin {
    source: Box<dyn Source>,
    device: Device,
    /// Variables handed out so far, where the model is to be trained.
    variables: Option<Mutex<BTreeMap<String, Var>>>,
}

impl Params {
    fn new(source: Box<dyn Source>, device: &Device, trained: bool) -> Self {
        let origin = Origin { source, device: device.clone(), variables: trained.then(Mutex::default) };
        Self { origin: Arc::new(origin), prefix: String::new(), fixed: false }
    }

    /// The weights below `name`.
    pub fn pp(&self, name: impl Display) -> Self {
        Self { origin: self.origin.clone(), prefix: self.path(&name), fixed: self.fixed }
    }

    /// The same weights as constants, whether or not the model is to be trained.
    pub fn fixed(&self) -> Self {
        Self { fixed: true, ..self.clone() }
    }

    /// The same weights, variables again where the model is to be trained.
    pub fn free(&self) -> Self {
        Self { fixed: false, ..self.clone() }
    }

    /// The name that stands before those of the weights.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn variables(&self) -> Option<&Mutex<BTreeMap<String, Var>>> {
        self.origin.variables.as_ref().filter(|_| !self.fixed)
    }

    fn path(&self, name: &dyn Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    pub fn device(&self) -> &Device {
        &self.origin.device
    }

    /// A tensor in f32; a variable where the model is to be trained.
    pub fn tensor(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor, Error> {
        let (name, shape) = (self.path(&name), shape.into());
        let Origin { source, device, .. } = &*self.origin;
        let read = |name: &str| {
            let tensor = source.tensor(name, &shape, init, device);
            tensor.map_err(|error| error.of_memory(device, || format!("the weight `{name}`"), SMALLER))
        };
        let Some(variables) = self.variables() else { return read(&name) };
        let mut variables = variables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(var) = variables.get(&name) {
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&read(&name)?)?;
        let tensor = var.as_tensor().clone();
        variables.insert(name, var);
        Ok(tensor)
    }

    /// The same, ready to compute with.
    pub fn value(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Value, Error> {
        Ok(Value::new(&self.tensor(name, shape, init)?)?)
    }

    /// What rows are multiplied with, [o, i] or [e, o, i]; in stored form where the source keeps it so.
    pub fn weight(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Weight, Error> {
        let shape = shape.into();
        if self.variables().is_none()
            && let Some(parts) = self.origin.source.stored(&self.path(&name), &shape)?
        {
            let (stored, device) = (Weight::Stored(parts.into()), self.device());
            // Another device multiplies what lies in its own memory.
            let moved = if device.is_cpu() { Ok(stored) } else { stored.on(device, &shape) };
            let what = || format!("the weight `{}`", self.path(&name));
            return moved.map_err(|error| Error::from(error).of_memory(device, what, SMALLER));
        }
        Ok(Weight::Plain(self.value(name, shape, init)?))
    }
}

/// Builds a model with fixed weights.
pub fn frozen<M>(
    source: Box<dyn Source>,
    device: &Device,
    build: impl FnOnce(&Params) -> Result<M, Error>,
) -> Result<M, Error> {
    build(&Params::new(source, device, false))
}

/// Builds a model whose weights are all variables; gives them back by name, in order.
pub fn trainable<M>(
    source: Box<dyn Source>,
    device: &Device,
    build: impl FnOnce(&Params) -> Result<M, Error>,
) -> Result<(M, Vec<(String, Var)>), Error> {
    let params = Params::new(source, device, true);
    let model = build(&params)?;
    let variables = params.origin.variables.as_ref().map(|v| v.lock().unwrap_or_else(PoisonError::into_inner).clone());
    Ok((model, variables.unwrap_or_default().into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_weights_follow_seed_and_name() -> Result<(), Error> {
        let draw = |seed, name: &str| -> Result<Vec<f32>, Error> {
            let tensor = Fresh { seed }.tensor(name, &Shape::from(4000), Init::Normal { stdev: 2.0 }, &Device::Cpu)?;
            Ok(tensor.to_vec1()?)
        };
        assert_eq!(draw(1, "a")?, draw(1, "a")?);
        assert_ne!(draw(1, "a")?, draw(1, "b")?);
        assert_ne!(draw(1, "a")?, draw(2, "a")?);
        let values = draw(3, "c")?;
        let variance = values.iter().map(|&x| f64::from(x * x)).sum::<f64>() / 4000.0;
        assert!((variance - 4.0).abs() < 0.4, "variance {variance}");
        Ok(())
    }

    #[test]
    fn a_weight_asked_for_twice_is_one_variable() -> Result<(), Error> {
        let (_, vars) = trainable(Box::new(Fresh { seed: 1 }), &Device::Cpu, |params| {
            let ask = || params.pp("layer").value("w", 3, Init::Constant(1.0));
            Ok((ask()?, ask()?))
        })?;
        assert_eq!(vars.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["layer.w"]);
        Ok(())
    }
}
