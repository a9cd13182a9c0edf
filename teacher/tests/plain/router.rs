//! The router over one row at a time: scores, a choice of experts, weights.

use super::Mistake::*;
use super::Pass;
use candle_core::{D, DType, Device, Result, Tensor};
use retort_teacher::config::{Scoring, TopkMethod};

impl Pass<'_> {
    /// The weight of every expert for every row [n, e]; 0 for those not chosen.
    pub(super) fn expert_weights(&self, x_nd: &Tensor, name: &str) -> Result<Tensor> {
        let config = self.config();
        let logits_ne = self.linear(x_nd, name)?;
        let softmax = (config.scoring() == Scoring::Softmax) != self.makes(OtherScoring);
        let scores_ne = match softmax {
            true => candle_nn::ops::softmax(&logits_ne, D::Minus1)?,
            false => candle_nn::ops::sigmoid(&logits_ne)?,
        };
        let bias_e = match config.selection() {
            TopkMethod::NoauxTc => self.bias(name)?,
            _ => vec![0.0; config.n_routed_experts],
        };
        let rows = scores_ne.to_vec2::<f64>()?;
        let weights: Vec<f64> = rows.iter().flat_map(|scores_e| self.weights_of(scores_e, &bias_e)).collect();
        Tensor::from_vec(weights, scores_ne.shape(), &Device::Cpu)
    }

    fn bias(&self, name: &str) -> Result<Vec<f64>> {
        let bias_e = self.tensor(&format!("{name}.e_score_correction_bias"));
        match self.mistake {
            Some(BiasInBf16) => bias_e.to_dtype(DType::BF16)?.to_dtype(DType::F64)?.to_vec1(),
            Some(BiasIgnored) => bias_e.zeros_like()?.to_vec1(),
            _ => bias_e.to_vec1(),
        }
    }

    fn weights_of(&self, scores_e: &[f64], bias_e: &[f64]) -> Vec<f64> {
        let config = self.config();
        let biased: Vec<f64> = scores_e.iter().zip(bias_e).map(|(score, bias)| score + bias).collect();
        let mut weights = vec![0.0; scores_e.len()];
        for expert in self.chosen(&biased) {
            let (score, bias) = (scores_e[expert], bias_e[expert]);
            weights[expert] = match self.mistake {
                Some(BiasInWeights) => score + bias,
                Some(BiasAddedAndTakenAway) => f64::from((score as f32 + bias as f32) - bias as f32),
                _ => score,
            };
        }
        let normalised = config.norm_topk_prob != self.makes(OtherNormalisation);
        let sum = if normalised { weights.iter().sum::<f64>() + 1e-20 } else { 1.0 };
        let scaled = config.scales_weights() && !self.makes(WeightsNotScaled);
        let factor = if scaled { config.routed_scaling_factor } else { 1.0 };
        weights.iter().map(|weight| weight / sum * factor).collect()
    }

    fn chosen(&self, biased: &[f64]) -> Vec<usize> {
        let config = self.config();
        let (groups, kept) = config.groups();
        if groups == 1 || self.makes(GroupsIgnored) {
            return best(biased, config.num_experts_per_tok);
        }
        let size = biased.len() / groups;
        let two = match self.mistake {
            Some(GroupsByBestExpert) => false,
            Some(GroupsByTwoBestExperts) => true,
            _ => config.selection() == TopkMethod::NoauxTc,
        };
        let strength = |group: &[f64]| best(group, if two { 2 } else { 1 }).iter().map(|&expert| group[expert]).sum();
        let kept = best(&biased.chunks(size).map(strength).collect::<Vec<f64>>(), kept);
        let outside = if self.makes(OutsideGroupsZero) { 0.0 } else { f64::NEG_INFINITY };
        let masked: Vec<f64> = (0..biased.len())
            .map(|expert| match kept.contains(&(expert / size)) {
                true if self.makes(ChosenByMask) => 1.0,
                true => biased[expert],
                false => outside,
            })
            .collect();
        best(&masked, config.num_experts_per_tok)
    }
}

/// Indices of the `k` largest values, largest first; ties go to the lower index.
fn best(values: &[f64], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(k);
    order
}
