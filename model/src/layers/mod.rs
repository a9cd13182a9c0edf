//! Layers that several architectures share. Field names are the checkpoint's; every forward returns all rows.

mod mlp;
mod norm;
pub mod rope;

pub use mlp::Mlp;
pub use norm::RmsNorm;

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use retort_kernels as kernels;

/// How projection weights start: the deviation that DeepSeek-V3 used scaled to small widths is set by the recipe.
pub fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}

/// y = x W^T (+ b).
pub struct Linear {
    weight_oi: Tensor,
    bias_o: Option<Tensor>,
}

impl Linear {
    /// A layer without bias.
    pub fn new(i: usize, o: usize, stdev: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight_oi: vb.get_with_hints((o, i), "weight", normal(stdev))?, bias_o: None })
    }

    /// A layer with bias.
    pub fn with_bias(i: usize, o: usize, stdev: f64, vb: VarBuilder) -> Result<Self> {
        let bias_o = Some(vb.get_with_hints(o, "bias", Init::Const(0.0))?);
        Ok(Self { bias_o, ..Self::new(i, o, stdev, vb)? })
    }

    pub fn weight(&self) -> &Tensor {
        &self.weight_oi
    }

    /// [.., i] to [.., o].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = kernels::linear(x, &self.weight_oi)?;
        match &self.bias_o {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}
