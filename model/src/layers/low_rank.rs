//! A low-rank update of a linear layer (LoRA, arXiv 2106.09685), with few numbers to train.

use crate::Error;
use crate::params::{Init, Params};
use retort_kernels::{Value, Weight, updated_linear};

pub struct LowRank {
    a_ri: Value,
    b_or: Value,
    scale: f64,
}

impl LowRank {
    /// `lora_A` [r, i] and `lora_B` [o, r] below `params`. A fresh A spreads as PEFT's, whose numbers are uniform up to
    /// i^-1/2; a fresh B is 0, so that training starts from the layer as it is.
    pub fn new(i: usize, o: usize, r: usize, scale: f64, params: &Params) -> Result<Self, Error> {
        let stdev = (3.0 * i as f64).powf(-0.5);
        Ok(Self {
            a_ri: params.value("lora_A.weight", (r, i), Init::Normal { stdev })?,
            b_or: params.value("lora_B.weight", (o, r), Init::Constant(0.0))?,
            scale,
        })
    }

    /// [.., i] to [.., o]: what the fixed `weight` gives, and the update.
    pub fn forward(&self, x: &Value, weight: &Weight) -> candle_core::Result<Value> {
        updated_linear(x, weight, &self.a_ri, &self.b_or, self.scale)
    }
}
