//! Where a model's tensors come from: fresh from a seed, or from a checkpoint; fixed, or to be trained.
//!
//! Models are built from candle's `VarBuilder`; these are the back ends behind it. candle's own `VarMap` draws from an
//! unseeded generator, so fresh weights are drawn here, each from a stream named after its tensor.

use candle_core::{DType, Device, Error, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_kernels::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A source of tensors by name and shape.
pub type Source = Box<dyn SimpleBackend>;

/// Fresh weights; the value of a tensor depends on the seed and its name alone.
pub struct Fresh {
    pub seed: u64,
}

impl Fresh {
    fn generator(&self, name: &str) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("retort weight initialisation v1");
        hasher.update(&self.seed.to_le_bytes()).update(name.as_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

impl SimpleBackend for Fresh {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let count = shape.elem_count();
        let mut rng = self.generator(name);
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let values: Vec<f32> = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Uniform { lo, up } => (0..count).map(|_| (lo + (up - lo) * uniform()) as f32).collect(),
            Init::Randn { mean, stdev } => (0..count)
                .map(|_| {
                    // Box-Muller; 1 - u keeps the logarithm finite.
                    let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
                    (mean + stdev * radius * (std::f64::consts::TAU * uniform()).cos()) as f32
                })
                .collect(),
            Init::Kaiming { .. } => {
                return Err(Error::msg(format!("`{name}`: Kaiming initialisation is not used here")));
            }
        };
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(Error::msg(format!("`{name}`: a fresh tensor needs a shape")))
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// Wraps a source so that every tensor taken from it becomes a variable, and remembers them.
struct Training {
    source: Source,
    taken: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl SimpleBackend for Training {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(var) = taken.get(name) {
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&self.source.get(shape, name, init, dtype, device)?)?;
        let tensor = var.as_tensor().clone();
        taken.insert(name.into(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.source.get_unchecked(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.source.contains_tensor(name)
    }
}

/// The weight `name`, of a given shape, ready to compute with; a parameter where the model is built to be trained.
pub fn weight(vb: &VarBuilder, shape: impl Into<Shape>, name: &str, init: Init) -> Result<Value> {
    Value::new(&vb.get_with_hints(shape.into(), name, init)?)
}

/// Builds a model with fixed weights.
pub fn frozen<M>(source: Source, device: &Device, build: impl FnOnce(VarBuilder) -> Result<M>) -> Result<M> {
    build(VarBuilder::from_backend(source, DType::F32, device.clone()))
}

/// Builds a model whose tensors are all variables; gives them back by name, in order.
pub fn trainable<M>(
    source: Source,
    device: &Device,
    build: impl FnOnce(VarBuilder) -> Result<M>,
) -> Result<(M, Vec<(String, Var)>)> {
    let taken = Arc::new(Mutex::new(BTreeMap::new()));
    let backend = Training { source, taken: taken.clone() };
    let model = build(VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone()))?;
    let vars = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((model, vars.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_weights_follow_seed_and_name() -> Result<()> {
        let draw = |seed, name: &str| -> Result<Vec<f32>> {
            let init = Init::Randn { mean: 0.0, stdev: 2.0 };
            Fresh { seed }.get(Shape::from(4000), name, init, DType::F32, &Device::Cpu)?.to_vec1()
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
    fn a_tensor_asked_for_twice_is_one_variable() -> Result<()> {
        let (_, vars) = trainable(Box::new(Fresh { seed: 1 }), &Device::Cpu, |vb| {
            let init = Init::Const(1.0);
            Ok((vb.get_with_hints(3, "w", init)?, vb.get_with_hints(3, "w", init)?))
        })?;
        assert_eq!(vars.len(), 1);
        Ok(())
    }
}
