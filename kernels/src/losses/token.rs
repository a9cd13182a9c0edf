//! A loss of the log-probability of one token, f(log p_y), at temperature 1: what a policy drew, or what it is held against
//! for what it drew.
//!
//! Gradient in z: f'(log p_y) (onehot(y) - p).

use super::{Passed, RowLoss, Rows, Scratch, check_rows, log_normaliser, log_p_of, tokens_of, weighted_sum};
use crate::{cuda, simd};
use candle_core::{Result, Tensor, bail};

/// How a token's log-probability enters a loss.
pub trait OfToken: Sync {
    /// Value and slope at the log-probability of the token of row `row`.
    fn of(&self, row: usize, log_p: f32) -> (f32, f32);

    /// Refuses numbers that are not those of `n` rows.
    fn check(&self, n: usize) -> Result<()>;

    /// The values of the rows `at` from their log-probabilities [k].
    fn reference(&self, at: &[usize], log_p_k: &Tensor) -> Result<Tensor>;
}

/// The loss `kind` of `tokens[j]` in row j with weight `weights[j]`; a row of weight 0 may name any token.
pub struct Token<'a, K> {
    pub kind: K,
    pub tokens: &'a [u32],
    pub weights: &'a [f32],
}

impl<K: OfToken> RowLoss for Token<'_, K> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], _: &mut Scratch) -> f64 {
        let (token, weight) = (self.tokens[row] as usize, self.weights[row]);
        let z = logits[token];
        let log_z = simd::dispatch(
            #[inline(always)]
            || log_normaliser(logits, 1.0),
        );
        let (value, slope) = self.kind.of(row, z - log_z);
        let scale = -weight * slope;
        if scale == 0.0 {
            logits.fill(0.0);
        } else {
            simd::dispatch(
                #[inline(always)]
                || logits.iter_mut().for_each(|x| *x = scale * simd::exp(*x - log_z)),
            );
            logits[token] -= scale;
        }
        f64::from(weight) * f64::from(value)
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        check_rows("a loss of tokens", n, self.tokens.len())?;
        check_rows("a loss of tokens", n, self.weights.len())?;
        self.kind.check(n)?;
        match self.tokens.iter().zip(self.weights).find(|&(&t, &w)| w != 0.0 && t as usize >= v) {
            Some((token, _)) => bail!("a loss of tokens: token {token} with a vocabulary of {v}"),
            None => Ok(()),
        }
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let log_p_k = log_p_of(self.tokens, self.weights, at, logits_kv)?;
        weighted_sum(&self.kind.reference(at, &log_p_k)?, self.weights, at)
    }

    fn in_passes(&self, Rows { at, logits, .. }: Rows, wants_gradient: bool) -> Result<Option<Passed>> {
        let tokens = tokens_of(self.tokens, self.weights, at);
        let Some(found) = cuda::token_log_probs(logits, tokens)? else { return Ok(None) };
        // A number a row: values and slopes are the CPU's.
        let log_p: Vec<f32> = found.log_p.to_vec1()?;
        let of = |(&row, log_p)| match self.weights[row] {
            0.0 => (0.0, 0.0),
            weight => {
                let (value, slope) = self.kind.of(row, log_p);
                (f64::from(weight) * f64::from(value), weight * slope)
            }
        };
        let (values, slopes): (Vec<f64>, Vec<f32>) = at.iter().zip(log_p).map(of).unzip();
        let wants_gradient = wants_gradient && slopes.iter().any(|slope| *slope != 0.0);
        let factors = Tensor::from_vec(slopes, at.len(), logits.device())?;
        let gradient = wants_gradient.then(|| cuda::token_gradient(logits, &found, &factors)).transpose()?;
        let loss = Tensor::new(values.iter().sum::<f64>() as f32, logits.device())?;
        Ok(Some(Passed { loss, gradient }))
    }
}
