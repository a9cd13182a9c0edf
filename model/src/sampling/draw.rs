//! One draw: only the likeliest few of a vocabulary are looked for and sorted, more of them where they are not enough.

use super::{Sampling, top_k};
use retort_kernels::exp_sum;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// How many of the likeliest tokens are sorted at first. Nuclei of a trained model rarely hold more.
const FIRST: usize = 16;
/// Times as many are tried where they do not settle the draw.
const GROWTH: usize = 8;

/// Draws the tokens of one sequence.
#[derive(Debug, Clone, Default)]
pub struct Sampler {
    /// Tokens of prompt and completion; empty where no penalty asks for them.
    seen: BTreeSet<u32>,
}

impl Sampler {
    /// A sampler for a completion of `prompt`.
    pub fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let mut sampler = Self::default();
        prompt.iter().for_each(|&token| sampler.saw(sampling, token));
        sampler
    }

    /// Takes notice of a token of the sequence.
    pub fn saw(&mut self, sampling: &Sampling, token: u32) {
        if sampling.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
    }

    /// Draws a token id from `logits_v` with the uniform number `u` by the steps of [`super`].
    pub fn draw(&self, sampling: &Sampling, logits_v: &[f32], u: f64) -> u32 {
        sampling.draw(&self.adjusted(sampling, logits_v), u)
    }

    /// The logits after bias and penalty.
    fn adjusted<'a>(&self, sampling: &Sampling, logits_v: &'a [f32]) -> Cow<'a, [f32]> {
        if sampling.logit_bias.is_empty() && self.seen.is_empty() {
            return Cow::Borrowed(logits_v);
        }
        let mut logits_v = logits_v.to_vec();
        for (&id, &bias) in &sampling.logit_bias {
            if let Some(logit) = logits_v.get_mut(id as usize) {
                *logit += bias as f32;
            }
        }
        let penalty = sampling.repetition_penalty as f32;
        for &id in &self.seen {
            if let Some(logit) = logits_v.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        Cow::Owned(logits_v)
    }
}

impl Sampling {
    /// Draws a token id from `logits_v`, finite numbers, with the uniform number `u`: the steps from temperature on.
    pub fn draw(&self, logits_v: &[f32], u: f64) -> u32 {
        if self.temperature <= 0.0 {
            return greedy(logits_v);
        }
        let (top, everything) = exp_sum(logits_v, self.temperature);
        let most = self.top_k.unwrap_or(usize::MAX).min(logits_v.len());
        let mut count = FIRST;
        loop {
            let ids = top_k(logits_v, count.min(most));
            let weight = |&id: &u32| (f64::from(logits_v[id as usize] - top) / self.temperature).exp();
            // The likeliest has weight 1.
            let weights: Vec<f64> = ids.iter().map(weight).take_while(|&weight| weight >= self.min_p).collect();
            let complete = weights.len() < ids.len() || ids.len() == most;
            if let Some(place) = self.place(&weights, complete, everything, u) {
                return ids[place];
            }
            count = count.saturating_mul(GROWTH);
        }
    }

    /// Which of the tokens with these weights, the largest first, `u` falls on; `None` where that takes more of them.
    /// `complete`: no other token is left after min-p and top-k.
    fn place(&self, weights: &[f64], complete: bool, everything: f64, u: f64) -> Option<usize> {
        let filtered = self.top_k.is_some() || self.min_p > 0.0;
        if filtered && !complete {
            return None;
        }
        let total = if filtered { weights.iter().sum() } else { everything };
        let mut mass = 0.0;
        let mut kept = 0;
        if self.top_p < 1.0 {
            while kept < weights.len() && (kept == 0 || mass < self.top_p * total) {
                mass += weights[kept];
                kept += 1;
            }
            if mass < self.top_p * total && !complete {
                return None;
            }
        } else {
            (mass, kept) = (total, weights.len());
        }
        let mut left = u * mass;
        for (place, weight) in weights[..kept].iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return Some(place);
            }
        }
        // Rounding can leave a hair of `u` beyond the last one.
        (complete || self.top_p < 1.0).then(|| kept.saturating_sub(1))
    }
}

