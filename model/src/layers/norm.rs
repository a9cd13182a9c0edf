//! RMSNorm with its weight.

use crate::params::weight;
use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use retort_kernels::Value;

pub struct RmsNorm {
    weight_d: Value,
    eps: f64,
}

impl RmsNorm {
    pub fn new(d: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight_d: weight(&vb, d, "weight", Init::Const(1.0))?, eps })
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Value) -> Result<Value> {
        retort_kernels::rms_norm(x, &self.weight_d, self.eps)
    }
}
