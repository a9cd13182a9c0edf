//! The gated feed-forward block: down(silu(gate(x)) * up(x)).

use super::Linear;
use crate::Error;
use crate::params::Params;
use retort_kernels::{Value, swiglu};

pub struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl Mlp {
    /// Width `d` in and out, `f` inside; `stdev_out` starts the projection back into the residual stream.
    pub fn new(d: usize, f: usize, stdev: f64, stdev_out: f64, params: Params) -> Result<Self, Error> {
        Ok(Self {
            gate_proj: Linear::new(d, f, stdev, params.pp("gate_proj"))?,
            up_proj: Linear::new(d, f, stdev, params.pp("up_proj"))?,
            down_proj: Linear::new(f, d, stdev_out, params.pp("down_proj"))?,
        })
    }

    /// The block made of three layers of its own.
    pub fn of(gate_proj: Linear, up_proj: Linear, down_proj: Linear) -> Self {
        Self { gate_proj, up_proj, down_proj }
    }

    /// [n, d] to [n, d].
    pub fn forward(&self, x_nd: &Value) -> candle_core::Result<Value> {
        let inner = swiglu(&self.gate_proj.forward(x_nd)?, &self.up_proj.forward(x_nd)?)?;
        self.down_proj.forward(&inner)
    }
}
