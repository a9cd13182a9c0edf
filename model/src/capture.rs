//! What is written down of a model's distribution while it generates, for a student to learn from.
//!
//! Everything is raw: temperature 1, before bias, penalty and filters. Row i is about `token_ids[i]`: the distribution
//! that the model had where this token came, log p(x) = logit(x) - logsumexp(logits), over the whole vocabulary.
//!
//! The k likeliest tokens alone are a biased picture of that distribution: a student that learns from them puts too
//! little into the tail. Tokens drawn from it with replacement are an unbiased one, in which count / draws estimates the
//! probability (random sampling distillation, arXiv 2503.16870, section 3; drawn at temperature 1, so that no weights are
//! needed).

use crate::sampling::{NoiseKey, top_k};
use retort_kernels::{exp_sum, log_sum_exp};
use serde::{Deserialize, Serialize};

/// What is kept of every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// The log-probability of the token that came and the logsumexp.
    Sampled,
    /// These, and the k likeliest tokens.
    TopK(usize),
    /// These, and tokens that were drawn so many times for this purpose, with how often each came.
    Draws(usize),
}

impl Capture {
    /// The setting that is out of range, if one is: its name, what was found, what is expected.
    pub fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        match *self {
            Self::TopK(0) => Some(("capture.top_k", "0".into(), "at least 1")),
            Self::Draws(0) => Some(("capture.draws", "0".into(), "at least 1")),
            Self::Draws(count) if u32::try_from(count).is_err() => {
                Some(("capture.draws", count.to_string(), "what fits in 32 bits"))
            }
            _ => None,
        }
    }
}

/// What was captured of a completion; n rows, one for each of its tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Targets {
    /// Log-probabilities [n] of the tokens that came.
    pub token_logprobs: Vec<f32>,
    /// logsumexp [n] of the logits.
    pub logsumexp: Vec<f32>,
    /// How many tokens each row tells of [n]; the vectors below hold theirs, row after row.
    pub widths: Vec<u32>,
    /// Token ids: the likeliest first, or drawn ones by id.
    pub ids: Vec<u32>,
    /// Their log-probabilities.
    pub logprobs: Vec<f32>,
    /// How often each was drawn; empty where none were.
    pub counts: Vec<u32>,
}

impl Targets {
    /// The rows from `first` on.
    pub fn since(&self, first: usize) -> Self {
        let inside: usize = self.widths.iter().take(first).map(|&width| width as usize).sum();
        let rest = |numbers: &[f32], from: usize| numbers.get(from..).unwrap_or_default().to_vec();
        let whole = |numbers: &[u32], from: usize| numbers.get(from..).unwrap_or_default().to_vec();
        Self {
            token_logprobs: rest(&self.token_logprobs, first),
            logsumexp: rest(&self.logsumexp, first),
            widths: whole(&self.widths, first),
            ids: whole(&self.ids, inside),
            logprobs: rest(&self.logprobs, inside),
            counts: whole(&self.counts, inside),
        }
    }

    /// Adds the row of a token that came where the model had these logits.
    pub(crate) fn push(&mut self, row: Row) {
        self.token_logprobs.push(row.sampled);
        self.logsumexp.push(row.logsumexp);
        self.widths.push(row.ids.len() as u32);
        self.ids.extend(row.ids);
        self.logprobs.extend(row.logprobs);
        self.counts.extend(row.counts);
    }
}

/// What one row of logits says, in the parts that were asked for.
pub(crate) struct Row {
    pub sampled: f32,
    pub logsumexp: f32,
    pub ids: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub counts: Vec<u32>,
}

impl Row {
    /// The row behind `token`, the one at `position` of a completion.
    pub(crate) fn captured(capture: Capture, logits_v: &[f32], token: u32, noise: NoiseKey, position: u64) -> Self {
        match capture {
            Capture::Sampled => Self::likeliest(logits_v, token, 0),
            Capture::TopK(k) => Self::likeliest(logits_v, token, k),
            Capture::Draws(count) => {
                let (ids, counts) = draws(logits_v, noise.uniforms(position, count)).into_iter().unzip();
                Self { counts, ..Self::of(logits_v, token, ids) }
            }
        }
    }

    /// The `k` likeliest tokens.
    pub(crate) fn likeliest(logits_v: &[f32], token: u32, k: usize) -> Self {
        Self::of(logits_v, token, top_k(logits_v, k))
    }

    fn of(logits_v: &[f32], token: u32, ids: Vec<u32>) -> Self {
        let logsumexp = log_sum_exp(logits_v);
        let logprob = |id: u32| (f64::from(logits_v[id as usize]) - logsumexp) as f32;
        let logprobs = ids.iter().map(|&id| logprob(id)).collect();
        Self { sampled: logprob(token), logsumexp: logsumexp as f32, ids, logprobs, counts: vec![] }
    }
}

/// Numbers whose weights are summed at once; only blocks that a draw falls into are looked at one by one.
const BLOCK: usize = 256;

