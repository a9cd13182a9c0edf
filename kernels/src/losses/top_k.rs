//! A divergence from the teacher's likeliest outcomes, with all the others as one more: T^2 (sum_k f(p_k, q_k) + f(p_r,
//! q_r)), where q_r = 1 - sum_k q_k and p_r is the student's probability of everything that is not listed.
//!
//! Lumping outcomes together can only lower a divergence (data processing), so this is a lower bound of the dense one,
//! grows with k and meets it where every outcome is listed. Renormalising the listed ones to 1 instead, as is often done,
//! has its minimum at a student that puts nothing on the rest. Gradient in u, with H = sum_k h_k + h_r: h_k - p_k H for
//! what is listed, p_i (h_r / p_r - H) for what is not.

use super::sparse::Listed;
use super::{Pointwise, RowLoss, Scratch, SparseRows, TINY, check_rows, log_softmax, weighted_sum};
use crate::simd;
use candle_core::{D, Result, Tensor};

/// The divergence `kind` from `rows`, row j with weight `weights[j]`; a row without entries has a loss of 0.
pub struct TopK<'a, P> {
    pub kind: P,
    /// At the same temperature.
    pub rows: &'a SparseRows,
    pub temperature: f64,
    pub weights: &'a [f32],
}

impl<P: Pointwise> RowLoss for TopK<'_, P> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], scratch: &mut Scratch) -> f64 {
        let (ids, log_qs) = self.rows.row(row);
        let (weight, inverse) = (self.weights[row], (1.0 / self.temperature) as f32);
        simd::dispatch(
            #[inline(always)]
            || exponentials(logits, inverse),
        );
        // The listed ones are taken out, so that the rest is a sum of its own and not a small difference of large ones.
        let listed = &mut scratch.student;
        listed.clear();
        listed.extend(ids.iter().map(|&id| std::mem::take(&mut logits[id as usize])));
        let rest = simd::dispatch(
            #[inline(always)]
            || simd::sum(logits, |x| x),
        );
        let total = rest + listed.iter().sum::<f32>();
        let mut loss = 0f32;
        let mut sum_h = 0f32;
        let mut outcome = |p: f32, log_p: f32, log_q: f32| {
            let (f, h) = self.kind.term(p, simd::exp(log_q), log_p, log_q);
            loss += f;
            sum_h += h;
            h
        };
        let listed_h: Vec<(f32, f32)> = ids
            .iter()
            .zip(log_qs)
            .zip(listed.iter())
            .map(|((_, &log_q), &e)| {
                let p = e / total;
                (p, outcome(p, p.max(TINY).ln(), log_q))
            })
            .collect();
        let rest_h = if ids.len() < logits.len() {
            let p = rest / total;
            outcome(p, p.max(TINY).ln(), unlisted(log_qs).max(TINY).ln()) / p.max(TINY)
        } else {
            0.0
        };
        let scale = weight * self.temperature as f32;
        let factor = scale * (rest_h - sum_h) / total;
        simd::dispatch(
            #[inline(always)]
            || logits.iter_mut().for_each(|x| *x = if *x < 1e-25 { 0.0 } else { *x * factor }),
        );
        for (&id, (p, h)) in ids.iter().zip(listed_h) {
            logits[id as usize] = scale * (h - p * sum_h);
        }
        f64::from(weight) * self.temperature.powi(2) * f64::from(loss)
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        check_rows("a top-k divergence", n, self.weights.len())?;
        self.rows.check(n, v)
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let ((k, v), device) = (logits_kv.dims2()?, logits_kv.device());
        let listed = Listed::new(self.rows, at);
        let log_p_kv = log_softmax(logits_kv, self.temperature)?;
        let like = |values: Vec<f32>| Tensor::from_vec(values, (k, listed.width), device)?.to_dtype(log_p_kv.dtype());
        let (ids, log_q, is_entry) = (listed.ids(device)?, like(listed.log_probs())?, like(listed.is_entry())?);
        let terms = (self.kind.reference(&log_p_kv.gather(&ids, 1)?, &log_q)? * &is_entry)?.sum(D::Minus1)?;
        let is_listed = log_p_kv.zeros_like()?.scatter_add(&ids, &is_entry, 1)?;
        let rest_p = (log_p_kv.exp()? * (1.0 - is_listed)?)?.sum(D::Minus1)?;
        let of_row = |f: &dyn Fn(&[f32]) -> f32| {
            Tensor::from_iter(at.iter().map(|&row| f(self.rows.row(row).1)), device)?.to_dtype(log_p_kv.dtype())
        };
        let rest_q = of_row(&|log_qs| unlisted(log_qs).max(TINY).ln())?;
        let has_rest = of_row(&|log_qs| f32::from(log_qs.len() < v))?;
        let rest = self.kind.reference(&(rest_p + f64::from(TINY))?.log()?, &rest_q)?;
        let sums = (terms + (rest * has_rest)?)?;
        weighted_sum(&(sums * self.temperature.powi(2))?, self.weights, at)
    }
}

/// What the teacher gives to everything that is not listed.
fn unlisted(log_qs: &[f32]) -> f32 {
    (1.0 - log_qs.iter().map(|&x| f64::from(x).exp()).sum::<f64>()).max(0.0) as f32
}

/// Turns logits into exp((z - max) / T).
#[inline(always)]
fn exponentials(logits: &mut [f32], inverse_temperature: f32) {
    let top = simd::max(logits);
    for x in logits.iter_mut() {
        *x = simd::exp((*x - top) * inverse_temperature);
    }
}
