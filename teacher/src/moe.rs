//! DeepSeekMoE (arXiv 2401.06066): a few shared experts that see every token, many small ones that the router picks.
//!
//! y = shared(x) + sum over chosen e of weight_e expert_e(x). Rows are bucketed by expert, so each expert's weights are
//! read once per batch.

use crate::config::Config;
use crate::router::{Router, Routing};
use retort_kernels::{self as kernels, Routed, Value, Weight};
use retort_model::Error;
use retort_model::layers::{Mlp, normal};
use retort_model::params::Params;

pub(crate) struct Moe {
    gate: Router,
    /// [e, 2f, d]: for each expert the rows of `gate_proj`, then those of `up_proj`.
    gate_up_proj: Weight,
    /// [e, d, f]
    down_proj: Weight,
    shared_experts: Option<Mlp>,
}

impl Moe {
    pub(crate) fn new(config: &Config, stdev_out: f64, params: Params) -> Result<Self, Error> {
        let (e, d, f) = (config.n_routed_experts, config.hidden_size, config.moe_intermediate_size);
        let stdev = config.initializer_range;
        let experts = params.pp("experts");
        let shared_experts = match config.shared_experts() {
            0 => None,
            count => Some(Mlp::new(d, count * f, stdev, stdev_out, params.pp("shared_experts"))?),
        };
        Ok(Self {
            gate: Router::new(config, params.pp("gate"))?,
            gate_up_proj: experts.weight("gate_up_proj", (e, 2 * f, d), normal(stdev))?,
            down_proj: experts.weight("down_proj", (e, d, f), normal(stdev_out))?,
            shared_experts,
        })
    }

    /// [n, d] to [n, d], with the routing for the balance loss.
    pub(crate) fn forward(&self, x_nd: &Value) -> candle_core::Result<(Value, Routing)> {
        let routing = self.gate.route(x_nd)?;
        if let Some(y) = self.packed(x_nd, &routing)? {
            return Ok((y, routing));
        }
        let rows = kernels::gather_rows(x_nd, &routing.rows)?;
        let hidden = kernels::swiglu_halves(&self.gate_up_proj.grouped_linear(&rows, &routing.offsets)?)?;
        let out = self.down_proj.grouped_linear(&hidden, &routing.offsets)?;
        let routed = kernels::scatter_rows_weighted(&out, &routing.weights, &routing.rows, x_nd.dims()[0])?;
        let y = match &self.shared_experts {
            Some(shared) => kernels::add(&routed, &shared.forward(x_nd)?)?,
            None => routed,
        };
        Ok((y, routing))
    }

    /// The same in one operation, where the weights are packed for it.
    fn packed(&self, x_nd: &Value, routing: &Routing) -> candle_core::Result<Option<Value>> {
        let Routing { rows, offsets, weights, .. } = routing;
        let routed = Routed { rows, offsets, weights, gate_up: &self.gate_up_proj, down: &self.down_proj };
        match &self.shared_experts {
            None => kernels::packed_experts(x_nd, Some(routed), None),
            Some(shared) => match shared.bare_weights() {
                None => Ok(None),
                weights => kernels::packed_experts(x_nd, Some(routed), weights),
            },
        }
    }
}