/// The id of the largest logit; ties go to the lower id.
pub fn greedy(logits_v: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits_v.iter().enumerate() {
        if *logit > logits_v[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::super::NoiseKey;
    use super::*;

    /// The steps as they are written down, with everything sorted.
    fn plainly(sampling: &Sampling, logits: &[f32], u: f64) -> u32 {
        let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weight = |logit: f32| ((f64::from(logit) - top) / sampling.temperature).exp();
        let mut all: Vec<(f64, u32)> = logits.iter().zip(0..).map(|(&logit, id)| (weight(logit), id)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.retain(|&(weight, _)| weight >= sampling.min_p);
        all.truncate(sampling.top_k.unwrap_or(usize::MAX));
        let total: f64 = all.iter().map(|&(weight, _)| weight).sum();
        let mut mass = 0.0;
        let kept = all.iter().take_while(|&&(weight, _)| {
            let inside = mass == 0.0 || mass < sampling.top_p * total;
            mass += if inside { weight } else { 0.0 };
            inside
        });
        let kept: Vec<_> = kept.collect();
        let mut left = u * mass;
        let hit = kept.iter().find(|&&&(weight, _)| {
            left -= weight;
            left < 0.0
        });
        hit.or(kept.last()).expect("the likeliest token is kept").1
    }

    #[test]
    fn selecting_gives_what_sorting_everything_gives() {
        let peaked: Vec<f32> = (0..5000).map(|at| 12.0 * (at as f32 * 1.7).sin()).collect();
        let flat: Vec<f32> = peaked.iter().map(|logit| (logit * 0.02).round() * 0.3).collect();
        let settings = [
            Sampling::default(),
            Sampling { top_p: 1.0, ..Sampling::default() },
            Sampling { temperature: 2.0, top_p: 0.9, ..Sampling::default() },
            Sampling { top_k: Some(7), top_p: 1.0, ..Sampling::default() },
            Sampling { top_k: Some(300), top_p: 0.8, ..Sampling::default() },
            Sampling { min_p: 0.1, top_p: 1.0, temperature: 1.0, ..Sampling::default() },
            Sampling { min_p: 0.02, top_k: Some(900), top_p: 0.7, temperature: 1.5, ..Sampling::default() },
        ];
        for (at, sampling) in settings.iter().enumerate() {
            for logits in [&peaked, &flat] {
                let noise = NoiseKey::new(5, "draw", at as u32);
                for position in 0..60 {
                    let u = noise.uniform(position);
                    assert_eq!(sampling.draw(logits, u), plainly(sampling, logits, u), "{sampling:?} at {u}");
                }
            }
            let last = sampling.draw(&peaked, 1.0 - f64::EPSILON / 2.0);
            assert!((last as usize) < peaked.len());
        }
    }

    #[test]
    fn frequencies_follow_the_tempered_nucleus() {
        // softmax([2, 1, 0, -9] / 0.5): the last two fall outside top-p 0.95.
        let logits = [2.0f32, 1.0, 0.0, -9.0];
        let sampling = Sampling { temperature: 0.5, ..Sampling::default() };
        let mut counts = [0u32; 4];
        for sample in 0..4000 {
            let noise = NoiseKey::new(7, "p", sample);
            counts[sampling.draw(&logits, noise.uniform(3)) as usize] += 1;
        }
        let expected = 1.0 / (1.0 + (-2.0f64).exp());
        let share = f64::from(counts[0]) / 4000.0;
        assert!((share - expected).abs() < 4.0 * (expected * (1.0 - expected) / 4000.0).sqrt(), "{counts:?}");
        assert_eq!(counts[2] + counts[3], 0);
    }

    #[test]
    fn zero_temperature_is_greedy_after_bias_and_penalty() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        let logits = [0.0, 3.0, 3.0, 2.9, -1.0];
        assert_eq!(greedy.draw(&logits, 0.99), 1);
        let biased = Sampling { logit_bias: [(1, -100.0), (2, -0.2), (9, 5.0)].into(), ..greedy.clone() };
        assert_eq!(Sampler::new(&biased, &[]).draw(&biased, &logits, 0.0), 3);
        // Bias first, then the penalty: 3 / 1.25 = 2.4 for 1 and 2, 2.9 for 3, -1 + 4 = 3 for 4, 3 / 1.25 once seen.
        let penalised = Sampling { repetition_penalty: 1.25, logit_bias: [(4, 4.0)].into(), ..greedy };
        let mut sampler = Sampler::new(&penalised, &[1, 2]);
        assert_eq!(sampler.draw(&penalised, &logits, 0.0), 4);
        sampler.saw(&penalised, 4);
        assert_eq!(sampler.draw(&penalised, &logits, 0.0), 3);
        // A negative logit is made more negative.
        sampler.saw(&penalised, 3);
        assert_eq!(sampler.draw(&penalised, &[-1.0, -1.1, -2.0, -1.0, -9.0], 0.0), 0);
    }
}
