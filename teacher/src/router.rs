//! The router of the DeepSeek family: scores, a choice of experts, weights. Everything is f32.
//!
//! V2 (arXiv 2405.04434, section 2.2): s = softmax(x W^T); a group's strength is its best score; all but the strongest
//! `topk_group` groups are out; the k best scores select. V3 (arXiv 2412.19437, section 2.1.2): s = sigmoid(x W^T); a bias
//! is added for the selection only; a group's strength is the sum of its two best biased scores. The weights are the
//! plain scores of the selected, normalised if the config says so, times `routed_scaling_factor`.

use crate::config::{Config, Scoring, TopkMethod};
use candle_core::{D, Tensor};
use retort_kernels::{Value, lift, linear, softmax};
use retort_model::Error;
use retort_model::layers::normal;
use retort_model::params::{Init, Params};
use std::sync::Arc;

pub(crate) struct Router {
    weight_ed: Value,
    /// Added for the selection only; `noaux_tc` has it.
    bias_e: Option<Tensor>,
    scoring: Scoring,
    experts: usize,
    top_k: usize,
    groups: usize,
    top_groups: usize,
    /// How many of a group's best scores make its strength.
    group_best: usize,
    normalise: bool,
    scaling: f64,
}

/// Where the rows of a batch go: (row, choice) pairs sorted by expert.
pub(crate) struct Routing {
    /// Row of `x` for each pair.
    pub rows: Vec<u32>,
    /// Pairs of expert e are `offsets[e]..offsets[e + 1]`.
    pub offsets: Arc<[usize]>,
    /// Weight of each pair, in the same order; carries the gradient to the router.
    pub weights: Value,
    /// Sigmoid scores [n, e], for the balance loss.
    pub scores_ne: Value,
}

impl Router {
    pub(crate) fn new(config: &Config, params: Params) -> Result<Self, Error> {
        let (e, d) = (config.n_routed_experts, config.hidden_size);
        let biased = config.selection() == TopkMethod::NoauxTc;
        let bias_e = biased.then(|| params.tensor("e_score_correction_bias", e, Init::Constant(0.0))).transpose()?;
        let (groups, top_groups) = config.groups();
        Ok(Self {
            weight_ed: params.value("weight", (e, d), normal(config.initializer_range))?,
            bias_e,
            scoring: config.scoring(),
            experts: e,
            top_k: config.num_experts_per_tok,
            groups,
            top_groups,
            group_best: if biased { 2 } else { 1 },
            normalise: config.norm_topk_prob,
            scaling: if config.scales_weights() { config.routed_scaling_factor } else { 1.0 },
        })
    }

    pub(crate) fn route(&self, x_nd: &Value) -> candle_core::Result<Routing> {
        let (n, k) = (x_nd.dims()[0], self.top_k);
        let logits_ne = linear(x_nd, &self.weight_ed)?;
        let scores_ne = match self.scoring {
            Scoring::Softmax => softmax(&logits_ne)?,
            Scoring::Sigmoid => lift([&logits_ne], |[x]| candle_nn::ops::sigmoid(x))?,
        };
        let bias = match &self.bias_e {
            Some(bias) => bias.to_vec1()?,
            None => vec![0f32; self.experts],
        };
        let scores: Vec<f32> = scores_ne.tensor().flatten_all()?.to_vec1()?;
        let chosen_nk: Vec<u32> = scores.chunks(self.experts).flat_map(|row| self.select(row, &bias)).collect();

        // A counting sort by expert keeps the rows of an expert in their order.
        let mut counts = vec![0; self.experts + 1];
        chosen_nk.iter().for_each(|&expert| counts[expert as usize + 1] += 1);
        for expert in 0..self.experts {
            counts[expert + 1] += counts[expert];
        }
        let offsets: Arc<[usize]> = counts.as_slice().into();
        let mut pairs = vec![0u32; n * k];
        for (pair, &expert) in chosen_nk.iter().enumerate() {
            let place = &mut counts[expert as usize];
            pairs[*place] = pair as u32;
            *place += 1;
        }
        let rows = pairs.iter().map(|pair| pair / k as u32).collect();

        let device = x_nd.tensor().device();
        let chosen = Tensor::from_vec(chosen_nk, (n, k), device)?;
        let pairs = Tensor::from_vec(pairs, n * k, device)?;
        let weights =
            lift([&scores_ne], |[scores]| self.weights(scores, &chosen)?.flatten_all()?.index_select(&pairs, 0))?;
        Ok(Routing { rows, offsets, weights, scores_ne })
    }

    /// The weights [n, k] of the chosen experts.
    fn weights(&self, scores_ne: &Tensor, chosen_nk: &Tensor) -> candle_core::Result<Tensor> {
        let weights_nk = scores_ne.gather(chosen_nk, 1)?;
        if self.normalise {
            return weights_nk.broadcast_div(&(weights_nk.sum_keepdim(D::Minus1)? + 1e-20)?)? * self.scaling;
        }
        weights_nk * self.scaling
    }

    /// The experts of one row, best first; ties go to the lower index.
    fn select(&self, scores: &[f32], bias: &[f32]) -> Vec<u32> {
        let mut biased: Vec<f32> = scores.iter().zip(bias).map(|(score, bias)| score + bias).collect();
        if self.groups > 1 {
            let size = self.experts / self.groups;
            let strength: Vec<f32> =
                biased.chunks(size).map(|group| best(group, self.group_best).iter().map(|&e| group[e]).sum()).collect();
            let kept = best(&strength, self.top_groups);
            for (group, values) in biased.chunks_mut(size).enumerate() {
                if !kept.contains(&group) {
                    // -inf and not 0: biased scores may all be negative.
                    values.fill(f32::NEG_INFINITY);
                }
            }
        }
        best(&biased, self.top_k).into_iter().map(|expert| expert as u32).collect()
    }
}

/// Indices of the `k` largest values, largest first; ties go to the lower index.
fn best(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(k);
    order
}
