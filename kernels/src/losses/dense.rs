//! A divergence from the whole distribution of a teacher: T^2 sum_i f(p_i, q_i), over all v outcomes.
//!
//! Gradient in z: T (h_i - p_i sum_j h_j) with h = p df/dp, since du/dz = 1 / T.

use super::{
    LOWEST, Passed, Pointwise, RowLoss, Rows, Scratch, at_least, check_rows, fitted, log_normaliser, log_softmax,
    of_rows, weighted_sum,
};
use crate::{cuda, simd};
use candle_core::{D, Result, Tensor, bail};

/// The divergence `kind`, row j with weight `weights[j]`.
pub struct Dense<'a, P> {
    pub kind: P,
    pub temperature: f64,
    pub weights: &'a [f32],
}

impl<P: Pointwise> RowLoss for Dense<'_, P> {
    fn weight(&self, row: usize) -> f32 {
        self.weights[row]
    }

    fn row(&self, row: usize, logits: &mut [f32], teacher: &[f32], scratch: &mut Scratch) -> f64 {
        let Scratch { student, teacher: fitted } = scratch;
        student.resize(logits.len(), 0.0);
        let teacher = if teacher.len() < logits.len() {
            fitted.clear();
            fitted.extend_from_slice(teacher);
            fitted.resize(logits.len(), f32::NEG_INFINITY);
            &*fitted
        } else {
            teacher
        };
        let (weight, t) = (self.weights[row], self.temperature as f32);
        let loss = simd::dispatch(
            #[inline(always)]
            || divergence_row(&self.kind, logits, teacher, t, weight * t, student),
        );
        f64::from(weight) * self.temperature.powi(2) * f64::from(loss)
    }

    fn wants_teacher(&self) -> bool {
        true
    }

    fn check(&self, n: usize, _: usize) -> Result<()> {
        check_rows("a divergence", n, self.weights.len())
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, teacher_kv: Option<&Tensor>) -> Result<Tensor> {
        let Some(teacher) = teacher_kv else { bail!("a divergence from a teacher without its logits") };
        let log_q = fitted(&log_softmax(teacher, self.temperature)?, logits_kv.dim(1)?)?;
        let terms = self.kind.reference(&log_softmax(logits_kv, self.temperature)?, &log_q)?;
        weighted_sum(&(terms.sum(D::Minus1)? * self.temperature.powi(2))?, self.weights, at)
    }

    fn in_passes(&self, Rows { at, logits, teacher }: Rows, wants_gradient: bool) -> Result<Option<Passed>> {
        let Some(teacher) = teacher else { return Ok(None) };
        let (by, t) = (self.kind.divergence(), self.temperature);
        let factors = (of_rows(self.weights, at, logits)? * t)?;
        let found = cuda::divergence(logits, teacher, by, t, wants_gradient.then_some(&factors))?;
        let Some((sums, gradient)) = found else { return Ok(None) };
        Ok(Some(Passed { loss: ((sums * factors)?.sum_all()? * t)?, gradient }))
    }
}

/// Numbers worked on as one piece.
const LANES: usize = 16;

