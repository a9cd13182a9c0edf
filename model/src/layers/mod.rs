//! Layers that several architectures share. Field names are the checkpoint's; every forward returns all rows.

mod mlp;
mod norm;
pub mod rope;

pub use mlp::Mlp;
pub use norm::RmsNorm;

use crate::params::weight;
use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use retort_kernels::{self as kernels, Value};

/// How projection weights start: the deviation that DeepSeek-V3 used scaled to small widths is set by the recipe.
pub fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}

/// y = x W^T (+ b).
pub struct Linear {
    weight_oi: Value,
    bias_o: Option<Value>,
}

impl Linear {
    /// A layer without bias.
    pub fn new(i: usize, o: usize, stdev: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight_oi: weight(&vb, (o, i), "weight", normal(stdev))?, bias_o: None })
    }

    /// A layer with bias.
    pub fn with_bias(i: usize, o: usize, stdev: f64, vb: VarBuilder) -> Result<Self> {
        let bias_o = Some(weight(&vb, o, "bias", Init::Const(0.0))?);
        Ok(Self { bias_o, ..Self::new(i, o, stdev, vb)? })
    }

    /// [.., i] to [.., o].
    pub fn forward(&self, x: &Value) -> Result<Value> {
        let y = kernels::linear(x, &self.weight_oi)?;
        match &self.bias_o {
            Some(bias) => kernels::add_bias(&y, bias),
            None => Ok(y),
        }
    }
}
