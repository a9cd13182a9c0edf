//! The gated feed-forward block: down(silu(gate(x)) * up(x)).

use super::Linear;
use crate::Error;
use crate::params::Params;
use retort_kernels::{Value, Weight, packed_experts, swiglu, swiglu_halves};

pub struct Mlp {
    gate_up: GateUp,
    down_proj: Linear,
}

/// Two layers, or one product for both where that can be.
enum GateUp {
    Together(Linear),
    Apart { gate_proj: Linear, up_proj: Linear },
}

impl Mlp {
    /// Width `d` in and out, `f` inside; `stdev_out` starts the projection back into the residual stream.
    pub fn new(d: usize, f: usize, stdev: f64, stdev_out: f64, params: Params) -> Result<Self, Error> {
        Ok(Self::of(
            Linear::new(d, f, stdev, params.pp("gate_proj"))?,
            Linear::new(d, f, stdev, params.pp("up_proj"))?,
            Linear::new(f, d, stdev_out, params.pp("down_proj"))?,
        ))
    }

    /// The block made of three layers of its own.
    pub fn of(gate_proj: Linear, up_proj: Linear, down_proj: Linear) -> Self {
        let gate_up = match gate_proj.beside(&up_proj) {
            Some(both) => GateUp::Together(both),
            None => GateUp::Apart { gate_proj, up_proj },
        };
        Self { gate_up, down_proj }
    }

    /// (gate and up below each other, down), where the block is these weights and no more.
    pub fn bare_weights(&self) -> Option<(&Weight, &Weight)> {
        match &self.gate_up {
            GateUp::Together(both) => Some((both.bare_weight()?, self.down_proj.bare_weight()?)),
            GateUp::Apart { .. } => None,
        }
    }

    /// [n, d] to [n, d].
    pub fn forward(&self, x_nd: &Value) -> candle_core::Result<Value> {
        if let Some(weights) = self.bare_weights()
            && let Some(y) = packed_experts(x_nd, None, Some(weights))?
        {
            return Ok(y);
        }
        let inner = match &self.gate_up {
            GateUp::Together(both) => swiglu_halves(&both.forward(x_nd)?)?,
            GateUp::Apart { gate_proj, up_proj } => swiglu(&gate_proj.forward(x_nd)?, &up_proj.forward(x_nd)?)?,
        };
        self.down_proj.forward(&inner)
    }
}
