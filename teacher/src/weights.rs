//! Between published tensor names, one tensor per expert, and the stacks that the model computes with.
//!
//! `...experts.E.gate_proj.weight` and `up_proj` [f, d] become `...experts.gate_up_proj` [e, 2f, d];
//! `...experts.E.down_proj.weight` [d, f] becomes `...experts.down_proj` [e, d, f].

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use retort_model::checkpoint::{Checkpoint, Stored};

const GATE_UP: &str = ".experts.gate_up_proj";
const DOWN: &str = ".experts.down_proj";

/// A published checkpoint as a source of the model's tensors.
pub struct Published(pub Checkpoint);

impl SimpleBackend for Published {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let one = |name: String, shape: (usize, usize)| self.0.get(Shape::from(shape), &name, init, dtype, device);
        if let Some(prefix) = name.strip_suffix(GATE_UP) {
            let (e, ff, d) = shape.dims3()?;
            let mut parts = Vec::with_capacity(2 * e);
            for expert in 0..e {
                for projection in ["gate_proj", "up_proj"] {
                    parts.push(one(format!("{prefix}.experts.{expert}.{projection}.weight"), (ff / 2, d))?);
                }
            }
            return Tensor::cat(&parts, 0)?.reshape(shape);
        }
        if let Some(prefix) = name.strip_suffix(DOWN) {
            let (e, d, f) = shape.dims3()?;
            let parts = (0..e).map(|expert| one(format!("{prefix}.experts.{expert}.down_proj.weight"), (d, f)));
            return Tensor::stack(&parts.collect::<Result<Vec<_>>>()?, 0);
        }
        self.0.get(shape, name, init, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.0.get_unchecked(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// A tensor of the model under its published names.
pub fn published(name: &str, tensor: &Tensor) -> Result<Vec<(String, Tensor)>> {
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

/// Which tensors DeepSeek stores in FP8: projections and experts; not embedding, head, norms, router or `eh_proj`.
pub fn stored(name: &str) -> Stored {
    if name.contains("_proj") && !name.contains("eh_proj") {
        Stored::Fp8
    } else if name.ends_with("e_score_correction_bias") {
        Stored::F32
    } else {
        Stored::Bf16
    }
}

/// The `quantization_config` that tells other programs about FP8 weights.
pub fn quantization_config() -> serde_json::Value {
    serde_json::json!({
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]
    })
}
