//! RMSNorm with its weight.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

pub struct RmsNorm {
    weight_d: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub fn new(d: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight_d: vb.get_with_hints(d, "weight", Init::Const(1.0))?, eps })
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        retort_kernels::rms_norm(x, &self.weight_d, self.eps)
    }
}
