//! Layers that several architectures share. Field names are the checkpoint's; every forward returns all rows.

mod low_rank;
mod mlp;
mod norm;
pub mod rope;

pub use low_rank::LowRank;
pub use mlp::Mlp;
pub use norm::RmsNorm;

use crate::Error;
use crate::params::{Init, Params};
use retort_kernels::{self as kernels, Value, Weight};

/// How projection weights start: the deviation that DeepSeek-V3 used scaled to small widths is set by the recipe.
pub fn normal(stdev: f64) -> Init {
    Init::Normal { stdev }
}

/// y = x W^T (+ b), and a low-rank update where one is trained beside it.
pub struct Linear {
    weight_oi: Weight,
    bias_o: Option<Value>,
    update: Option<LowRank>,
}

impl Linear {
    /// A layer without bias.
    pub fn new(i: usize, o: usize, stdev: f64, params: Params) -> Result<Self, Error> {
        Ok(Self { weight_oi: params.weight("weight", (o, i), normal(stdev))?, bias_o: None, update: None })
    }

    /// A layer with bias.
    pub fn with_bias(i: usize, o: usize, stdev: f64, params: Params) -> Result<Self, Error> {
        let bias_o = Some(params.value("bias", o, Init::Constant(0.0))?);
        Ok(Self { bias_o, ..Self::new(i, o, stdev, params)? })
    }

    /// Both layers as one that gives their results side by side, where their weights are in the same stored form and
    /// nothing is added to what they give.
    pub fn beside(&self, other: &Self) -> Option<Self> {
        let weight_oi = self.bare_weight()?.above(other.bare_weight()?)?;
        Some(Self { weight_oi, bias_o: None, update: None })
    }

    /// The weight of a layer that adds nothing to the product.
    pub fn bare_weight(&self) -> Option<&Weight> {
        (self.bias_o.is_none() && self.update.is_none()).then_some(&self.weight_oi)
    }

    /// Rows of the weight, o.
    pub fn width(&self) -> usize {
        self.weight_oi.rows()
    }

    /// The same layer with `update` added to what it gives.
    pub fn updated(self, update: LowRank) -> Self {
        Self { update: Some(update), ..self }
    }

    /// [.., i] to [.., o].
    pub fn forward(&self, x: &Value) -> candle_core::Result<Value> {
        let y = match &self.update {
            Some(update) => update.forward(x, &self.weight_oi)?,
            None => self.weight_oi.linear(x)?,
        };
        match &self.bias_o {
            Some(bias) => kernels::add_bias(&y, bias),
            None => Ok(y),
        }
    }
}
