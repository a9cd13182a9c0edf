//! Between published tensor names, one tensor per expert, and the stacks that the model computes with.
//!
//! `...experts.E.gate_proj.weight` and `up_proj` [f, d] become `...experts.gate_up_proj` [e, 2f, d];
//! `...experts.E.down_proj.weight` [d, f] becomes `...experts.down_proj` [e, d, f].

use candle_core::{Device, Shape, Tensor};
use retort_kernels::StoredMatrix;
use retort_model::Error;
use retort_model::checkpoint::Checkpoint;
use retort_model::params::{Init, Source};

const GATE_UP: &str = ".experts.gate_up_proj";
const DOWN: &str = ".experts.down_proj";

/// A published checkpoint as a source of the model's tensors.
pub struct Published(pub Checkpoint);

/// The published tensors behind a stack, one below the other, each with its shape; `None` for what is no stack.
fn parts(name: &str, stack: &Shape) -> candle_core::Result<Option<Vec<(String, Shape)>>> {
    if let Some(prefix) = name.strip_suffix(GATE_UP) {
        let (e, ff, d) = stack.dims3()?;
        let both = |expert: usize| {
            ["gate_proj", "up_proj"].map(|p| (format!("{prefix}.experts.{expert}.{p}.weight"), (ff / 2, d).into()))
        };
        return Ok(Some((0..e).flat_map(both).collect()));
    }
    if let Some(prefix) = name.strip_suffix(DOWN) {
        let (e, d, f) = stack.dims3()?;
        let one = |expert| (format!("{prefix}.experts.{expert}.down_proj.weight"), (d, f).into());
        return Ok(Some((0..e).map(one).collect()));
    }
    Ok(None)
}

impl Source for Published {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        let Some(parts) = parts(name, shape)? else { return self.0.tensor(name, shape, init, device) };
        let parts = parts.iter().map(|(name, shape)| self.0.tensor(name, shape, init, device));
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)?.reshape(shape)?)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        let Some(parts) = parts(name, shape)? else { return self.0.stored(name, shape) };
        let mut matrices = Vec::with_capacity(parts.len());
        for (name, shape) in &parts {
            match self.0.stored_expert(name, shape)? {
                Some(matrix) => matrices.push(matrix),
                None => return Ok(None),
            }
        }
        Ok(Some(matrices))
    }
}

/// A tensor of the model under its published names.
pub fn published(name: &str, tensor: &Tensor) -> candle_core::Result<Vec<(String, Tensor)>> {
    let mut out = Vec::new();
    if let Some(prefix) = name.strip_suffix(GATE_UP) {
        let (e, ff, _) = tensor.dims3()?;
        for expert in 0..e {
            let both = tensor.get(expert)?;
            for (half, projection) in ["gate_proj", "up_proj"].into_iter().enumerate() {
                let part = both.narrow(0, half * ff / 2, ff / 2)?;
                out.push((format!("{prefix}.experts.{expert}.{projection}.weight"), part));
            }
        }
    } else if let Some(prefix) = name.strip_suffix(DOWN) {
        for expert in 0..tensor.dim(0)? {
            out.push((format!("{prefix}.experts.{expert}.down_proj.weight"), tensor.get(expert)?));
        }
    } else {
        out.push((name.into(), tensor.clone()));
    }
    Ok(out)
}
