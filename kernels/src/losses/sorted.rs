//! Universal logit distillation (Boizard et al., arXiv 2402.12030): the Wasserstein distance of two distributions over
//! different vocabularies, sum_r |p_(r) - q_(r)| over the probabilities in falling order, the shorter list filled up with
//! zeros. It compares how sure the two are, not of what.
//!
//! h of the outcome at rank r is p sign(p_(r) - q_(r)).

use super::{RowLoss, Scratch, check_rows, log_softmax, weighted_sum};
use crate::simd;
use crate::softmax::softmax_row;
use candle_core::{D, Device, Result, Tensor, bail};

/// The distance from the teacher's logits, of any vocabulary; row j with weight `weights[j]`.
pub struct Sorted<'a> {
    pub temperature: f64,
    pub weights: &'a [f32],
}

impl RowLoss for Sorted<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], teacher: &[f32], scratch: &mut Scratch) -> f64 {
        let Scratch { teacher: q, .. } = scratch;
        let inverse = (1.0 / self.temperature) as f32;
        q.clear();
        q.extend(teacher.iter().map(|x| x * inverse));
        logits.iter_mut().for_each(|x| *x *= inverse);
        for row in [&mut *logits, &mut q[..]] {
            simd::dispatch(
                #[inline(always)]
                || softmax_row(row),
            );
        }
        // Numbers of one sign are in the order of their bits.
        q.sort_unstable_by_key(|x| std::cmp::Reverse(x.to_bits()));
        let mut ranked: Vec<(u32, u32)> = logits.iter().enumerate().map(|(id, p)| (p.to_bits(), id as u32)).collect();
        ranked.sort_unstable_by_key(|&(bits, id)| (std::cmp::Reverse(bits), id));
        let (mut loss, mut sum_h) = (0f64, 0f64);
        let signs: Vec<(usize, f32)> = ranked
            .iter()
            .enumerate()
            .map(|(rank, &(bits, id))| {
                let difference = f32::from_bits(bits) - q.get(rank).copied().unwrap_or(0.0);
                let sign = if difference == 0.0 { 0.0 } else { difference.signum() };
                loss += f64::from(difference.abs());
                sum_h += f64::from(f32::from_bits(bits) * sign);
                (id as usize, sign)
            })
            .collect();
        loss += q.iter().skip(ranked.len()).map(|&q| f64::from(q)).sum::<f64>();
        let (scale, sum_h) = (self.weights[row] * self.temperature as f32, sum_h as f32);
        for (id, sign) in signs {
            logits[id] *= scale * (sign - sum_h);
        }
        f64::from(self.weights[row]) * self.temperature.powi(2) * loss
    }

    fn wants_teacher(&self) -> bool {
        true
    }

    fn check(&self, n: usize, _: usize) -> Result<()> {
        check_rows("a sorted distance", n, self.weights.len())
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, teacher_kv: Option<&Tensor>) -> Result<Tensor> {
        let Some(teacher) = teacher_kv else { bail!("a sorted distance without the teacher's logits") };
        let p = log_softmax(logits_kv, self.temperature)?.exp()?;
        let q = log_softmax(teacher, self.temperature)?.exp()?;
        // On the CPU: candle's sort on a GPU takes no rows as long as a vocabulary.
        let order = |x: &Tensor| {
            x.detach().to_device(&Device::Cpu)?.contiguous()?.arg_sort_last_dim(false)?.to_device(x.device())
        };
        let (p, q) = (p.gather(&order(&p)?, 1)?, q.gather(&order(&q)?, 1)?);
        let width = p.dim(1)?.max(q.dim(1)?);
        let filled = |x: &Tensor| x.pad_with_zeros(1, 0, width - x.dim(1)?);
        let distance = (filled(&p)? - filled(&q)?)?.abs()?.sum(D::Minus1)?;
        weighted_sum(&(distance * self.temperature.powi(2))?, self.weights, at)
    }
}
