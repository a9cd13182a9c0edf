//! Random-sampling distillation (Anshumann et al., arXiv 2503.16870): a teacher's distribution from N draws of it.
//!
//! An outcome drawn c times stands for c / N of the teacher's mass, whose expectation is q. Forward KL is linear in that
//! mass, so sum_k (c_k / N) (log q_k - log p_k) and its gradient p - c / N (in u) have the expectation of KL(q || p) and
//! of its gradient, which no cut at the k likeliest has. Other divergences are not linear in q: of them a sample would
//! say something else than the whole.

use super::sparse::Listed;
use super::{RowLoss, Scratch, SparseRows, check_rows, log_softmax};
use crate::simd;
use candle_core::{Result, Tensor, bail};

/// Row j drew the entries of `rows` as often as `counts` says; both at the same temperature.
pub struct Sampled<'a> {
    pub rows: &'a SparseRows,
    /// How often each entry was drawn.
    pub counts: &'a [u32],
    pub temperature: f64,
    pub weights: &'a [f32],
}

impl Sampled<'_> {
    /// The share of the draws of each entry of a row.
    fn shares(&self, row: usize) -> Vec<f32> {
        let counts = &self.counts[self.rows.offsets[row]..self.rows.offsets[row + 1]];
        let draws: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        counts.iter().map(|&count| (f64::from(count) / draws.max(1) as f64) as f32).collect()
    }
}

impl RowLoss for Sampled<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], _: &[f32], _: &mut Scratch) -> f64 {
        let (ids, log_qs) = self.rows.row(row);
        if ids.is_empty() {
            logits.fill(0.0);
            return 0.0;
        }
        let inverse = (1.0 / self.temperature) as f32;
        let scale = self.weights[row] * self.temperature as f32;
        let before: Vec<f32> = ids.iter().map(|&id| logits[id as usize]).collect();
        let log_z = simd::dispatch(
            #[inline(always)]
            || probabilities(logits, inverse, scale),
        );
        let mut loss = 0f64;
        for (((&id, &log_q), z), share) in ids.iter().zip(log_qs).zip(before).zip(self.shares(row)) {
            loss += f64::from(share) * f64::from(log_q - (z * inverse - log_z));
            logits[id as usize] -= scale * share;
        }
        f64::from(self.weights[row]) * self.temperature.powi(2) * loss
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        check_rows("sampled targets", n, self.weights.len())?;
        if self.counts.len() != self.rows.ids.len() {
            bail!("sampled targets: {} counts for {} entries", self.counts.len(), self.rows.ids.len());
        }
        self.rows.check(n, v)
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let (device, listed) = (logits_kv.device(), Listed::new(self.rows, at));
        let (mut mass, mut entropy) = (vec![0f64; listed.ids.len()], 0f64);
        for (places, &row) in mass.chunks_mut(listed.width).zip(at).filter(|(_, row)| self.weights[**row] != 0.0) {
            for ((place, &log_q), share) in places.iter_mut().zip(self.rows.row(row).1).zip(self.shares(row)) {
                *place = f64::from(self.weights[row]) * f64::from(share);
                entropy += *place * f64::from(log_q);
            }
        }
        let log_p = log_softmax(logits_kv, self.temperature)?.gather(&listed.ids(device)?, 1)?;
        let mass = Tensor::from_vec(mass, log_p.shape(), device)?.to_dtype(log_p.dtype())?;
        ((mass * log_p)?.sum_all()?.neg()? + entropy)? * self.temperature.powi(2)
    }
}

/// Turns logits into `scale` times softmax(z / T); returns log sum exp(z / T).
#[inline(always)]
fn probabilities(logits: &mut [f32], inverse_temperature: f32, scale: f32) -> f32 {
    let top = simd::max(logits);
    for x in logits.iter_mut() {
        *x = simd::exp((*x - top) * inverse_temperature);
    }
    let total = simd::sum(logits, |x| x);
    let factor = scale / total;
    for x in logits.iter_mut() {
        *x = if *x < 1e-25 { 0.0 } else { *x * factor };
    }
    top * inverse_temperature + total.ln()
}