/// Turns the row `z` into `scale` times the gradient in u and returns the divergence. `p` is room for a row.
#[inline(always)]
fn divergence_row<P: Pointwise>(
    kind: &P,
    z: &mut [f32],
    t: &[f32],
    temperature: f32,
    scale: f32,
    p: &mut [f32],
) -> f32 {
    let inverse = 1.0 / temperature;
    let (log_zs, log_zt) = (log_normaliser(z, inverse), log_normaliser(t, inverse));
    let (mut losses, mut hs) = ([0f32; LANES], [0f32; LANES]);
    let mut piece = |z: &mut [f32; LANES], t: &[f32; LANES], p: &mut [f32; LANES]| {
        for lane in 0..LANES {
            let log_p = at_least(LOWEST, z[lane] * inverse - log_zs);
            let log_q = at_least(LOWEST, t[lane] * inverse - log_zt);
            p[lane] = simd::exp(log_p);
            let (f, h) = kind.term(p[lane], simd::exp(log_q), log_p, log_q);
            losses[lane] += f;
            hs[lane] += h;
            z[lane] = h;
        }
    };
    let (z_pieces, z_tail) = z.as_chunks_mut::<LANES>();
    let (t_pieces, t_tail) = t[..z_pieces.len() * LANES + z_tail.len()].as_chunks::<LANES>();
    let (p_pieces, p_tail) = p.as_chunks_mut::<LANES>();
    for ((z, t), p) in z_pieces.iter_mut().zip(t_pieces).zip(p_pieces) {
        piece(z, t, p);
    }
    // The rest, filled up with outcomes that are impossible for both and so add nothing.
    let mut rest = ([f32::NEG_INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0f32; LANES]);
    rest.0[..z_tail.len()].copy_from_slice(z_tail);
    rest.1[..t_tail.len()].copy_from_slice(t_tail);
    piece(&mut rest.0, &rest.1, &mut rest.2);
    z_tail.copy_from_slice(&rest.0[..z_tail.len()]);
    p_tail.copy_from_slice(&rest.2[..p_tail.len()]);
    let total: f32 = hs.iter().sum();
    for (z, p) in z.iter_mut().zip(p.iter()) {
        *z = scale * (*z - p * total);
    }
    losses.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::{ForwardKl, JensenShannon, ReverseKl, SkewedKl, SkewedReverseKl};
    use super::*;
    use crate::linear_loss::testing::{Ready, agrees};
    use crate::testing::{constant, random};
    use crate::{linear_loss, portably};
    use candle_core::{Device, Result};

    #[test]
    fn divergences_agree_with_their_references() -> Result<()> {
        let weights = [0.3, 0.0, 1.1, 0.2, 0.7];
        fn all<P: Pointwise>(weights: &[f32], kind: impl Fn() -> P) -> Result<()> {
            for temperature in [1.0, 2.5] {
                for teacher_v in [37, 41, 33] {
                    agrees((5, 37), Some(teacher_v), &[&Dense { kind: kind(), temperature, weights }])?;
                }
            }
            Ok(())
        }
        all(&weights, || ForwardKl)?;
        all(&weights, || ReverseKl)?;
        all(&weights, || JensenShannon { beta: 0.3 })?;
        all(&weights, || SkewedKl { alpha: 0.1 })?;
        all(&weights, || SkewedReverseKl { alpha: 0.1 })
    }

    /// A teacher whose numbers are none must not look like one that finds everything impossible.
    #[test]
    fn what_is_no_number_is_not_hidden() -> Result<()> {
        fn all(run: impl Fn(&dyn RowLoss) -> Result<f64>) -> Result<()> {
            let weights = &[1.0][..];
            let temperature = 1.0;
            let losses: [&dyn RowLoss; 5] = [
                &Dense { kind: ForwardKl, temperature, weights },
                &Dense { kind: ReverseKl, temperature, weights },
                &Dense { kind: JensenShannon { beta: 0.3 }, temperature, weights },
                &Dense { kind: SkewedKl { alpha: 0.1 }, temperature, weights },
                &Dense { kind: SkewedReverseKl { alpha: 0.1 }, temperature, weights },
            ];
            for loss in losses {
                assert!(run(loss)?.is_nan());
            }
            Ok(())
        }
        for odd in [f32::NAN, f32::INFINITY] {
            let mut teacher = random(&[1, 37], 3).to_vec2::<f32>()?;
            teacher[0][20] = odd;
            let teacher = Ready(Tensor::new(teacher, &Device::Cpu)?);
            let (h, w) = (constant(&[1, 6], 1), constant(&[37, 6], 2));
            all(|loss| Ok(linear_loss(&h, &w, Some(&teacher), &[loss])?.terms[0]))?;
            all(|loss| portably(|| Ok(linear_loss(&h, &w, Some(&teacher), &[loss])?.terms[0])))?;
        }
        Ok(())
    }
}
