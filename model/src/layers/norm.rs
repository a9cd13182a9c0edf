//! RMSNorm with its weight.

use crate::Error;
use crate::params::{Init, Params};
use retort_kernels::Value;

pub struct RmsNorm {
    weight_d: Value,
    eps: f64,
}

impl RmsNorm {
    pub fn new(d: usize, eps: f64, params: Params) -> Result<Self, Error> {
        Ok(Self { weight_d: params.value("weight", d, Init::Constant(1.0))?, eps })
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Value) -> candle_core::Result<Value> {
        retort_kernels::rms_norm(x, &self.weight_d, self.eps)
    }
}
