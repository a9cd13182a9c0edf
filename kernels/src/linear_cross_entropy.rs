//! Output head and cross-entropy in one operation, without ever holding all the logits (as in arXiv 2411.09009).
//!
//! loss = sum over rows j with a target of weight_j (logsumexp(h_j W^T) - (h_j W^T)_{target_j}).
//! Rows go through in chunks; when a gradient is wanted it is computed in the same pass, since the logits are at hand:
//! dh_j = weight_j (softmax(logits_j) - onehot) W, dW = sum_j weight_j (softmax(logits_j) - onehot)^T h_j.

use crate::matmul::{Mat, MatMut, Threads, matmul, product};
use crate::value::{Value, lift};
use crate::{cpu, simd};
use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

/// Rows per chunk: the logits of one chunk are all that is ever held.
const CHUNK: usize = 256;

/// Weighted sum of cross-entropies as a scalar.
///
/// `hidden_nd` [n, d], `head_vd` [v, d]; row j predicts `targets[j]` with weight `weights[j]`; weight 0 skips the row.
pub fn linear_cross_entropy(hidden_nd: &Value, head_vd: &Value, targets: &[u32], weights: &[f32]) -> Result<Value> {
    let (h_t, w_t) = (hidden_nd.tensor(), head_vd.tensor());
    let ((n, d), (v, hd)) = (h_t.dims2()?, w_t.dims2()?);
    if d != hd || targets.len() != n || weights.len() != n {
        bail!(
            "linear_cross_entropy: hidden {:?}, head {:?}, {} targets, {} weights",
            h_t.shape(),
            w_t.shape(),
            targets.len(),
            weights.len()
        );
    }
    if let Some(bad) = targets.iter().zip(weights).find(|&(&t, &w)| w != 0.0 && t as usize >= v) {
        bail!("linear_cross_entropy: target {} with a vocabulary of {v}", bad.0);
    }
    if !cpu::fast(&[h_t, w_t]) {
        return lift([hidden_nd, head_vd], |[hidden, head]| reference(hidden, head, targets, weights));
    }
    let wanted = hidden_nd.is_tracked() || head_vd.is_tracked();
    let pass = pass(&cpu::data(h_t)?, &cpu::data(w_t)?, (v, d), targets, weights, wanted);
    let (dh, dw) = (
        cpu::shaped(pass.dh, if wanted { (n, d) } else { (0, d) })?,
        cpu::shaped(pass.dw, if wanted { (v, d) } else { (0, d) })?,
    );
    let loss = Tensor::new(pass.loss as f32, h_t.device())?;
    Value::record(loss, [hidden_nd, head_vd], move |dy, _| {
        let scale = f64::from(dy.to_scalar::<f32>()?);
        let scaled = |gradient: &Tensor| if scale == 1.0 { Ok(gradient.clone()) } else { gradient * scale };
        Ok([Some(scaled(&dh)?), Some(scaled(&dw)?)])
    })
}

/// The same in candle's own ops.
pub(crate) fn reference(h: &Tensor, head_vd: &Tensor, targets: &[u32], weights: &[f32]) -> Result<Tensor> {
    let logits = h.matmul(&head_vd.t()?)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let logsumexp = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    // Rows without weight may carry any target; point them at id 0.
    let picked: Vec<u32> = targets.iter().zip(weights).map(|(&t, &w)| if w == 0.0 { 0 } else { t }).collect();
    let index = Tensor::new(picked, h.device())?.unsqueeze(1)?;
    let losses = (logsumexp - shifted.gather(&index, 1)?)?.squeeze(1)?;
    (losses * Tensor::new(weights, h.device())?.to_dtype(h.dtype())?)?.sum_all()
}

/// The loss and, where wanted, its gradients dh [n, d] and dW [v, d].
struct Pass {
    loss: f64,
    dh: Vec<f32>,
    dw: Vec<f32>,
}

/// Turns one row of logits into `weight * (softmax - onehot)`; returns their sum of exponentials and the target's own
/// logit, both relative to the largest logit.
#[inline(always)]
fn gradient_row(logits: &mut [f32], target: usize, weight: f32) -> (f32, f32) {
    let top = simd::max(logits);
    let at_target = logits[target] - top;
    for x in logits.iter_mut() {
        *x = simd::exp(*x - top);
    }
    let total = simd::sum(logits, |x| x);
    let scale = weight / total;
    for x in logits.iter_mut() {
        // What is smaller still would only become denormal numbers, which slow the products down tenfold.
        *x = if *x < 1e-25 { 0.0 } else { *x * scale };
    }
    logits[target] -= weight;
    (total, at_target)
}

fn pass(h: &[f32], w: &[f32], (v, d): (usize, usize), targets: &[u32], weights: &[f32], gradients: bool) -> Pass {
    let rows: Vec<usize> = (0..targets.len()).filter(|&j| weights[j] != 0.0).collect();
    let size = if gradients { (h.len(), w.len()) } else { (0, 0) };
    let mut pass = Pass { loss: 0.0, dh: vec![0f32; size.0], dw: vec![0f32; size.1] };
    let mut logits = vec![0f32; CHUNK.min(rows.len()) * v];
    for rows in rows.chunks(CHUNK) {
        let k = rows.len();
        let packed: Vec<f32> = rows.iter().flat_map(|&j| &h[j * d..][..d]).copied().collect();
        let packed = Mat::new(&packed, k, d);
        let logits = &mut logits[..k * v];
        matmul(MatMut::new(logits, k, v), packed, Mat::new(w, v, d).t(), false, Threads::All);
        let losses: Vec<f64> = logits
            .par_chunks_mut(v)
            .zip(rows.par_iter())
            .map(|(logits, &j)| {
                let (total, at_target) = simd::dispatch(
                    #[inline(always)]
                    || gradient_row(logits, targets[j] as usize, weights[j]),
                );
                f64::from(weights[j]) * (f64::from(total).ln() - f64::from(at_target))
            })
            .collect();
        pass.loss += losses.iter().sum::<f64>();
        if gradients {
            let dlogits = Mat::new(logits, k, v);
            let packed_dh = product(dlogits, Mat::new(w, v, d), Threads::All);
            rows.iter().zip(packed_dh.chunks(d)).for_each(|(&j, row)| pass.dh[j * d..][..d].copy_from_slice(row));
            matmul(MatMut::new(&mut pass.dw, v, d), dlogits.t(), packed, true, Threads::All);
        }
    }
    pass
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, constant, random};

    #[test]
    fn agrees_with_the_reference_across_chunk_borders() -> candle_core::Result<()> {
        for n in [3, super::CHUNK + 9] {
            let targets: Vec<u32> = (0..n as u32).map(|j| if j % 3 == 2 { u32::MAX } else { j * 5 % 11 }).collect();
            let weights: Vec<f32> = (0..n).map(|j| if j % 3 == 2 { 0.0 } else { 0.01 + j as f32 * 1e-4 }).collect();
            let inputs = vec![(random(&[n, 6], 1) * 4.0)?, random(&[11, 6], 2)];
            Case::new(inputs).agrees(
                |a| super::linear_cross_entropy(&a[0], &a[1], &targets, &weights),
                |a| super::reference(&a[0], &a[1], &targets, &weights),
            )?;
        }
        Ok(())
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_an_error() {
        let (h, w) = (constant(&[2, 3], 1), constant(&[4, 3], 2));
        assert!(super::linear_cross_entropy(&h, &w, &[1, 4], &[1.0, 1.0]).is_err());
        assert!(super::linear_cross_entropy(&h, &w, &[1, 4], &[1.0, 0.0]).is_ok());
    }
}