/// Tokens drawn with replacement by softmax(logits), one for each uniform number, with their counts, by id.
fn draws(logits_v: &[f32], mut uniforms: Vec<f64>) -> Vec<(u32, u32)> {
    let (top, _) = exp_sum(logits_v, 1.0);
    let weight = |logit: f32| f64::from(logit - top).exp();
    let masses: Vec<f64> = logits_v
        .chunks(BLOCK)
        .map(|block| {
            let (block_top, sum) = exp_sum(block, 1.0);
            sum * weight(block_top)
        })
        .collect();
    let total: f64 = masses.iter().sum();
    uniforms.sort_unstable_by(f64::total_cmp);
    let mut uniforms = uniforms.into_iter().map(|u| u * total).peekable();
    let mut drawn: Vec<(u32, u32)> = Vec::new();
    let mut before = 0.0;
    for ((index, block), mass) in logits_v.chunks(BLOCK).enumerate().zip(masses) {
        let last_block = (index + 1) * BLOCK >= logits_v.len();
        let mut inside = before;
        let mut at = 0;
        before += mass;
        // What rounding leaves beyond the last number falls on it.
        while let Some(u) = uniforms.next_if(|&u| u < before || last_block) {
            while at + 1 < block.len() && inside + weight(block[at]) <= u {
                inside += weight(block[at]);
                at += 1;
            }
            let id = (index * BLOCK + at) as u32;
            match drawn.last_mut() {
                Some((last, count)) if *last == id => *count += 1,
                _ => drawn.push((id, 1)),
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Vec<f32> {
        (0..1000).map(|at| 6.0 * (at as f32 * 1.3).sin()).collect()
    }

    fn probabilities(logits: &[f32]) -> Vec<f64> {
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        logits.iter().map(|&logit| f64::from(logit).exp() / total).collect()
    }

    #[test]
    fn rows_hold_exact_logprobs_of_the_likeliest() {
        let logits = logits();
        let probabilities = probabilities(&logits);
        let row = Row::captured(Capture::TopK(9), &logits, 17, NoiseKey::new(0, "", 0), 0);
        assert_eq!((row.ids.len(), row.counts.len()), (9, 0));
        let mut targets = Targets::default();
        for token in [17, 5, 17] {
            targets.push(Row::captured(Capture::TopK(token as usize), &logits, token, NoiseKey::new(0, "", 0), 0));
        }
        let last = targets.since(1);
        assert_eq!((&last.widths, last.ids.len(), last.token_logprobs.len()), (&vec![5, 17], 22, 2));
        assert_eq!((&last.ids[..5], last.token_logprobs[1]), (&row.ids[..5], row.sampled));
        assert_eq!(targets.since(3), Targets::default());
        let close = |logprob: f32, id: u32| (f64::from(logprob) - probabilities[id as usize].ln()).abs() < 2e-6;
        assert!(close(row.sampled, 17));
        assert!(row.ids.iter().zip(&row.logprobs).all(|(&id, &logprob)| close(logprob, id)));
        let tail = probabilities.iter().enumerate().filter(|(id, _)| !row.ids.contains(&(*id as u32)));
        assert!(tail.map(|(_, &p)| p).all(|p| p <= probabilities[row.ids[8] as usize]));
    }

    #[test]
    fn draws_are_an_unbiased_estimate_of_every_probability() {
        let logits = logits();
        let probabilities = probabilities(&logits);
        let (rows, draws) = (2000, 25);
        let mut counts = vec![0u32; logits.len()];
        for position in 0..rows {
            let row = Row::captured(Capture::Draws(draws), &logits, 0, NoiseKey::new(9, "draws", 1), position);
            assert!(row.ids.is_sorted_by(|a, b| a < b));
            assert_eq!(row.counts.iter().sum::<u32>(), draws as u32);
            assert_eq!((row.ids.len(), row.logprobs.len()), (row.counts.len(), row.counts.len()));
            row.ids.iter().zip(&row.counts).for_each(|(&id, count)| counts[id as usize] += count);
        }
        // Pearson's statistic over tokens that are expected often enough; its mean is the degrees of freedom.
        let all = rows as f64 * draws as f64;
        let cells = probabilities.iter().zip(&counts).filter(|&(p, _)| p * all >= 5.0);
        let (statistic, cells) = cells.fold((0.0, 0.0), |(sum, cells), (p, &count)| {
            (sum + (f64::from(count) - p * all).powi(2) / (p * all), cells + 1.0)
        });
        assert!(cells > 300.0, "{cells} cells");
        assert!((statistic - cells).abs() < 5.0 * (2.0 * cells).sqrt(), "{statistic} over {cells} cells");
    }

    #[test]
    fn the_ends_of_the_unit_interval_are_drawn_too() {
        let logits = logits();
        assert_eq!(draws(&logits, vec![1.0 - f64::EPSILON / 2.0, 0.0]), [(0, 1), (999, 1)]);
        assert_eq!(draws(&[2.0], vec![0.5, 0.0, 0.9]), [(0, 3)]);
    }

    #[test]
    fn a_recipe_names_one_kind() {
        let read = |text: &str| serde_json::from_str::<Capture>(text);
        assert_eq!(read(r#"{"top_k":32}"#).expect("reads"), Capture::TopK(32));
        assert_eq!(read(r#"{"draws":50}"#).expect("reads"), Capture::Draws(50));
        assert_eq!(read(r#""sampled""#).expect("reads"), Capture::Sampled);
        assert!(read(r#"{"top_k":32,"draws":5}"#).is_err());
        assert_eq!(Capture::TopK(0).fault().map(|(name, ..)| name), Some("capture.top_k"));
        assert_eq!(Capture::Draws(1).fault(), None);
    }
}
