//! Rotary position tables: plain, YaRN-scaled (arXiv 2309.00071; DeepSeek-V3 `inference/model.py`), and scaled as in
//! Llama 3.1 and later (`apply_scaling` of its reference code).
//!
//! Angles are f32 products of position and inverse frequency, as in Hugging Face transformers, never narrower:
//! tables in bf16 drift at long positions.

use candle_core::{Device, Tensor};
use std::f64::consts::PI;

/// YaRN's settings as they stand under `rope_scaling` in a `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub original_max_position_embeddings: usize,
    pub beta_fast: f64,
    pub beta_slow: f64,
    pub mscale: Option<f64>,
    pub mscale_all_dim: Option<f64>,
}

/// 0.1 m ln(factor) + 1, and 1 where nothing is stretched.
fn attention_factor(factor: f64, m: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 }
}

impl Yarn {
    /// The pairs (of p/2) between which the ramp from kept to stretched frequencies runs.
    pub fn correction_range(&self, p: usize, theta: f64) -> (usize, usize) {
        let original = self.original_max_position_embeddings as f64;
        let pair = |turns: f64| p as f64 * (original / (2.0 * PI * turns)).ln() / (2.0 * theta.ln());
        let low = pair(self.beta_fast).floor().max(0.0);
        let high = pair(self.beta_slow).ceil().min((p - 1) as f64);
        (low as usize, high.max(0.0) as usize)
    }

    /// The factor on the softmax scale: the square of the attention factor for `mscale_all_dim`.
    pub fn softmax_factor(&self) -> f64 {
        match self.mscale_all_dim {
            Some(m) if m != 0.0 => attention_factor(self.factor, m).powi(2),
            _ => 1.0,
        }
    }

    /// The factor on cos and sin: 1 when the two mscales are equal, as in every published checkpoint.
    fn table_factor(&self) -> f64 {
        match (self.mscale, self.mscale_all_dim) {
            (Some(m), Some(all)) if m != 0.0 && all != 0.0 => {
                attention_factor(self.factor, m) / attention_factor(self.factor, all)
            }
            _ => attention_factor(self.factor, 1.0),
        }
    }
}

/// Llama 3's settings as they stand under `rope_scaling` in a `config.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3 {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    pub original_max_position_embeddings: usize,
}

impl Llama3 {
    /// Frequencies that turn often within the original length stay, those that turn seldom are divided by `factor`, and
    /// between the two (`high_freq_factor` and `low_freq_factor` turns) one goes over into the other.
    fn scaled(&self, frequency: f64) -> f64 {
        let turns = self.original_max_position_embeddings as f64 * frequency / (2.0 * PI);
        let kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        let kept = kept.clamp(0.0, 1.0);
        frequency * (kept + (1.0 - kept) / self.factor)
    }
}

/// theta^(-2 i / p) for the p/2 pairs.
fn frequencies(p: usize, theta: f64) -> impl Iterator<Item = f64> {
    (0..p / 2).map(move |i| theta.powf(-2.0 * i as f64 / p as f64))
}

/// Inverse frequencies of the p/2 pairs, ready to give cos and sin for any positions.
#[derive(Debug, Clone)]
pub struct Rope {
    inverse_frequencies: Vec<f32>,
    table_factor: f32,
}

impl Rope {
    /// `p` rotated numbers per head, base `theta`.
    pub fn new(p: usize, theta: f64, yarn: Option<&Yarn>) -> Self {
        let plain = frequencies(p, theta);
        let Some(yarn) = yarn else {
            return Self { inverse_frequencies: plain.map(|f| f as f32).collect(), table_factor: 1.0 };
        };
        let (low, high) = yarn.correction_range(p, theta);
        let span = if low == high { 0.001 } else { high as f64 - low as f64 };
        let stretched = plain.enumerate().map(|(i, f)| {
            let ramp = ((i as f64 - low as f64) / span).clamp(0.0, 1.0);
            (f / yarn.factor * ramp + f * (1.0 - ramp)) as f32
        });
        Self { inverse_frequencies: stretched.collect(), table_factor: yarn.table_factor() as f32 }
    }

    /// The same with Llama 3's scaling.
    pub fn llama3(p: usize, theta: f64, scaling: Llama3) -> Self {
        let scaled = frequencies(p, theta).map(|frequency| scaling.scaled(frequency) as f32);
        Self { inverse_frequencies: scaled.collect(), table_factor: 1.0 }
    }

    /// (cos, sin), each [n, p/2], for the given positions.
    pub fn tables(&self, positions: &[u32], device: &Device) -> candle_core::Result<(Tensor, Tensor)> {
        let angles = || positions.iter().flat_map(|&s| self.inverse_frequencies.iter().map(move |f| s as f32 * f));
        let shape = (positions.len(), self.inverse_frequencies.len());
        let cos: Vec<f32> = angles().map(|a| a.cos() * self.table_factor).collect();
        let sin: Vec<f32> = angles().map(|a| a.sin() * self.table_factor).collect();
        Ok((Tensor::from_vec(cos, shape, device)?, Tensor::from_vec(sin, shape, device)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yarn(factor: f64, betas: (f64, f64), mscale: f64) -> Yarn {
        Yarn {
            factor,
            original_max_position_embeddings: 4096,
            beta_fast: betas.0,
            beta_slow: betas.1,
            mscale: Some(mscale),
            mscale_all_dim: Some(mscale),
        }
    }

    #[test]
    fn published_models_get_their_ranges_and_scales() {
        // (factor, betas, mscale, theta) -> (low, high, softmax scale) for nope 128, rope 64.
        for (settings, theta, range, scale) in [
            (yarn(40.0, (32.0, 1.0), 0.707), 1e4, (10, 23), 0.114_721_4), // DeepSeek-V2-Lite
            (yarn(40.0, (32.0, 1.0), 1.0), 1e4, (10, 23), 0.135_233_8),   // DeepSeek-V3, R1
            (yarn(32.0, (1.0, 1.0), 1.0), 5e4, (19, 20), 0.130_860_8),    // Kimi-K2
        ] {
            assert_eq!(settings.correction_range(64, theta), range);
            let found = settings.softmax_factor() / 192f64.sqrt();
            assert!((found - scale).abs() < 1e-6, "{found} against {scale}");
        }
    }

    #[test]
    fn plain_tables_are_cos_and_sin_of_the_angle() -> candle_core::Result<()> {
        let (cos, sin) = Rope::new(4, 100.0, None).tables(&[0, 3], &Device::Cpu)?;
        let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-6, "{a} against {b}");
        for (found, angle) in cos.flatten_all()?.to_vec1::<f32>()?.iter().zip([0.0f64, 0.0, 3.0, 0.3]) {
            close(*found, angle.cos());
        }
        for (found, angle) in sin.flatten_all()?.to_vec1::<f32>()?.iter().zip([0.0f64, 0.0, 3.0, 0.3]) {
            close(*found, angle.sin());
        }
        Ok(())
    }
}
